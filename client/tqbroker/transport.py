"""What the client needs from a broker, as values and two protocols: one for threads, one for asyncio."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from tqbroker.call import Batch, Workflow
from tqbroker.failures import FailureData
from tqbroker.ids import Key
from tqbroker.states import Phase, RevokeEffect

if TYPE_CHECKING:
    from tqbroker._grpc_admin import GrpcOperator


class Refused(NamedTuple):
    """One submitted job that is not known to be stored. `unknown`: it may be; otherwise it surely is not.

    `holder` is the job that holds its unique key. With the reason KEPT that job stands for this one, and all is well.
    """

    key: Key
    reason: str
    message: str
    unknown: bool
    holder: str = ""


KEPT = "KEPT"


@dataclass(slots=True)
class ProgressInfo:
    """What an attempt said of itself while it ran. `meta` is encoded in `format`; `at_ms` is since 1970 UTC."""

    state: str
    meta: bytes
    format: str
    done: float
    total: float
    note: str
    at_ms: int


@dataclass(slots=True)
class AttemptInfo:
    """One attempt that did not end its job, or that made it FAILED. Times are milliseconds since 1970 UTC.

    `verdict`: retry, lost, failed, rejected or requeued. `next_due_ms`: when the next was planned for.
    """

    worker: str
    verdict: str
    started_ms: int
    ended_ms: int
    next_due_ms: int
    failure: FailureData | None


@dataclass(slots=True)
class JobInfo:
    """What the broker knows of one job. Times are milliseconds since 1970 UTC, 0 when there is none."""

    key: Key
    phase: Phase
    forgotten: bool = False
    task: str = ""
    queue: str = ""
    priority: int = 0
    format: str = ""
    args: bytes = b""
    headers: bytes = b""
    submitted_ms: int = 0
    due_ms: int = 0
    expires_ms: int = 0
    started_ms: int = 0
    finished_ms: int = 0
    worker: str = ""
    retries: int = 0
    lost_leases: int = 0
    result: bytes = b""
    result_format: str = ""
    ignore_result: bool = False
    failure: FailureData | None = None
    cancel_requested: bool = False
    waits_for: str = ""
    traits: dict[str, Any] = field(default_factory=dict)
    """What a plain job does not have, by the names of the wire."""
    progress: ProgressInfo | None = None
    attempts: list[AttemptInfo] = field(default_factory=list)
    """Filled only when one job is asked for with everything known of it."""
    workflow: bytes = b""
    parent: str = ""
    root: str = ""
    cause: str = ""
    """The job of its workflow whose end ended this one."""
    group: bytes = b""
    group_index: int = 0
    children: list[Key] = field(default_factory=list)
    """Filled on request."""


@dataclass(slots=True)
class QueueInfo:
    """One queue and how many jobs it holds by phase."""

    name: str
    queued: int
    running: int
    scheduled: int
    succeeded: int
    failed: int
    cancelled: int
    expired: int
    waiting: int = 0
    """For other jobs of their workflow."""


@dataclass(slots=True)
class WorkerInfo:
    """One worker that is connected or awaited. Its times are in milliseconds since 1970; 0 when it is awaited."""

    name: str
    connected: bool
    queues: list[str]
    tasks: list[str]
    slots: int
    pool: str
    host: str
    pid: int
    version: str
    leases: int
    labels: list[str] = field(default_factory=list)
    connected_ms: int = 0
    last_seen_ms: int = 0


@dataclass(slots=True)
class BrokerInfo:
    """What the broker is and how it does. `recovery_left_ms`: how much longer it waits for the `awaited` workers."""

    version: str
    durability: str
    data_dir: str
    started_ms: int
    awaited: list[str]
    recovery_left_ms: int
    used_bytes: int
    high_water_bytes: int
    queues: list[QueueInfo] = field(default_factory=list)
    workers: list[WorkerInfo] = field(default_factory=list)
    store: str = ""
    """Id of the store, which a restore changes."""
    backup_ms: int = 0
    """When the newest backup was taken since the start of the broker; 0 for none."""
    backup_bytes: int = 0


class InputsInfo(NamedTuple):
    """Values that members of a join returned. `formats`: one for all, or one each. `total`: members in all."""

    values: list[bytes]
    formats: list[str]
    total: int


class Transport(Protocol):
    """For threads. Every call is safe to repeat; `timeout` is in seconds; OperationalError when it has passed."""

    def submit(self, batches: Sequence[Batch], timeout: float) -> list[Refused]:
        """Stores jobs and returns those that are not known to be stored; all others are durable.

        `timeout` runs anew with every part that is confirmed, so large submits are not cut off while they advance.
        """
        ...

    def get(
        self, keys: Sequence[Key], timeout: float, *, with_args: bool = False, with_children: bool = False
    ) -> list[JobInfo]:
        """What is known of these jobs now, in order."""
        ...

    def wait(self, key: Key, timeout: float | None, contact_timeout: float) -> JobInfo | None:
        """The job once it has ended (or is unknown), or None after `timeout`.

        The broker must be reached within `contact_timeout` at first; later outages are waited through.
        """
        ...

    def ends(self, keys: Sequence[Key], timeout: float | None, contact_timeout: float) -> Iterator[JobInfo]:
        """Of many jobs each once it has ended (or is unknown), in the order in which they do; less after `timeout`.

        Otherwise as `wait`.
        """
        ...

    def tell(self, keys: Sequence[Key], callback: Callable[[JobInfo], object]) -> None:
        """Calls back once for each of these jobs when it has ended (or is unknown), from a thread, until `close`."""
        ...

    def cancel(
        self, keys: Sequence[Key], timeout: float, *, terminate: bool = False, signal: str = ""
    ) -> list[RevokeEffect]:
        """Cancels jobs; one effect each, in order. With `terminate` running ones are stopped, by `signal` if given."""
        ...

    def forget(self, keys: Sequence[Key], timeout: float) -> int:
        """Drops results of finished jobs; how many were dropped."""
        ...

    def submit_workflow(self, workflow: Workflow, timeout: float) -> list[Refused]:
        """Stores a workflow, in parts if it is large. All of it is durable, or with any job refused none of it.

        Raises OperationalError when the workflow as a whole is refused, or its fate is unknown.
        """
        ...

    def inputs(self, key: Key, first: int, timeout: float) -> InputsInfo:
        """Values that a job of a workflow is handed, from an index on: at least one unless there are no more."""
        ...

    def group(self, id: bytes, timeout: float) -> list[Key] | None:  # noqa: A002 - the word of the wire
        """The members of a group, or None when the broker knows no such group."""
        ...

    def save_group(self, id: bytes, keys: Sequence[Key], timeout: float) -> None:  # noqa: A002
        """Remembers jobs as a group."""
        ...

    def delete_group(self, id: bytes, timeout: float) -> bool:  # noqa: A002
        """Forgets a group that was saved. Returns whether there was one."""
        ...

    def broker(self, timeout: float) -> BrokerInfo:
        """The broker with its queues and workers."""
        ...

    def operator(self, timeout: float) -> GrpcOperator:
        """What an operator can ask and order; `timeout` is for each call."""
        ...

    def close(self) -> None:
        """Closes the connection."""
        ...


class AsyncTransport(Protocol):
    """For one event loop: the same calls, awaited."""

    async def submit(self, batches: Sequence[Batch], timeout: float) -> list[Refused]:
        """See Transport.submit."""
        ...

    async def submit_workflow(self, workflow: Workflow, timeout: float) -> list[Refused]:
        """See Transport.submit_workflow."""
        ...

    async def wait(self, key: Key, timeout: float | None, contact_timeout: float) -> JobInfo | None:
        """See Transport.wait."""
        ...

    def ends(self, keys: Sequence[Key], timeout: float | None, contact_timeout: float) -> AsyncIterator[JobInfo]:
        """See Transport.ends."""
        ...
