"""What decides when and where a job may run: its own traits, and the rules of queues and limits.

Plain values, as they stand on disk. Times are milliseconds; zero means "not set".
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import msgspec


class UniqueUntil(IntEnum):
    """Until when a job holds its unique key; numbers are those of the wire and of the disk."""

    QUEUED = 1
    STARTED = 2
    FINISHED = 3
    TIME = 4


class UniqueConflict(IntEnum):
    """What becomes of a job whose unique key is held by another; numbers are those of the wire and of the disk."""

    REJECT = 1
    KEEP = 2
    REPLACE = 3


class Unique(msgspec.Struct, frozen=True, array_like=True):
    """That at most one job with a key exists. `for_ms`: the key is free this long after the submit at the latest."""

    until: UniqueUntil
    conflict: UniqueConflict
    for_ms: int = 0


class Traits(msgspec.Struct, frozen=True, array_like=True):
    """What a plain job does not have; see proto/tqbroker/v1/job.proto for the meaning of each.

    The first four decide the lane of a job.
    """

    tenant: str = ""
    ordering_key: str = ""
    limits: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    stamps: tuple[str, ...] = ()
    time_limit_ms: int = 0
    soft_time_limit_ms: int = 0
    unique: Unique | None = None
    shadow: str = ""


PLAIN = Traits()
"""The traits of a job that has none."""


class Overflow(IntEnum):
    """What becomes of a job that finds its queue full; numbers are those of the wire and of the disk."""

    REFUSE = 1
    DROP_OLDEST = 2


class QueueRule(msgspec.Struct, frozen=True, array_like=True):
    """How one queue is to behave. `weights`: turns of a tenant for each one of another's; 1 unless named."""

    paused: bool = False
    max_length: int = 0
    overflow: Overflow = Overflow.REFUSE
    ttl_ms: int = 0
    weights: dict[str, int] = {}


class Rate(msgspec.Struct, frozen=True, array_like=True):
    """At most `count` starts in any window of `period_ms`, spread evenly over it; see windows.py.

    Of the rates of one limit the shortest is spread, the others are caps.
    """

    count: int
    period_ms: int


class LimitRule(msgspec.Struct, frozen=True, array_like=True):
    """How many jobs may run at once (0: any number), and how often they may start.

    `name` is "task:NAME", "queue:NAME", or a name that jobs have among their traits' `limits`. A trailing "*" makes it
    the rule of each name that begins so: every such name is counted by itself. The longest name that fits is the rule.
    """

    name: str
    concurrency: int = 0
    rates: tuple[Rate, ...] = ()


class LimitState(NamedTuple):
    """A limit as it is now. `operator`: set by hand, so that no app changes it.

    `running` counts the leases under all its names; 0 for a rule that admits everything.
    """

    rule: LimitRule
    operator: bool
    running: int
