"""Everything tqbroker raises, and what a task may raise to say how its job goes on.

TqbrokerError
├── ImproperlyConfigured            a setting, URL, option or app cannot be used; the message says what to write
├── SecurityError                   what came cannot be trusted
├── CodecError
│   ├── EncodeError (TypeError)     a value cannot be sent
│   └── DecodeError (ValueError)    bytes cannot be read back
├── OperationalError                the broker did not do it, or did not say so
│   ├── BatchError                  the same for many calls: which are stored, rejected, unknown
│   ├── QueueFull                   the queue has as many waiting jobs as it may have
│   └── LeaseLostError              this attempt does not count any more: another worker may have the job
├── NotUniqueError                  another job holds the unique key; .holder is its result
├── BackendError
│   ├── BackendGetMetaError         for code that catches Celery's; a result cannot be read
│   └── BackendStoreError           likewise; a result cannot be stored
├── ResultNotFound (LookupError)    there is nothing to get
│   └── UnknownJob                  the broker has never seen this id
├── TaskPredicate                   raised by a task, no error of it
│   ├── Retry                       run again later
│   ├── Ignore                      done, nothing to keep
│   │   └── Replaced                a workflow goes on in place of the job
│   └── Reject                      FAILED, or back to the queue
└── TaskError                       something about a task, or how a job ended other than by success
    ├── NotRegistered (KeyError)    no task of this name in the app
    ├── AlreadyRegistered           two functions under one task name
    ├── QueueNotFound (KeyError)    no queue of this name is configured
    ├── InvalidTaskError            what came is no job
    ├── TimeoutError (TimeoutError) the job has not ended in the time given; it goes on
    ├── MaxRetriesExceededError     it was tried again as often as it may be
    ├── TaskRevokedError            cancelled, or expired before it started
    ├── SoftTimeLimitExceeded       raised in the task once its soft time limit is over
    ├── TimeLimitExceeded           it was stopped by its hard time limit
    ├── WorkerLostError             its workers died too often
    ├── Terminated                  its worker was told to stop it by force
    ├── ChordError                  a part of the chord failed
    ├── IncompleteStream            a result ended early
    ├── ResultTooLarge              it returned more than the broker keeps
    ├── DamagedRecord               the broker cannot read it any more
    └── RemoteError                 it raised an exception whose class is not loaded here
SystemExit
├── WorkerShutdown                  ends a worker after what runs
└── WorkerTerminate                 ends a worker at once
"""

from __future__ import annotations

import builtins
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from tqbroker.ids import text_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tqbroker.async_result import AsyncResult

__all__ = [
    "AlreadyRegistered",
    "BackendError",
    "BackendGetMetaError",
    "BackendStoreError",
    "BatchError",
    "ChordError",
    "CodecError",
    "DamagedRecord",
    "DecodeError",
    "EncodeError",
    "Ignore",
    "ImproperlyConfigured",
    "IncompleteStream",
    "InvalidTaskError",
    "LeaseLostError",
    "MaxRetriesExceededError",
    "NotRegistered",
    "NotUniqueError",
    "OperationalError",
    "QueueFull",
    "QueueNotFound",
    "Reject",
    "RemoteError",
    "RemoteTraceback",
    "Replaced",
    "ResultNotFound",
    "ResultTooLarge",
    "Retry",
    "SecurityError",
    "SoftTimeLimitExceeded",
    "TaskError",
    "TaskPredicate",
    "TaskRevokedError",
    "Terminated",
    "TimeLimitExceeded",
    "TimeoutError",
    "TqbrokerError",
    "UnknownJob",
    "WorkerLostError",
    "WorkerShutdown",
    "WorkerTerminate",
]


class TqbrokerError(Exception):
    """Base of all errors of tqbroker."""


class ImproperlyConfigured(TqbrokerError):  # noqa: N818 - Celery's name
    """A setting, a URL, an option or an app cannot be used. The message says what to write instead."""


class SecurityError(TqbrokerError):
    """What came cannot be trusted."""


class CodecError(TqbrokerError):
    """Something about turning values into bytes or back."""


class EncodeError(CodecError, TypeError):
    """A value cannot be sent: the message names where it stands and what is allowed."""


class DecodeError(CodecError, ValueError):
    """Bytes cannot be read back as a value."""


class OperationalError(TqbrokerError):
    """The broker did not do what was asked within the deadline, or could not say that it did.

    `outcome` is "rejected" when surely nothing was stored, and "unknown" when it may have been. Sending again with the
    same `task_id` is safe in both cases: the broker recognises it. `task_ids` are the ids of the calls concerned.
    `reason` is one word: UNREACHABLE, or one of proto/tqbroker/v1/errors.proto such as STORE_FULL or ID_CONFLICT.
    """

    outcome: Literal["rejected", "unknown"]
    task_ids: list[str]
    reason: str

    def __init__(
        self,
        message: str,
        *,
        outcome: Literal["rejected", "unknown"] = "rejected",
        task_ids: Sequence[str] = (),
        reason: str = "UNREACHABLE",
    ) -> None:
        super().__init__(message)
        self.outcome = outcome
        self.reason = reason
        self.task_ids = list(task_ids)

    @property
    def rejected(self) -> bool:
        """True when surely nothing was stored."""
        return self.outcome == "rejected"


class BatchError(OperationalError):
    """Of many calls sent together, some are not known to be stored.

    `stored` are the results of those that are durable, `rejected_ids` maps ids that are surely not stored to the
    reason, `unknown_ids` maps ids that may be stored. `results` has one AsyncResult for every call, in order.
    """

    def __init__(
        self,
        message: str,
        *,
        results: Sequence[AsyncResult[Any]],
        stored: Sequence[AsyncResult[Any]],
        rejected: dict[str, str],
        unknown: dict[str, str],
        reason: str = "UNREACHABLE",
    ) -> None:
        outcome: Literal["rejected", "unknown"] = "unknown" if unknown else "rejected"
        super().__init__(message, outcome=outcome, task_ids=[*rejected, *unknown], reason=reason)
        self.results = list(results)
        self.stored = list(stored)
        self.rejected_ids = rejected
        self.unknown_ids = unknown


class QueueFull(OperationalError):  # noqa: N818 - says what it is
    """The queue has reached its `max_length` and refuses more. Try again when workers have caught up."""


class NotUniqueError(TqbrokerError):
    """Another job holds the unique key, so that this one was not stored. `holder` is the result of that job."""

    holder: AsyncResult[Any]

    def __init__(self, message: str, *, holder: AsyncResult[Any]) -> None:
        super().__init__(message)
        self.holder = holder


class LeaseLostError(OperationalError):
    """This attempt does not count any more: the broker may have given the job to another worker. Stop here."""


class BackendError(TqbrokerError):
    """Celery's base of the two that follow. Here results are the broker's, and its failures OperationalError."""


class BackendGetMetaError(BackendError):
    """A result cannot be read. Never raised here: for code that catches it."""


class BackendStoreError(BackendError):
    """A result cannot be stored. Never raised here: for code that catches it."""


class ResultNotFound(TqbrokerError, LookupError):  # noqa: N818 - says what it is
    """The job has ended and its result is no longer kept: it was forgotten, or is older than `result_expires`."""


class UnknownJob(ResultNotFound):
    """The broker has never seen this id, or has long dropped every trace of it."""


class TaskPredicate(TqbrokerError):  # noqa: N818 - Celery's name
    """What a task raises to say how its job goes on; no error of the task."""


class Retry(TaskPredicate):
    """Run the job again: raised by `self.retry(...)`, or by hand.

    `exc` is why, `when` is when: seconds from now, or a datetime (aware, or naive for UTC). Without `when` the task's
    `default_retry_delay` holds. The task's `max_retries` holds in any case. `is_eager`: in `Task.apply`. `call` are new
    arguments of the job, None to keep those it has.
    """

    def __init__(
        self,
        message: str | None = None,
        exc: BaseException | str | None = None,
        when: float | datetime | None = None,
        is_eager: bool = False,
        call: tuple[Sequence[Any], Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__(exc, when, message)
        self.message = message
        self.exc = exc if isinstance(exc, BaseException) else None
        self.excs = _shown(exc) if isinstance(exc, BaseException) else exc
        self.when = when
        self.is_eager = is_eager
        self.call = call
        self.planned = False
        """Whether the limits of the task have been applied: that of `self.retry(...)`."""

    def humanize(self) -> str:
        """When, in words: "in 3s" or "at 2026-01-01 00:00:00+00:00"."""
        if isinstance(self.when, datetime):
            return f"at {self.when if self.when.tzinfo else self.when.replace(tzinfo=UTC)}"
        return "later" if self.when is None else f"in {self.when:g}s"

    def __str__(self) -> str:
        if self.message:
            return self.message
        return f"Retry {self.humanize()}: {self.excs}" if self.excs else f"Retry {self.humanize()}"


class Ignore(TaskPredicate):
    """The job is done and there is nothing to keep: a success whose result is None."""


class Replaced(Ignore):
    """A workflow, stored and held under this id (16 bytes), takes the place of the job: what `self.replace` raises.

    The job has not ended with it: it goes on as the last part of that workflow, and whoever waits for it gets what
    that returns.
    """

    def __init__(self, workflow: bytes) -> None:
        super().__init__(workflow)
        self.workflow = workflow
        self.result: Any = None
        """How that has ended already, when all runs in place."""

    def __str__(self) -> str:
        return f"replaced by workflow {text_of(self.workflow)}"


class Reject(TaskPredicate):
    """The task does not take this job: it is FAILED and a dead letter with `reason`.

    With `requeue` it goes to the end of its lane instead, uncounted as a retry.
    """

    def __init__(self, reason: object = None, requeue: bool = False) -> None:
        super().__init__(reason, requeue)
        self.reason = reason
        self.requeue = requeue

    def __str__(self) -> str:
        return f"reject requeue={self.requeue}: {self.reason}"


def _shown(exc: BaseException) -> str:
    try:
        return repr(exc)
    except Exception as error:
        return f"<{type(exc).__name__} whose repr() raised {type(error).__name__}>"


class TaskError(TqbrokerError):
    """Something about a task, or how a job ended other than by success."""


class NotRegistered(TaskError, KeyError):  # noqa: N818 - Celery's name
    """The app has no task of this name. Import the module that defines it, or correct the name."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class AlreadyRegistered(TaskError):  # noqa: N818 - Celery's name
    """Two different functions were registered under one task name. Give one of them another `name=`."""


class QueueNotFound(TaskError, KeyError):  # noqa: N818 - Celery's name
    """No queue of this name is configured, and none is made by itself."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class InvalidTaskError(TaskError):
    """What came is no job that can be run."""


class TimeoutError(TaskError, builtins.TimeoutError):  # noqa: A001 - Celery's name, and a builtin TimeoutError too
    """The job has not ended within the timeout. It goes on; ask again later."""


class MaxRetriesExceededError(TaskError):
    """The job was tried again as often as it may be. `task_args` and `task_kwargs` are its arguments."""

    def __init__(self, *args: Any, task_args: Sequence[Any] = (), task_kwargs: Mapping[str, Any] | None = None) -> None:
        super().__init__(*args)
        self.task_args = task_args
        self.task_kwargs = task_kwargs or {}


class TaskRevokedError(TaskError):
    """The job was cancelled, or expired before a worker started it."""


class SoftTimeLimitExceeded(TaskError):  # noqa: N818 - Celery's name
    """Raised inside of the task once its soft time limit is over: the moment to clean up and end."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(args or ("soft time limit exceeded",)))


class TimeLimitExceeded(TaskError):  # noqa: N818 - Celery's name
    """The job was stopped by its hard time limit."""


class WorkerLostError(TaskError):
    """The job's worker process died while running it, more often than is tried again."""


class Terminated(TaskError):  # noqa: N818 - Celery's name
    """The job was stopped by force."""


class ChordError(TaskError):
    """A part of the chord failed."""


class IncompleteStream(TaskError):  # noqa: N818 - Celery's name
    """A result ended early."""


class ResultTooLarge(TaskError):  # noqa: N818 - says what it is
    """The job returned more bytes than the broker keeps (`max_result_size`): return where it is stored instead."""


class DamagedRecord(TaskError):  # noqa: N818 - says what it is
    """What the broker has stored of the job does not match its checksum: the disk has changed it. Restore a backup."""


class RemoteError(TaskError):
    """The job raised an exception whose class is not loaded in this process.

    What is raised is a subclass of this one that carries the class name of the original; nothing is ever imported
    because the wire says so. `exc_type` and `exc_module` name the original class, `args` are its arguments when they
    could be sent, else its message.
    """

    exc_type: str = ""
    exc_module: str = ""


class RemoteTraceback(TqbrokerError):  # noqa: N818 - says what it is
    """The traceback of a failed job as text; attached as `__cause__`, so that printing the exception shows it."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text.rstrip()}\n"""'


class WorkerShutdown(SystemExit):
    """Ends a worker after what runs. Raised in a task it fails the job, as SystemExit does."""


class WorkerTerminate(SystemExit):
    """Ends a worker at once. Raised in a task it fails the job, as SystemExit does."""
