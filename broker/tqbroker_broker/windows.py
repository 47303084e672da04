"""Rates: how many starts a sliding window still admits."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from tqbroker_broker.rules import Rate

PARTS = 128
"""Of more starts than this, those closer together than this part of the period are remembered as one, at their last.

So a window never admits too much, at most this part too little, and needs the same memory for any rate.
"""


class Window:
    """The starts of the last period, by a clock that the caller reads (milliseconds).

    A start counts until exactly one period later.
    """

    __slots__ = ("_starts", "_total", "rate")

    def __init__(self, rate: Rate, starts: Iterable[tuple[int, int]] = ()) -> None:
        self.rate = rate
        self._starts: deque[list[int]] = deque()
        """First and last moment and number of what is remembered as one."""
        self._total = 0
        for at_ms, count in starts:
            self.add(at_ms, count)

    def room(self, now_ms: int) -> int:
        """How many may start now."""
        while self._starts and self._starts[0][1] <= now_ms - self.rate.period_ms:
            self._total -= self._starts.popleft()[2]
        return max(0, self.rate.count - self._total)

    def opens_at(self, now_ms: int) -> int:
        """When one more may start."""
        if self.room(now_ms):
            return now_ms
        over = self._total - self.rate.count
        for _, last, count in self._starts:
            over -= count
            if over < 0:
                return last + self.rate.period_ms
        return now_ms + self.rate.period_ms

    def add(self, at_ms: int, count: int) -> None:
        """So many started at this moment, which is not before any earlier one."""
        self._total += count
        close = self.rate.period_ms // PARTS if self.rate.count > PARTS else 0
        last = self._starts[-1] if self._starts else None
        if last is not None and at_ms - last[0] <= close:
            last[1], last[2] = at_ms, last[2] + count
        else:
            self._starts.append([at_ms, at_ms, count])

    def starts(self) -> list[tuple[int, int]]:
        """What is remembered: moments and how many started until then, the oldest first."""
        return [(last, count) for _, last, count in self._starts]
