"""Ids, unique keys, counts, events, and the tables that only have to be readable."""

from __future__ import annotations

from tqbroker_broker.rules import UniqueUntil
from tqbroker_broker.storage.lmdb.keys import COLUMNS, KEYS, SAVED, U64
from tqbroker_broker.storage.lmdb.rows import Holding
from tqbroker_broker.storage.lmdb.verifying.jobs import Jobs
from tqbroker_broker.storage.lmdb.verifying.look import Look, job_text
from tqbroker_broker.storage.lmdb.verifying.plans import Plans

READABLE = ("queues", "limits", "starts")
"""Tables that are compared with no other one."""


def check_ids(look: Look) -> None:
    """Every id leads to its job, or is remembered without one."""
    remembered = 0
    for packed, _, known in look.rows("ids"):
        if known.token is not None:
            remembered += 1
        elif not look.has("jobs", U64.pack(known.seq)):
            look.fault(f"the id {job_text(packed)} leads to job number {known.seq}, which is not there")
    if remembered != look.remembered:
        look.fault(f"{remembered} ids are remembered without their job, and {look.remembered} are counted")
    if look.snapshot.size("ids") - remembered != look.snapshot.size("jobs"):
        jobs, ids = look.snapshot.size("jobs"), look.snapshot.size("ids") - remembered
        look.fault(f"there are {jobs} jobs, and {ids} ids of jobs")


def check_uniques(look: Look, plans: Plans) -> None:
    """A unique key is held by a job that has not ended, or until a moment that is on the agenda."""
    for packed, key, holding in look.rows("uniques"):
        if holding.unique.until is UniqueUntil.TIME:
            until_ms = holding.submitted_ms + holding.unique.for_ms
            if not plans.at(KEYS, until_ms, packed + U64.pack(holding.seq)):
                look.fault(f"the unique key {key.hex()} would never be free: it is not on the agenda")
        else:
            _check_holder(look, packed, holding)


def _check_holder(look: Look, key: bytes, holding: Holding) -> None:
    packed = U64.pack(holding.seq)
    job = look.get("jobs", packed)
    if job is None:
        if not look.has("jobs", packed):
            look.fault(f"the unique key {key.hex()} is held by job number {holding.seq}, which is not there")
    elif job.id != holding.id or job.unique != key:
        look.fault(f"the unique key {key.hex()} is held by job {job_text(job.id)}, which has another")
    elif look.has("final", packed):
        look.fault(f"the unique key {key.hex()} is held by job {job_text(job.id)}, which has ended")


def check_counts(look: Look, jobs: Jobs) -> None:
    """The numbers by queue and state are those of the jobs. Jobs that cannot be read may be counted or not."""
    counts = {key: count.states for _, key, count in look.rows("counts") if count.number is None}
    none = [0] * COLUMNS
    for queue in sorted(counts.keys() | jobs.tally.keys()):
        counted, found = counts.get(queue, none), jobs.tally.get(queue, none)
        if sum(abs(a - b) for a, b in zip(counted, found, strict=True)) > 2 * jobs.unreadable:
            look.fault(f"the counts of queue {queue} are {_words(counted)}, and its jobs are {_words(found)}")


def _words(states: list[int]) -> str:
    names = ("ready", "scheduled", "succeeded", "failed", "cancelled", "expired", "waiting")
    return ", ".join(f"{number} {name}" for name, number in zip(names, states, strict=True) if number) or "none"


def check_events(look: Look) -> None:
    """The numbers of the events have no gap, and the next one is known."""
    expected = None
    for _, first, happened in look.rows("events"):
        if expected is not None and first != expected and "events" not in look.damaged:
            look.fault(f"events {expected} to {first - 1} are missing, or numbers come twice")
        expected = first + happened.events
    if expected is not None and expected != look.next_event and "events" not in look.damaged:
        look.fault(f"the next event would be number {look.next_event}, and the last one is number {expected - 1}")


def check_others(look: Look, plans: Plans) -> None:
    """What is left: rules, workers, schedules, saved groups."""
    for name in READABLE:
        for _ in look.rows(name):
            pass
    for _, name, instance in look.rows("workers"):
        if len(instance) != 16:
            look.fault(f"workers: the row {name} has no id of a process")
    for _, name, state in look.rows("schedules"):
        if state.schedule.name != name:
            look.fault(f"schedules: the row {name} is of schedule {state.schedule.name}")
    for packed, _, saved in look.rows("saved"):
        if not plans.at(SAVED, saved.until_ms, packed):
            look.fault(f"the saved group {job_text(packed)} would never be forgotten: it is not on the agenda")
