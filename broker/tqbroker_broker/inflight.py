"""Changes on their way to the disk: counted, bounded, and waited for before a stop."""

from __future__ import annotations

import asyncio
import sys

from tqbroker_broker.refusals import Busy


class InFlight:
    """Requests and their bytes between arrival and answer."""

    def __init__(self, max_bytes: int = sys.maxsize) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self.count = 0
        self._quiet: asyncio.Future[None] | None = None

    def enter(self, size: int) -> None:
        """A request of `size` bytes begins. Raises Busy when it would be too much; a lone one is always admitted."""
        if self._bytes and self._bytes + size > self._max_bytes:
            raise Busy(
                f"{self._bytes} bytes of jobs wait for their commit already and {self._max_bytes} are admitted:"
                " send again in a moment, or raise max_inflight_bytes"
            )
        self._bytes += size
        self.count += 1

    def leave(self, size: int) -> None:
        """The request was answered, or failed."""
        self._bytes -= size
        self.count -= 1
        if self.count == 0 and self._quiet is not None and not self._quiet.done():
            self._quiet.set_result(None)

    async def quiet(self) -> None:
        """Returns when nothing is in flight."""
        while self.count:
            if self._quiet is None or self._quiet.done():
                self._quiet = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._quiet)
