"""What jobs of a workflow are handed: the verb `inputs`, and the place that goes with a delivery."""

from __future__ import annotations

from collections.abc import Sequence

from tqbroker_broker import workflows
from tqbroker_broker.records import JobId
from tqbroker_broker.storage.memory.store import MemoryStore, Row
from tqbroker_broker.storage.memory.workflows import Join
from tqbroker_broker.workflow_decisions import Turn
from tqbroker_broker.workflows import On

PAGE_BYTES = 1 << 20
"""Bytes of values in one message."""

OVERHEAD = 64
"""Bytes that one value counts for beside its own."""


class Inputs:
    """Results of members, over one store."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def size(self, row: Row) -> int:
        """Bytes of what the job is handed."""
        join = _handed(row)
        return sum(len(value) for value, _ in self._values(join, 0)) if join else 0

    def page(self, job: JobId, first: int) -> workflows.Inputs | None:
        """Some values, at least one unless there are no more."""
        row = self._store.jobs.get(job)
        join = _handed(row) if row else None
        if join is None:
            return None
        values: list[tuple[bytes, str]] = []
        size = 0
        for value in self._values(join, first):
            size += len(value[0]) + OVERHEAD
            if values and size > PAGE_BYTES:
                break
            values.append(value)
        return _inputs(join, values)

    def delivered(self, row: Row) -> workflows.Inputs | None:
        """What goes with the job itself: all of it, or none when that is too much for a message."""
        join = _handed(row)
        if join is None:
            return None
        values = self._values(join, 0)
        size = sum(len(value) + OVERHEAD for value, _ in values)
        return _inputs(join, values if size <= PAGE_BYTES else [])

    def _values(self, join: Join, first: int) -> list[tuple[bytes, str]]:
        """Results of members with their formats; empty for one that has none, or is not kept any more."""
        rows = [self._store.jobs.get(job) for job in join.members[first:]]
        return [(row.result, row.result_format) if row else (b"", "") for row in rows]


def _handed(row: Row) -> Join | None:
    """The join whose values the job is handed."""
    seat = row.seat
    if seat is None or not seat.handed or seat.turn is not Turn.RELEASE:
        return None
    return seat.awaited if seat.awaited and seat.awaited.new.on is On.SUCCESS else None


def _inputs(join: Join, values: Sequence[tuple[bytes, str]]) -> workflows.Inputs:
    formats = [name for _, name in values]
    formats = formats[:1] if len(set(formats)) == 1 else formats
    return workflows.Inputs(join.new.shape, [value for value, _ in values], formats, len(join.members))
