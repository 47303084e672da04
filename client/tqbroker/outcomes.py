"""From what the broker says of a job to what its caller gets: a value, an exception, or a reason not to wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tqbroker import codec
from tqbroker.exceptions import (
    ResultNotFound,
    TaskRevokedError,
    TimeoutError,  # noqa: A004 - ours is a builtin TimeoutError too
    UnknownJob,
    WorkerLostError,
)
from tqbroker.failures import exception_of
from tqbroker.ids import text_of
from tqbroker.states import FINAL, Phase, state_of

if TYPE_CHECKING:
    from tqbroker.ids import Key
    from tqbroker.transport import JobInfo

_LASTING = FINAL - {Phase.FAILED}


def lasts(info: JobInfo) -> bool:
    """Whether this will be so for ever: a job that FAILED may be redriven, and end otherwise."""
    return info.phase in _LASTING


def ended(info: JobInfo) -> JobInfo:
    """The job, which has ended. Raises ResultNotFound or UnknownJob when nothing is kept of how."""
    if info.forgotten:
        raise ResultNotFound(
            f"the result of job {text_of(info.key)} is no longer kept: forgotten, or past result_expires"
        )
    if info.phase is Phase.UNKNOWN:
        raise UnknownJob(f"the broker knows no job {text_of(info.key)}: it was never stored, or dropped long ago")
    return info


def still_runs(key: Key, timeout: float | None) -> TimeoutError:
    """What to raise when one job has not ended in time."""
    return TimeoutError(f"job {text_of(key)} has not ended within {timeout:g} s; it goes on, ask again later")


def value_of(info: JobInfo) -> Any:
    """The return value of a job that has ended, or a fresh exception: each caller raises its own."""
    if info.phase is Phase.SUCCEEDED:
        return codec.decode(info.result, info.result_format or codec.DEFAULT_FORMAT)
    if info.failure is not None:
        return exception_of(info.failure)
    job = text_of(info.key)
    if info.phase is Phase.CANCELLED:
        return TaskRevokedError(f"job {job} was cancelled")
    if info.phase is Phase.EXPIRED:
        return TaskRevokedError(f"job {job} expired before a worker started it")
    return WorkerLostError(f"job {job} lost its worker {info.lost_leases} times")


def fault_of(info: JobInfo | None) -> Exception | None:
    """What a job raised, if it is known to have failed."""
    return exception_of(info.failure) if info is not None and info.failure is not None else None


def state_named(info: JobInfo) -> str:
    """Celery's name for where the job stands; while it runs, the name that its task has given, if it has."""
    named = info.progress.state if info.phase is Phase.RUNNING and info.progress is not None else ""
    return named or state_of(info.phase, info.retries)


def meta_of(info: JobInfo) -> dict[str, Any]:
    """A job's outcome as Celery's result stores keep it; of one that runs its state and what it said."""
    failure = info.failure
    return {
        "task_id": text_of(info.key),
        "status": state_named(info),
        "result": value_of(info) if info.phase in FINAL else said_by(info),
        "traceback": failure.traceback or None if failure is not None else None,
        "children": [text_of(key) for key in info.children],
    }


def said_by(info: JobInfo) -> Any:
    """The `meta` that a running job has given to `self.update_state`; None when it has given none."""
    if info.phase is not Phase.RUNNING or info.progress is None or not info.progress.meta:
        return None
    return codec.decode(info.progress.meta, info.progress.format or codec.DEFAULT_FORMAT)
