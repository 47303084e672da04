"""What workers are handed and what they say of it: plain values. Ids and times are those of `records`."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import msgspec

from tqbroker_broker.records import Head, JobId


class Want(NamedTuple):
    """What one worker could take now.

    At most `window` jobs are handed out, and of tasks that are not in `fast` at most `slots`: both count what the
    worker may take in addition to what it holds. `fast` is a subset of `tasks`; jobs under a rate limit count as not
    fast, so that none of their starts is spent on waiting. Handing out stops with the job whose arguments and
    checkpoint bring the total to `max_bytes`, so that a message stays small. `labels` are what the worker has for jobs
    that require them.
    """

    worker: str
    queues: tuple[str, ...]
    tasks: frozenset[str]
    slots: int
    window: int
    fast: frozenset[str] = frozenset()
    max_bytes: int = 1 << 20
    labels: frozenset[str] = frozenset()


class Extra(NamedTuple):
    """What a delivered job may have beside its columns: times, and the last checkpoint of an earlier attempt."""

    due_ms: int = 0
    expires_ms: int = 0
    checkpoint: bytes = b""
    checkpoint_format: str = ""


class Leased(NamedTuple):
    """Jobs handed to one worker that share their head, as columns in hand-out order. Few have `extras`: by index.

    `slow`: they counted as not fast although their task is, because a rate limit holds for them.
    """

    head: Head
    ids: list[JobId]
    tokens: list[int]
    args: list[bytes]
    retries: list[int]
    lost: list[int]
    extras: dict[int, Extra]
    slow: bool = False


class HandedOut(NamedTuple):
    """The answer to `lease`: what each want gets, and after how many seconds a rate limit admits more (0.0: none)."""

    batches: list[list[Leased]]
    again_in: float = 0.0


class Held(NamedTuple):
    """A lease that a worker says it has."""

    id: JobId
    token: int


class Failure(msgspec.Struct, frozen=True, array_like=True):
    """Why an attempt ended badly, as the worker told it."""

    type: str
    module: str
    message: str
    traceback: str = ""
    args: bytes = b""
    format: str = ""


class Verdict(IntEnum):
    """How an attempt ended, other than by success."""

    FAILED = 1
    RETRY = 2
    LOST = 3
    CANCELLED = 4
    REJECTED = 5
    REQUEUED = 6


class Successes(NamedTuple):
    """Attempts that succeeded, as columns. `ids` is filled only when they are sent again after a reconnect."""

    tokens: list[int]
    results: list[bytes]
    format: str
    started_ms: list[int]
    runtime_us: list[int]
    ids: list[JobId] | None = None


class Ending(NamedTuple):
    """One attempt that did not succeed. `id` is set only when it is sent again after a reconnect.

    `args` of a RETRY replaces the job's arguments; None keeps them.
    """

    token: int
    verdict: Verdict
    failure: Failure | None
    retry_in_ms: int = 0
    started_ms: int = 0
    runtime_us: int = 0
    id: JobId | None = None
    args: bytes | None = None


class Progress(msgspec.Struct, frozen=True, array_like=True):
    """What an attempt said of itself while it ran. `meta` is encoded in `format`."""

    state: str = ""
    meta: bytes = b""
    format: str = ""
    done: float = 0.0
    total: float = 0.0
    note: str = ""
    at_ms: int = 0


class Annotation(NamedTuple):
    """Progress or a checkpoint of a running attempt; None leaves what is stored, an empty checkpoint removes it."""

    token: int
    progress: Progress | None = None
    checkpoint: bytes | None = None
    checkpoint_format: str = ""


class PastAttempt(msgspec.Struct, frozen=True, array_like=True):
    """One attempt that did not end the job, or whose end made it FAILED. `next_due_ms`: when the next was planned.

    Of a lost one whose worker told no start, `started_ms` is when it was handed out, 0 when that was before a restart.
    """

    worker: str
    token: int
    verdict: Verdict
    started_ms: int
    ended_ms: int
    failure: Failure | None = None
    next_due_ms: int = 0


class Refusal(IntEnum):
    """Why an outcome has no effect."""

    STALE = 1
    ALREADY = 2
