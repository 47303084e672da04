"""What one worker gets of a hand-out, as it grows."""

from __future__ import annotations

from itertools import groupby
from typing import NamedTuple

from tqbroker_broker.attempts import Extra, Leased, Place, Want
from tqbroker_broker.records import Head
from tqbroker_broker.storage.memory.book import Lease
from tqbroker_broker.storage.memory.store import Row


class Taken(NamedTuple):
    """A job for a worker, whether a rate limit holds for it, and its place in a workflow."""

    row: Row
    lease: Lease
    rated: bool
    place: Place | None


class Pick:
    """What one want has got so far."""

    def __init__(self, want: Want) -> None:
        self.want = want
        self.taken: list[Taken] = []
        self.slow = 0
        self.size = 0
        self.wait_ms = 0

    def has_room(self, head: Head, *, rated: bool) -> bool:
        """Whether one more job with this head may be taken."""
        if len(self.taken) >= self.want.window or self.size >= self.want.max_bytes:
            return False
        return self.slow < self.want.slots or not self._is_slow(head, rated)

    def add(self, row: Row, lease: Lease, place: Place | None, *, rated: bool) -> None:
        """Takes a job."""
        self.taken.append(Taken(row, lease, rated, place))
        self.slow += self._is_slow(row.head, rated)
        self.size += len(row.args) + len(row.checkpoint) + _size(place)

    def batches(self) -> list[Leased]:
        """The jobs in their order; neighbours that share their head share a batch."""
        return [_leased(list(run)) for _, run in groupby(self.taken, key=lambda taken: taken.row.head)]

    def _is_slow(self, head: Head, rated: bool) -> bool:
        return rated or head.task not in self.want.fast


def _leased(run: list[Taken]) -> Leased:
    rows = [taken.row for taken in run]
    return Leased(
        rows[0].head,
        [row.id for row in rows],
        [taken.lease.token for taken in run],
        [row.args for row in rows],
        [row.retries for row in rows],
        [row.lost for row in rows],
        {index: extra for index, taken in enumerate(run) if (extra := _extra(taken)) != Extra()},
        slow=run[0].rated,
    )


def _extra(taken: Taken) -> Extra:
    row = taken.row
    return Extra(row.due_ms, row.expires_ms, row.checkpoint, row.checkpoint_format, taken.place)


def _size(place: Place | None) -> int:
    """Bytes that the worker is handed beside the arguments."""
    values = place.inputs.values if place and place.inputs else ()
    cause = place.cause if place else None
    return sum(map(len, values)) + (len(cause.args) if cause else 0)
