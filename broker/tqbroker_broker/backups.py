"""Copies of the store on their way to those who take them away: one at a time, and none for ever."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tqbroker_broker.answers import Snapshot
from tqbroker_broker.guard import Guard
from tqbroker_broker.refusals import Busy, Stopping


class Backups:
    """Whose turn it is, and what the last one was."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._taken = False
        self.stopping = False
        self.last_ms = 0
        """When the last copy was taken that somebody has read to its end; 0 when none was since the start."""
        self.last_bytes = 0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """From the order to the last byte: the copy lies on the disk all the time. Raises Busy, Stopping."""
        if self.stopping:
            raise Stopping("the broker is stopping and begins no backup: ask again when it is back")
        if self._taken:
            raise Busy("another backup is under way and there is one at a time: try again when it has ended")
        self._taken = True
        try:
            yield
        finally:
            self._taken = False

    async def copy(self) -> Snapshot:
        """A copy of the store; its file is the caller's to close. Raises Unavailable, NoRoom."""
        return await self._guard.do(self._guard.engine.snapshot(self._guard.now()))

    def read(self, snapshot: Snapshot) -> None:
        """Somebody has all of this copy."""
        self.last_ms, self.last_bytes = snapshot.taken_ms, snapshot.size
