"""What storage keeps and returns: plain values without behaviour.

Ids inside the broker are bytes: the 16 bytes of a UUID, or `text_key(...)` of any other id, so that the two never meet.
Times are wall-clock milliseconds since 1970 (`*_ms`) unless a name says otherwise; zero means "not set".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from tqbroker_broker.rules import PLAIN, Traits

JobId = bytes


class State(IntEnum):
    """Where a job stands; numbers are those of the wire and of the disk."""

    SCHEDULED = 1
    WAITING = 2
    QUEUED = 3
    RUNNING = 4
    SUCCEEDED = 5
    FAILED = 6
    CANCELLED = 7
    EXPIRED = 8
    UNKNOWN = 9


class Time(NamedTuple):
    """One reading of the clock, passed in by the caller.

    `wall_ms` orders what outlives the process (due times, expiries); `mono` (seconds) judges leases, because it cannot
    jump.
    """

    wall_ms: int
    mono: float


class Head(msgspec.Struct, frozen=True, array_like=True):
    """What the jobs of one batch share. Encoded once for a batch and cached when decoded."""

    task: str
    queue: str
    priority: int
    format: str
    ignore_result: bool = False
    result_ttl_ms: int = 0
    headers: bytes = b""
    traits: Traits = PLAIN


class NewJobs(NamedTuple):
    """Jobs on their way in, as columns.

    `digests` (16 bytes each) tell "same body" for P2. `due_ms` 0 means at once; `expires_ms` 0 means never.
    `unique` (16 bytes each) are the keys that nobody else may hold; empty when the traits ask for none.
    """

    head: Head
    ids: list[JobId]
    args: list[bytes]
    digests: list[bytes]
    due_ms: int = 0
    expires_ms: int = 0
    unique: Sequence[bytes] = ()


class Stored(IntEnum):
    """What became of one submitted job."""

    STORED = 1
    DUPLICATE = 2
    CONFLICT = 3
    NOT_UNIQUE = 4
    """Refused: another job holds its unique key."""
    KEPT = 5
    """Not stored: the job that holds its unique key stands for it."""
    QUEUE_FULL = 6
    """Refused: the queue has reached its max_length."""


class Enqueued(NamedTuple):
    """The answer for one NewJobs: everything at an index not in `exceptions` is STORED.

    `holders` names the job in the way for each NOT_UNIQUE and KEPT; `final` are jobs that ended to make room.
    """

    stored: int
    exceptions: dict[int, Stored]
    holders: Mapping[int, JobId] = MappingProxyType({})
    final: Sequence[JobId] = ()


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


class Finished(NamedTuple):
    """The answer to `finish`: everything not in `refused` took effect.

    ALREADY means that this very outcome is stored (a lost reply); STALE that the lease is gone. `final` are the ids
    that reached a final state, `woken` the queues that got something to hand out, `next_due_ms` the earliest retry
    (0: none).
    """

    refused: dict[int, Refusal]
    final: list[JobId]
    woken: frozenset[str]
    next_due_ms: int = 0


class Cancelled(IntEnum):
    """What a cancel did to one job; numbers are those of the wire."""

    CANCELLED = 1
    RUNNING = 2
    PENDING = 3
    FINAL = 4
    UNKNOWN = 5


class Mark(IntEnum):
    """A durable cancel mark on a running job; numbers are those of the disk."""

    NONE = 0
    ASKED = 1
    """The job may see it and end by itself."""
    TERMINATE = 2
    """The worker stops it by force where it can."""


class CancelAnswer(NamedTuple):
    """One effect for each id, in order; `tokens` maps a worker's name to its leases that were marked."""

    effects: list[Cancelled]
    tokens: dict[str, list[int]]


class Due(NamedTuple):
    """What `due` moved: the queues that got something, whether more is overdue, and when to come again (0: nothing)."""

    woken: frozenset[str]
    more: bool
    next_ms: int


class Expired(NamedTuple):
    """What one slice of `expire` did: ids that became final, queues with something to hand out, whether more is due."""

    final: list[JobId]
    woken: frozenset[str]
    lost_workers: list[str]
    more: bool


@dataclass(slots=True)
class Job:
    """Everything known of one job, as `get` returns it. A field that was never set is zero or empty."""

    id: JobId
    state: State
    forgotten: bool = False
    head: Head | None = None
    args: bytes = b""
    submitted_ms: int = 0
    due_ms: int = 0
    expires_ms: int = 0
    started_ms: int = 0
    finished_ms: int = 0
    worker: str = ""
    retries: int = 0
    lost: int = 0
    token: int = 0
    result: bytes = b""
    result_format: str = ""
    failure: Failure | None = None
    cancel_requested: bool = False
    recovering: bool = False
    held_by: str = ""
    """What holds the lane of a QUEUED job that is not `recovering`, as far as the store knows; empty when nothing does.

    The first of "paused", "recovering" (awaited workers may hold what it must not run beside), "ordering key k", "limit
    mail" of a concurrency, "limit mail" of the rate that is full for longest. Rates are judged at the last beat or
    lease.
    """
    progress: Progress | None = None
    attempts: Sequence[PastAttempt] = ()


@dataclass(slots=True)
class QueueCounts:
    """Jobs of one queue by state; the final ones as long as they are kept."""

    queued: int = 0
    running: int = 0
    scheduled: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    expired: int = 0


@dataclass(slots=True)
class Stats:
    """What the store holds. Bytes are of the file's map."""

    queues: dict[str, QueueCounts] = field(default_factory=dict)
    used_bytes: int = 0
    high_water_bytes: int = 0
    map_bytes: int = 0


@dataclass(slots=True)
class WorkerRow:
    """A worker as the store knows it: in the durable list, connected or awaited."""

    name: str
    instance: bytes
    connected: bool
    leases: int
    awaited: bool = False


class Opened(NamedTuple):
    """The answer to `open`: which store this is, the new epoch, and the workers a recovery waits for."""

    store: bytes
    epoch: int
    awaited: list[str]


class Joined(NamedTuple):
    """The answer to `join`.

    `lost` are tokens of `held` that the worker does not own any more, `cancelled` those whose jobs somebody cancelled,
    `terminate` those of them to be stopped by force; `woken` the queues that got work back, `final` the jobs that ended
    because their worker's old process died.
    """

    lost: list[int]
    cancelled: list[int]
    woken: frozenset[str]
    final: Sequence[JobId] = ()
    terminate: Sequence[int] = ()


def text_key(text: str) -> JobId:
    """The internal form of an id that is not a UUID: never 16 bytes long, so never equal to one."""
    key = b"t" + text.encode()
    return b"t\x00" + key[1:] if len(key) == 16 else key


def key_text(key: JobId) -> str:
    """The text of an id made by `text_key`."""
    return key[1:].lstrip(b"\x00").decode()
