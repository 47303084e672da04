"""What an operator asks: filters from the wire, events to the wire."""

from __future__ import annotations

from tqbroker.v1 import admin_pb2 as pb
from tqbroker_broker.messages.batches import MAX_QUEUE, MAX_TASK
from tqbroker_broker.messages.checks import LATEST_MS, check_name, check_names, check_range
from tqbroker_broker.messages.ids import write_ids
from tqbroker_broker.messages.traits import MAX_NAME, MAX_STAMPS
from tqbroker_broker.questions import EventKind, Events, Filter
from tqbroker_broker.records import State
from tqbroker_broker.refusals import Invalid

MAX_CURSOR = 1024
"""Bytes of a cursor; the broker's own have fewer."""

_STATES = {int(state): state for state in State if state is not State.UNKNOWN}


def read_filter(wire: pb.JobFilter) -> Filter:
    """Which jobs are meant. Raises Invalid."""
    for what, name, limit in (("queue", wire.queue, MAX_QUEUE), ("task", wire.task, MAX_TASK)):
        if name:
            check_name(f"{what} of the filter", name, limit)
    for what, name in (("worker", wire.worker), ("error", wire.error)):
        if name:
            check_name(f"{what} of the filter", name, MAX_NAME)
    check_names("stamps of the filter", wire.stamps, MAX_STAMPS, MAX_NAME)
    after, before = wire.submitted_after_unix_ms, wire.submitted_before_unix_ms
    check_range("submitted_after_unix_ms", after, 0, LATEST_MS)
    check_range("submitted_before_unix_ms", before, 0, LATEST_MS)
    return Filter(
        frozenset(map(_state, wire.states)),
        wire.queue,
        wire.task,
        tuple(wire.stamps),
        wire.worker,
        wire.error,
        after,
        before,
    )


def _state(wire: int) -> State:
    state = _STATES.get(wire)
    if state is None:
        raise Invalid(f"state {wire} of the filter is none: use {', '.join(each.name for each in _STATES.values())}")
    return state


def check_cursor(cursor: bytes) -> None:
    """Raises Invalid for what cannot be a cursor."""
    if len(cursor) > MAX_CURSOR:
        raise Invalid(f"the cursor has {len(cursor)} bytes: it must be the one of the last response, or empty")


def read_kinds(wire: list[int]) -> frozenset[EventKind]:
    """Kinds of events; all when none are named. Raises Invalid."""
    try:
        return frozenset(map(EventKind, wire)) or frozenset(EventKind)
    except ValueError as error:
        raise Invalid(f"{error}: use {', '.join(kind.name for kind in EventKind)}") from None


def write_events(events: Events) -> pb.Events:
    """Events of one kind."""
    return pb.Events(
        kind=pb.EventKind.ValueType(int(events.kind)),
        first=events.first,
        at_unix_ms=events.at_ms,
        ids=write_ids(events.ids) if events.ids else None,
        task=events.task,
        queue=events.queue,
        worker=events.worker,
        error=events.error,
    )
