"""What the verbs of storage answer: plain values. Ids and times are those of `records`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import BinaryIO, NamedTuple

from tqbroker_broker.attempts import Failure, PastAttempt, Progress, Refusal
from tqbroker_broker.records import Head, JobId, State


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

    `holders` names the job in the way for each NOT_UNIQUE and KEPT; `final` are jobs that ended to make room, and those
    that ended with them; `woken` queues of callbacks that this released.
    """

    stored: int
    exceptions: dict[int, Stored]
    holders: Mapping[int, JobId] = MappingProxyType({})
    final: Sequence[JobId] = ()
    woken: frozenset[str] = frozenset()


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
    """One effect for each id, in order; `tokens` maps a worker's name to its leases that were marked.

    `final` are jobs that waited for one of those in a workflow, and ended with it.
    """

    effects: list[Cancelled]
    tokens: dict[str, list[int]]
    final: Sequence[JobId] = ()


class Due(NamedTuple):
    """What `due` moved: the queues that got something, whether more is overdue, and when to come again (0: nothing).

    `final` are jobs that could not be read any more, and those that ended with them.
    """

    woken: frozenset[str]
    more: bool
    next_ms: int
    final: Sequence[JobId] = ()


class Expired(NamedTuple):
    """What one slice of `expire` did: ids that became final, queues with something to hand out, whether more is due.

    `final` has also the jobs of uploads that were given up; they are not known any more.
    """

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
    workflow: bytes = b""
    root: JobId = b""
    """Of a job of a workflow: its first job."""
    parent: JobId = b""
    """Of a job of a workflow: the member whose end released it, of several the last."""
    group: bytes = b""
    group_index: int = 0
    left: int = 0
    """Of a WAITING job: how many members of its join have not counted yet, of how many."""
    members: int = 0
    for_failure: bool = False
    """Of a WAITING job: it waits for one of them to fail."""
    cause: JobId = b""
    """The job of its workflow whose end ended this one, before it could run."""
    children: Sequence[JobId] = ()
    """Filled on request: what its body submitted, then the released followers of joins whose only member it is."""


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
    waiting: int = 0


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


class Snapshot(NamedTuple):
    """A copy of the store. Whoever has it closes `file`, which has no name: nothing is left when this process ends.

    `digest` is its SHA-256. `queues` counts its jobs; those that were running stand among the queued.
    """

    file: BinaryIO
    size: int
    digest: bytes
    taken_ms: int
    queues: dict[str, QueueCounts]


class Opened(NamedTuple):
    """The answer to `open`: which store this is, the new epoch, and the workers a recovery waits for."""

    store: bytes
    epoch: int
    awaited: list[str]


class Joined(NamedTuple):
    """The answer to `join`.

    `lost` are tokens of `held` that the worker does not own any more; `woken` the queues that got work back, `final`
    the jobs that ended because their worker's old process died.
    """

    lost: list[int]
    woken: frozenset[str]
    final: Sequence[JobId] = ()
