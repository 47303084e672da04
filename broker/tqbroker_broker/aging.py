"""How old things are when the wall clock has been set: results and ids are kept for a time that has really passed.

Moments are stored by the wall clock, because they outlive the process. Were that clock put forward, all that is kept
for a while would be past its time at once: results that callers wait for, ids by which a resend is recognised. So the
jump is held back: what is kept is judged by a clock that lags behind by it, until what was kept at the jump has had its
time. Then the two are one again.
"""

from __future__ import annotations

from typing import NamedTuple

from tqbroker_broker.records import Time

LEAST_MS = 60_000
"""A jump of less is let pass: nothing is kept for so short a time that it would matter."""


class HeldBack(NamedTuple):
    """By how many milliseconds the clock of what is kept lags behind, and since when (wall clock). Stored as it is."""

    lag_ms: int = 0
    since_ms: int = 0


NOTHING = HeldBack()


class Aging:
    """The clock by which things grow old. `window` is how many seconds a jump is held back."""

    def __init__(self, window: float, held: HeldBack = NOTHING) -> None:
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
                self.held = HeldBack(self.held.lag_ms + jump_ms, now.wall_ms)
            elif jump_ms <= -LEAST_MS:
                self._put_back(-jump_ms)
        if now.wall_ms < self.held.since_ms:  # put back while nobody looked: before a start
            self._put_back(self.held.since_ms - now.wall_ms)
        if now.wall_ms - self.held.since_ms >= self._window_ms:
            self.held = NOTHING

    def wall_ms(self, now: Time) -> int:
        """The moment up to which time counts as passed for what is kept."""
        return now.wall_ms - self.held.lag_ms

    def _put_back(self, ms: int) -> None:
        lag_ms = self.held.lag_ms - ms
        self.held = HeldBack(lag_ms, max(0, self.held.since_ms - ms)) if lag_ms > 0 else NOTHING
