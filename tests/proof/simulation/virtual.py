"""Time that passes only when everybody waits: an event loop without a selector, and the two clocks of a machine."""

from __future__ import annotations

import asyncio

from tqbroker_broker.records import Time

START_MS = 1_800_000_000_000
BOOTED = 1000.0
"""What the clocks of the broker's machine show at the beginning; nothing may depend on it."""


STEPS_AT_ONCE, STEPS_A_MINUTE = 50_000, 30_000
"""What may happen in a virtual minute, and beyond that once: a stormy minute takes 10,000 steps."""


class StuckError(RuntimeError):
    """Nothing is left that could ever happen, or far too much does, and somebody still waits."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs callbacks in the order of their virtual times, at once.

    `_selector`, `_process_events` and `_write_to_self` are what asyncio's loops are made of: here the "selector" only
    moves the clock to the next timer, since nobody talks to the real world.
    """

    def __init__(self) -> None:
        super().__init__()
        self._selector = self
        self._virtual = 0.0
        self.steps = 0
        """How many times something happened."""
        self.patient = False
        """Whether any number of steps is allowed."""

    def time(self) -> float:
        return self._virtual

    def select(self, timeout: float | None) -> list[object]:
        """Moves the clock to the next timer when nothing is ready."""
        self.steps += 1
        if not self.patient and self.steps > STEPS_AT_ONCE + STEPS_A_MINUTE * self._virtual / 60:
            raise StuckError(f"{self.steps} steps in {self._virtual:.1f} virtual seconds: this does not come to rest")
        if timeout is None:
            raise StuckError("nothing is left to happen")
        if timeout > 0:
            timers: list[asyncio.TimerHandle] = vars(self)["_scheduled"]
            self._virtual = max(self._virtual, timers[0].when())
        return []

    def _process_events(self, events: list[object]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody sleeps who would have to be woken."""


class MachineClock:
    """The clocks of the broker's machine: the wall clock may be set, the other cannot."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.set_by = 0.0
        """Seconds by which the wall clock was set, in all."""

    def now(self) -> Time:
        passed = self._loop.time()
        return Time(START_MS + int((passed + self.set_by) * 1000), BOOTED + passed)
