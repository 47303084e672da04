"""Where time comes from: the one real clock, and the shape that simulations and tests put in its place."""

from __future__ import annotations

import time
from typing import Protocol

from tqbroker_broker.records import Time


class Clock(Protocol):
    """A source of time that its owner hands to everything that needs to know when it is."""

    def now(self) -> Time:
        """One reading of wall clock and monotonic clock together."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> Time:
        return Time(time.time_ns() // 1_000_000, time.monotonic())
