"""What the counts of a store should be, by the rows that there are."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tqbroker_broker.storage.lmdb.keys import (
    AGENDA,
    NEXT_EVENT,
    NEXT_SEQ,
    REMEMBERED,
    TOKEN_AT,
    first_number,
    order_of,
)
from tqbroker_broker.storage.lmdb.verifying.jobs import Jobs
from tqbroker_broker.storage.lmdb.verifying.look import Look
from tqbroker_broker.storage.lmdb.verifying.places import lanes
from tqbroker_broker.storage.lmdb.verifying.plans import Plans
from tqbroker_broker.storage.lmdb.verifying.snapshot import Snapshot
from tqbroker_broker.storage.report import Report

NUMBERED = ("jobs", "names", "workflows", "nodes")
"""Tables whose keys begin with numbers from the one counter; the lanes and the agenda have some in their keys too."""


class Tallies(NamedTuple):
    """Jobs by queue and state, and the store's own counters by their keys."""

    queues: dict[str, list[int]]
    counters: dict[bytes, int]


def look_at(path: Path) -> Tallies:
    """Reads a whole store for it."""
    snapshot = Snapshot(path, lambda _: None)
    try:
        look = Look(snapshot, Report(str(path)))
        plans = Plans(look)
        plans.read()
        jobs = Jobs(look, plans, lanes(look))
        jobs.walk()
        queues = {queue: [0] * len(states) for queue, states in _stored(look).items()}
        counters = {
            NEXT_SEQ: max(look.next_seq, _highest(snapshot) + 1),
            NEXT_EVENT: max(look.next_event, _behind_events(look)),
            REMEMBERED: sum(len(row) > TOKEN_AT for _, row in snapshot.raw("ids")),
        }
        return Tallies({**queues, **jobs.tally}, counters)
    finally:
        snapshot.close()


def _stored(look: Look) -> dict[str, list[int]]:
    return {name: count.states for _, name, count in look.rows("counts") if count.number is None}


def _highest(snapshot: Snapshot) -> int:
    """The highest number that was given out, as far as rows have it."""
    highest = 0
    for name in NUMBERED:
        cursor = snapshot.cursor(name)
        if cursor is not None and cursor.last():
            highest = max(highest, first_number(cursor.key()))
    orders = (order_of(key) for key, _ in snapshot.raw("lanes"))
    planned = (AGENDA.unpack(key)[2] for key, _ in snapshot.raw("agenda"))
    return max(highest, max(orders, default=0), max(planned, default=0))


def _behind_events(look: Look) -> int:
    return max((first + happened.events for _, first, happened in look.rows("events")), default=1)
