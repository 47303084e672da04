"""Rates: how many starts they still admit, and when the next.

Two rules make a rate hold where jobs run, although no two messages take equally long to get there. Every window is kept
a little longer than its period (`SPARE`). And starts are spread evenly over the shortest window instead of all at its
beginning: were ten sent at once every second, a delay of some milliseconds could bring two tens into one second; of
starts that are 100 ms apart it brings one more at worst. This is what Celery's "10/s" does, too. The longer windows of
a limit with several only cap the sum: "10/s 100/m" spreads ten over a second and stops at a hundred.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from math import ceil

from tqbroker_broker.rules import Rate

PARTS = 128
"""Of more starts than this, those closer together than this part of the period are remembered as one, at their last.

So a window never admits too much, at most this part too little, and needs the same memory for any rate.
"""

SPARE, MOST_SPARE_MS = 0.005, 50
"""By which part of its period a window is kept longer, and by how many milliseconds at most: what messages may differ
by. A quarter of the 2 % that a rate may be missed by."""

PACE_SPARE = 2
"""Starts are spread over a period with this many times the spare: those that come late can be made up for."""

SLOT_MS = 10
"""Starts closer together than this are let go in groups, this often: of 1000 a second ten at a time."""

LATE_MS = 100
"""Starts that are late by no more than this are made up for: the loop was busy, a disk was slow. Longer, and nobody
wanted to start meanwhile."""


def _spare(rate: Rate) -> float:
    return min(rate.period_ms * SPARE, MOST_SPARE_MS)


class Window:
    """The starts of the last period and a little more, by a clock that the caller reads (milliseconds)."""

    __slots__ = ("_length", "_starts", "_total", "rate")

    def __init__(self, rate: Rate, starts: Iterable[tuple[int, int]] = ()) -> None:
        self.rate = rate
        self._length = rate.period_ms + ceil(_spare(rate))
        self._starts: deque[list[int]] = deque()
        """First and last moment and number of what is remembered as one."""
        self._total = 0
        for at_ms, count in starts:
            self.add(at_ms, count)

    def room(self, now_ms: int) -> int:
        """How many may start now."""
        while self._starts and self._starts[0][1] <= now_ms - self._length:
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
                return last + self._length
        return now_ms + self._length

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


class Pace:
    """An even distance between starts: `_due` is when the next one is, `_last` when there was one."""

    __slots__ = ("_distance", "_due", "_last", "_slot")

    def __init__(self, rate: Rate) -> None:
        self._distance = (rate.period_ms + PACE_SPARE * _spare(rate)) / rate.count
        self._slot = SLOT_MS if self._distance < SLOT_MS else 0
        self._due = 0.0
        self._last = -SLOT_MS

    def room(self, now_ms: int) -> int:
        """How many may start now."""
        due = self._due_at(now_ms)
        if now_ms < due or self._last < now_ms < self._last + self._slot:
            return 0
        return 1 + int((now_ms - due) / self._distance)

    def opens_at(self, now_ms: int) -> int:
        """When one more may start."""
        return now_ms if self.room(now_ms) else max(ceil(self._due), self._last + self._slot)

    def add(self, at_ms: int, count: int) -> None:
        """So many started at this moment, which is not before any earlier one."""
        self._due = self._due_at(at_ms) + count * self._distance
        self._last = at_ms

    def _due_at(self, now_ms: int) -> float:
        """When the next start is due. After a break a slot's worth is, and no more."""
        return self._due if now_ms - self._due <= LATE_MS else now_ms - self._slot


class Budget:
    """What the rates of one limit admit together. `starts`: what is known of earlier ones, the oldest first."""

    __slots__ = ("_pace", "_windows", "rates")

    def __init__(self, rates: Sequence[Rate], starts: Iterable[tuple[int, int]] = ()) -> None:
        self.rates = tuple(rates)
        self._windows = [Window(rate) for rate in sorted(rates, key=lambda rate: (rate.period_ms, rate.count))]
        self._pace = Pace(self._windows[0].rate)
        for at_ms, count in starts:
            self.add(at_ms, count)

    def left(self, now_ms: int) -> int:
        """How many the windows admit from now on, at whatever pace."""
        return min(window.room(now_ms) for window in self._windows)

    def room(self, now_ms: int) -> int:
        """How many may start now."""
        return min(self.left(now_ms), self._pace.room(now_ms))

    def opens_at(self, now_ms: int) -> int:
        """When one more may start."""
        return max(self._pace.opens_at(now_ms), *(window.opens_at(now_ms) for window in self._windows))

    def add(self, at_ms: int, count: int) -> None:
        """So many started at this moment, which is not before any earlier one."""
        for window in self._windows:
            window.add(at_ms, count)
        self._pace.add(at_ms, count)

    def starts(self) -> list[tuple[int, int]]:
        """What is remembered of the longest period: moments and how many started until then, the oldest first."""
        return self._windows[-1].starts()

    def is_quiet(self, now_ms: int) -> bool:
        """Whether no start matters any more."""
        return self._pace.opens_at(now_ms) == now_ms and all(
            window.room(now_ms) == window.rate.count for window in self._windows
        )
