"""When upkeep is next called for, and who waits until it has been."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf

from tqbroker_broker.records import Time

PAUSE = 0.5
"""Most seconds between two ticks: silent workers are judged this often."""

LEAST = 0.001
"""Fewest seconds, unless something is to be done at once: what is left of a wait may be less than a clock can tell."""


class Agenda:
    """The moment of the next tick, and of the next hand-out. `on_earlier` is called when one moves forward."""

    def __init__(self) -> None:
        self.on_earlier: Callable[[], None] = lambda: None
        self._mono = 0.0
        self._wall_ms = 0
        self._noted_ms = 0
        self._again = inf
        self._passed: asyncio.Future[None] | None = None

    def begin(self) -> None:
        """A tick begins: what is stored from now on it may not see."""
        self._noted_ms = 0

    def plan(self, now: Time, seconds: float, due_ms: int) -> None:
        """The next tick comes after so many seconds, or when the next job is due, whichever is first."""
        seconds = min(max(seconds, LEAST), PAUSE) if seconds else 0.0
        for moment in (due_ms, self._noted_ms):
            if moment:
                seconds = max(0.0, min(seconds, (moment - now.wall_ms) / 1000))
        self._mono = now.mono + seconds
        self._wall_ms = now.wall_ms + round(seconds * 1000)

    def due_at(self, due_ms: int, now: Time) -> None:
        """A job was stored that becomes due at this time."""
        if due_ms and not 0 < self._noted_ms <= due_ms:
            self._noted_ms = due_ms
        if due_ms and due_ms < self._wall_ms:
            self.plan(now, PAUSE, due_ms)
            self.on_earlier()

    def at_once(self, now: Time) -> None:
        """Something must be looked at now."""
        self.plan(now, 0.0, 0)
        self.on_earlier()

    def again_in(self, seconds: float, now: Time) -> None:
        """A rate limit admits more after so many seconds: somebody must ask again then."""
        moment = now.mono + seconds
        if moment < self._again:
            self._again = moment
            if moment < self._mono:
                self.on_earlier()

    def takes_again(self, now: Time) -> bool:
        """Whether it is only time to ask again, not for a whole tick. Whoever is told yes does so."""
        only = self._again <= now.mono < self._mono
        if self._again <= now.mono:
            self._again = inf
        return only

    def left(self, now: Time) -> float:
        """Seconds until the next tick, or until somebody must ask again."""
        return max(0.0, min(self._mono, self._again) - now.mono)

    def passed(self) -> None:
        """A tick is done: whoever waited for it goes on."""
        if self._passed is not None:
            self._passed.set_result(None)
            self._passed = None

    async def tick(self) -> None:
        """Returns after the next tick."""
        if self._passed is None:
            self._passed = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._passed)
