"""Calls the core's tick when it wants to be called. The only place where the broker sleeps."""

from __future__ import annotations

import asyncio
import logging

from tqbroker_broker.core import Core
from tqbroker_broker.storage import Fenced, StorageError

log = logging.getLogger("tqbroker.broker")

AFTER_ERROR = 0.5
"""Seconds before another try when a tick failed."""


class Timers:
    """Real sleeping round `Core.tick`; a simulation calls the tick itself."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._earlier = asyncio.Event()
        self._waits = False
        core.agenda.on_earlier = self._earlier.set

    async def run(self) -> None:
        """Runs until cancelled, or until storage is lost."""
        while not self._core.failed:
            seconds = await self._tick()
            while seconds > 0 and await self._is_woken(seconds):
                seconds = self._core.agenda.left(self._core.now())
            await asyncio.sleep(0)

    async def _tick(self) -> float:
        try:
            seconds = await self._core.tick()
            self._waits = False
            return seconds
        except Fenced:
            return AFTER_ERROR
        except StorageError as error:
            if not self._waits:  # a full disk is not helped by a log that grows twice a second
                log.warning("upkeep has to wait: %s", error)
            self._waits = True
        except Exception:
            log.exception("upkeep failed")
        self._core.agenda.passed()
        return AFTER_ERROR

    async def _is_woken(self, seconds: float) -> bool:
        """Sleeps so long. True when something came up meanwhile."""
        self._earlier.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._earlier.wait()
        except TimeoutError:
            return False
        return True
