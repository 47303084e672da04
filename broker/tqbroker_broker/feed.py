"""Who follows the event log: woken when something was added, each at its own pace."""

from __future__ import annotations

import asyncio

from tqbroker_broker.refusals import Busy, Stopping

MAX_FOLLOWERS = 64
"""Calls that follow the log at a time: each reads the log by itself."""


class Feed:
    """Says that there is more. What there is, everybody reads from the log: nothing is kept for anybody."""

    def __init__(self) -> None:
        self.version = 0
        """Counts what was added; read it before the log, and wait for a change after."""
        self.closed = False
        self._followers = 0
        self._change: asyncio.Future[None] | None = None

    def enter(self) -> None:
        """One more follows. Raises Stopping, Busy."""
        if self.closed:
            raise Stopping("the broker is stopping: connect again in a moment")
        if self._followers >= MAX_FOLLOWERS:
            raise Busy(f"{MAX_FOLLOWERS} calls follow the event log already: end one, or ask without follow")
        self._followers += 1

    def leave(self) -> None:
        """One follows no more."""
        self._followers -= 1

    def wake(self) -> None:
        """Something was added. Called on the event loop."""
        self.version += 1
        if self._change is not None:
            self._change.set_result(None)
            self._change = None

    def close(self) -> None:
        """Nobody is to wait any more."""
        self.closed = True
        self.wake()

    async def changed(self, since: int) -> None:
        """Returns when something was added after this version, or at the end."""
        while self.version == since and not self.closed:
            if self._change is None:
                self._change = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._change)
