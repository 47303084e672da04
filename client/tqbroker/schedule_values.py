"""Schedules as values on their way to the broker and back. Times are milliseconds; zero means "not set"."""

from __future__ import annotations

from typing import Literal, NamedTuple

from tqbroker.call import Head

Overlap = Literal["allow", "skip", "queue_one"]
"""What becomes of a firing while a job of an earlier one has not ended."""

Misfire = Literal["latest", "all", "skip"]
"""What becomes of firings whose time passed while the broker was down."""


class Fields(NamedTuple):
    """Celery's crontab, each as "*" or a list of numbers, ranges and steps. Both days must match."""

    minute: str = "*"
    hour: str = "*"
    day_of_month: str = "*"
    month_of_year: str = "*"
    day_of_week: str = "*"


class When(NamedTuple):
    """When a schedule fires: one of the first three is set. `zone` is the name of one; empty means UTC."""

    every_ms: int = 0
    cron: str = ""
    crontab: Fields | None = None
    relative: bool = False
    zone: str = ""


class Declared(NamedTuple):
    """One schedule as the broker is told of it; meanings as in proto/tqbroker/v1/schedule.proto.

    `head` and `args` are those of each job, `args` encoded in the format of the head. `misfire_max`: 0 means 100.
    """

    name: str
    when: When
    head: Head
    args: bytes
    jitter_ms: int = 0
    start_ms: int = 0
    end_ms: int = 0
    overlap: Overlap = "allow"
    misfire: Misfire = "latest"
    misfire_max: int = 0
    deadline_ms: int = 0
    paused: bool = False


class FiringInfo(NamedTuple):
    """One firing; `job` is the id as text, empty when it was skipped."""

    planned_ms: int
    job: str


class ScheduleState(NamedTuple):
    """A schedule as it stands in the broker. `source`: "operator", or "app NAME" of the app that declared it.

    `next_ms` is 0 when it never fires again, or is paused. `recent`: the newest firings, the oldest of them first.
    """

    schedule: Declared
    source: str
    next_ms: int = 0
    last_ms: int = 0
    fired: int = 0
    skipped: int = 0
    recent: tuple[FiringInfo, ...] = ()


class Preview(NamedTuple):
    """When a schedule would fire, and what of it is allowed but probably not meant."""

    planned_ms: tuple[int, ...]
    warnings: tuple[str, ...] = ()
