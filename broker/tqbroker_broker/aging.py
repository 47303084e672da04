"""How old things are when the wall clock has been set: results and ids are kept for a time that has really passed.

Moments are stored by the wall clock, because they outlive the process. Were that clock put forward, all that is kept
for a while would be past its time at once: results that callers wait for, ids by which a resend is recognised. So the
jump is held back: what is kept is judged by a clock that lags behind by it, until what was kept at the jump has had its
time. Then the jump counts, whatever jumps came since: a machine that sleeps every night makes one a day.
"""

from __future__ import annotations

from typing import NamedTuple

from tqbroker_broker.records import Time

LEAST_MS = 60_000
"""A jump of less is let pass: nothing is kept for so short a time that it would matter."""

PARTS = 8
"""Parts of a window that jumps are told apart by: many in a short time are held back as one, so that few are kept."""


class HeldBack(NamedTuple):
    """A jump: by how many milliseconds the clock of what is kept lags behind for it, and since when (wall clock)."""

    lag_ms: int
    since_ms: int


NOTHING: tuple[HeldBack, ...] = ()


class Aging:
    """The clock by which things grow old.

    `window` is how many seconds a jump is held back; `held` are those that are, the oldest first.
    """

    def __init__(self, window: float, held: tuple[HeldBack, ...] = NOTHING) -> None:
        self.held = held
        self._window_ms = int(window * 1000)
        self._seen: Time | None = None

    def see(self, now: Time) -> None:
        """Looks at the clock. A jump is what lies between two looks."""
        before = self._seen
        self._seen = now
        if before is not None:
            jump_ms = now.wall_ms - before.wall_ms - round((now.mono - before.mono) * 1000)
            if jump_ms >= LEAST_MS:
                self._put_forward(jump_ms, now.wall_ms)
            elif jump_ms <= -LEAST_MS:
                self._put_back(-jump_ms)
        if self.held and now.wall_ms < self.held[-1].since_ms:  # put back while nobody looked: before a start
            self._put_back(self.held[-1].since_ms - now.wall_ms)
        if self.held:
            self.held = tuple(each for each in self.held if now.wall_ms - each.since_ms < self._window_ms)

    def wall_ms(self, now: Time) -> int:
        """The moment up to which time counts as passed for what is kept."""
        return now.wall_ms - sum(each.lag_ms for each in self.held)

    def _put_forward(self, ms: int, wall_ms: int) -> None:
        """Another jump. The clock has not run through it: since the earlier ones no more time has passed for it."""
        held = [HeldBack(each.lag_ms, each.since_ms + ms) for each in self.held]
        if len(held) > 1 and wall_ms - held[-2].since_ms < self._window_ms // PARTS:
            ms += held.pop().lag_ms
        self.held = (*held, HeldBack(ms, wall_ms))

    def _put_back(self, ms: int) -> None:
        """Undoes so much of the jumps, the latest first."""
        held: list[HeldBack] = []
        left = ms
        for each in reversed(self.held):
            undone = min(left, each.lag_ms)
            left -= undone
            if undone < each.lag_ms:
                held.append(HeldBack(each.lag_ms - undone, max(0, each.since_ms - ms)))
        self.held = tuple(reversed(held))
