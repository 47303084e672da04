"""Schedules as storage keeps them, and what is decided of them without disk or clock. Plain values.

Times are wall-clock milliseconds since 1970 (`*_ms`); zero means "not set". `cron` says when a schedule fires.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from tqbroker_broker.records import Head, JobId, NewJobs, State


class Overlap(IntEnum):
    """What becomes of a firing while a job of an earlier one has not ended; numbers are those of the wire and disk."""

    ALLOW = 1
    SKIP = 2
    QUEUE_ONE = 3


class Misfire(IntEnum):
    """What becomes of firings whose time has passed; numbers are those of the wire and of the disk."""

    LATEST = 1
    ALL = 2
    SKIP = 3


class Crontab(msgspec.Struct, frozen=True, array_like=True):
    """Celery's crontab: both days must match."""

    minute: str = "*"
    hour: str = "*"
    day_of_month: str = "*"
    month_of_year: str = "*"
    day_of_week: str = "*"


class Schedule(msgspec.Struct, frozen=True, array_like=True):
    """One schedule; see proto/tqbroker/v1/schedule.proto for the meaning of each. One of the first three is set.

    `head`, `args` and the `unique` key are those of each job; `countdown_ms` and `expires_in_ms` count from the firing.
    """

    name: str
    every_ms: int = 0
    cron: str = ""
    crontab: Crontab | None = None
    relative: bool = False
    zone: str = ""
    jitter_ms: int = 0
    start_ms: int = 0
    end_ms: int = 0
    overlap: Overlap = Overlap.ALLOW
    misfire: Misfire = Misfire.LATEST
    misfire_max: int = 100
    deadline_ms: int = 0
    paused: bool = False
    head: Head = Head("", "", 0, "")
    args: bytes = b""
    countdown_ms: int = 0
    expires_in_ms: int = 0
    unique: bytes = b""


class Firing(NamedTuple):
    """One firing; `job` is empty when it was skipped."""

    planned_ms: int
    job: JobId


class ScheduleState(msgspec.Struct, frozen=True, array_like=True):
    """A schedule as it stands. `source`: "operator", or "app NAME" of the app that declared it.

    `born_ms` tells incarnations apart: one that fires at other times is another, and its jobs have other ids. Nothing
    planned at or before `last_ms` fires any more. `next_ms` is 0 when it never fires again. `recent` are the newest
    firings, the oldest of them first, at most KEPT_FIRINGS. `live` are, unless overlap is allowed, jobs that had not
    ended at the last look. `by_hand`: an operator has paused what its app declares running, or the other way round.
    """

    schedule: Schedule
    source: str
    born_ms: int
    next_ms: int = 0
    last_ms: int = 0
    fired: int = 0
    skipped: int = 0
    recent: tuple[Firing, ...] = ()
    live: tuple[JobId, ...] = ()
    by_hand: bool = False


OPERATOR = "operator"
"""The source of a schedule that was made by hand; any other is that of an app."""

MAX_SCHEDULES = 10_000
"""Schedules there can be: all are kept in memory."""

KEPT_FIRINGS = 10
"""Firings that a schedule shows."""


class Fire(NamedTuple):
    """What a schedule is to do now: submit these jobs (one NewJobs with one id for each planned moment), then wait.

    `skipped` counts firings that are let go by; `until_ms` is the newest moment that is dealt with, so that nothing
    planned up to it fires any more.
    """

    name: str
    born_ms: int
    planned_ms: Sequence[int]
    jobs: Sequence[NewJobs]
    skipped: int
    until_ms: int
    next_ms: int


class FireAnswer(NamedTuple):
    """What became of it: jobs that were submitted, firings that were skipped, queues with something to hand out.

    `gone`: the schedule was removed, paused or changed meanwhile, so nothing was done. `firings` are those that were
    asked for, `final` the jobs that ended to make room.
    """

    fired: int
    skipped: int
    woken: frozenset[str]
    next_due_ms: int = 0
    gone: bool = False
    firings: Sequence[Firing] = ()
    final: Sequence[JobId] = ()


def job_id(name: str, born_ms: int, planned_ms: int) -> JobId:
    """The id of the job of one firing: a UUID that is the same whoever computes it and however often."""
    digest = blake2b(f"{name}\0{born_ms}\0{planned_ms}".encode(), digest_size=16).digest()
    return digest[:6] + bytes([digest[6] & 0x0F | 0x80, digest[7], digest[8] & 0x3F | 0x80]) + digest[9:]


def may_fire(overlap: Overlap, earlier: Sequence[State]) -> bool:
    """Whether a firing is submitted, given the states of the jobs of earlier ones; a leased job counts as RUNNING."""
    waiting = any(state in (State.SCHEDULED, State.QUEUED, State.WAITING) for state in earlier)
    running = State.RUNNING in earlier
    if overlap is Overlap.ALLOW:
        return True
    return not waiting and not (overlap is Overlap.SKIP and running)
