"""As many children as there is work for, between two bounds."""

from __future__ import annotations

import asyncio

from tqbroker_worker.handover import Handover
from tqbroker_worker.pool import Pool

LOOK_SECONDS = 1.0
KEEP_SECONDS = 30.0
"""How long a child that has nothing to do is kept: Celery's AUTOSCALE_KEEPALIVE."""


class Autoscale:
    """Doubles the children while all of them are at work, and ends one when some have long had nothing to do."""

    def __init__(self, pool: Pool, handover: Handover, most: int, least: int) -> None:
        self._pool = pool
        self._handover = handover
        self._most = most
        self._least = least
        self._busy_at = 0.0

    async def run(self) -> None:
        """Looks until it is cancelled."""
        clock = asyncio.get_running_loop().time
        self._busy_at = clock()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look(clock())

    def look(self, now: float) -> None:
        """One look at `now`, seconds of any clock."""
        wanted = self._pool.wanted
        if self._handover.running >= wanted:
            self._busy_at = now
            if wanted < self._most:
                self._pool.resize(min(self._most, 2 * wanted))
        elif now - self._busy_at >= KEEP_SECONDS and wanted > self._least:
            self._busy_at = now
            self._pool.resize(wanted - 1)

    def bound(self, most: int, least: int) -> None:
        """New bounds."""
        self._most, self._least = most, least
        self._pool.resize(min(most, max(least, self._pool.wanted)))
