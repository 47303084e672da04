"""How long jobs may run: the limits by task, and the end of a job that runs longer.

A child raises the soft limit in its task itself. The hard one is the parent's: it sees on the child's page how many
jobs were started, so it knows which one runs and since when, and kills the child. Nobody looks while no child has a job
with such a limit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from itertools import islice
from typing import NamedTuple

from tqbroker.failures import FailureData
from tqbroker_worker.config import WorkerConfig
from tqbroker_worker.jobs import Head, Jobs
from tqbroker_worker.protocol import Ended, Manifest, TimeLimits, Verdict
from tqbroker_worker.seats import Seat

LATE_SHARE = 20
"""A job may run longer than its limit by this share of it, as that is how often one looks ..."""
LOOK_LEAST, LOOK_MOST = 0.02, 1.0
"""... but not more often, nor more seldom than this, in seconds."""


class LimitTable:
    """The time limits that hold for jobs which name none: those of the task, else the worker's, else the app's."""

    def __init__(self, config: WorkerConfig, manifest: Manifest) -> None:
        app = manifest.settings.limits
        soft = _ms(config.soft_time_limit) or app.soft_ms
        hard = _ms(config.time_limit) or app.hard_ms
        self.default = (soft, hard)
        """Of tasks that name none: soft and hard, in milliseconds, 0 for none."""
        self._tasks = {
            task: (limits.soft_ms or soft, limits.hard_ms or hard) for task, limits in manifest.limits.items()
        }
        from_flags = config.soft_time_limit is not None or config.time_limit is not None
        self._told: dict[str, None] = dict.fromkeys(manifest.tasks if from_flags else ())

    def of(self, task: str) -> tuple[int, int]:
        """Soft and hard limit of a task in milliseconds, 0 for none."""
        return self._tasks.get(task, self.default)

    def set(self, task: str, soft_ms: int, hard_ms: int) -> TimeLimits:
        """New limits of a task; gives what to tell the children."""
        self._tasks[task] = (soft_ms, hard_ms)
        self._told[task] = None
        return TimeLimits(task, soft_ms, hard_ms)

    def to_tell(self) -> list[TimeLimits]:
        """What a new child cannot know from the app."""
        return [TimeLimits(task, *self.of(task)) for task in self._told]

    def hard_ms(self, head: Head) -> int:
        """After how long a job is ended, 0 for never."""
        traits = head.traits
        if traits is not None and traits.hard_limit_ms:
            return traits.hard_limit_ms
        return self._tasks.get(head.task, self.default)[1]


class _Mark(NamedTuple):
    """How many jobs a child had started at the last look, and when that number was first seen."""

    started: int
    since: float


class HardLimits:
    """Looks after the jobs of children that run one at a time.

    `kill` ends a child for one of its jobs, `later(seconds, function)` calls a function after a while.
    """

    def __init__(
        self,
        table: LimitTable,
        kill: Callable[[Seat, Iterable[Ended]], None],
        later: Callable[[float, Callable[[], None]], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._table = table
        self._kill = kill
        self._later = later
        self._clock = clock
        self._marks: dict[Seat, _Mark] = {}
        self._looking = False

    def watch(self, seat: Seat, jobs: Jobs) -> None:
        """A child was given these jobs."""
        limit_ms = self._table.hard_ms(jobs.head)
        if not limit_ms:
            return
        if seat not in self._marks:
            self._marks[seat] = _Mark(seat.started(), self._clock())
        if not self._looking:
            self._looking = True
            self._later(_pause(limit_ms), self._look)

    def _look(self) -> None:
        now, shortest = self._clock(), 0
        for seat in list(self._marks):
            limits = [ms for jobs in set(seat.jobs.values()) if (ms := self._table.hard_ms(jobs.head))]
            if not limits:
                del self._marks[seat]
                continue
            shortest = min(shortest or limits[0], *limits)
            self._check(seat, now)
        self._looking = bool(self._marks)
        if self._looking:
            self._later(_pause(shortest), self._look)

    def _check(self, seat: Seat, now: float) -> None:
        mark = self._marks[seat]
        if (started := seat.started()) != mark.started:
            self._marks[seat] = _Mark(started, now)
            return
        running = seat.running
        if not running or seat.doomed:
            self._marks[seat] = _Mark(started, now if not running else mark.since)
            return
        token, jobs = next(islice(seat.jobs.items(), running - 1, None))
        limit_ms = self._table.hard_ms(jobs.head)
        if limit_ms and (now - mark.since) * 1000 >= limit_ms:
            self._kill(seat, [_exceeded(token, limit_ms, now - mark.since)])


def _exceeded(token: int, limit_ms: int, ran: float) -> Ended:
    message = f"hard time limit ({limit_ms / 1000:g}s) exceeded"
    failure = FailureData("TimeLimitExceeded", "tqbroker.exceptions", message)
    started_ms = int((time.time() - ran) * 1000)
    return Ended(token, Verdict.FAILED, failure, started_ms, int(ran * 1e6))


def _pause(limit_ms: int) -> float:
    return min(LOOK_MOST, max(LOOK_LEAST, limit_ms / 1000 / LATE_SHARE))


def _ms(seconds: float | None) -> int:
    return max(1, round(seconds * 1000)) if seconds else 0
