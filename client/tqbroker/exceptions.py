"""Everything tqbroker raises.

TqbrokerError
├── ImproperlyConfigured            a setting, URL, option or app cannot be used; the message says what to write
├── NotRegistered (KeyError)        no task of this name in the app
├── AlreadyRegistered               two functions under one task name
├── CodecError
│   ├── EncodeError (TypeError)     a value cannot be sent
│   └── DecodeError (ValueError)    bytes cannot be read back
├── OperationalError                the broker did not do it, or did not say so
│   └── BatchError                  the same for many calls: which are stored, rejected, unknown
├── TimeoutError (TimeoutError)     the job has not ended in the time given; it goes on
├── ResultNotFound (LookupError)    there is nothing to get
│   └── UnknownJob                  the broker has never seen this id
└── TaskError                       how a job ended, other than by success
    ├── TaskRevokedError            cancelled, or expired before it started
    ├── WorkerLostError             its workers died too often
    ├── ResultTooLarge              it returned more than the broker keeps
    ├── DamagedRecord               the broker cannot read it any more
    └── RemoteError                 it raised an exception whose class is not loaded here
"""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tqbroker.result import AsyncResult

__all__ = [
    "AlreadyRegistered",
    "BatchError",
    "CodecError",
    "DamagedRecord",
    "DecodeError",
    "EncodeError",
    "ImproperlyConfigured",
    "NotRegistered",
    "OperationalError",
    "RemoteError",
    "RemoteTraceback",
    "ResultNotFound",
    "ResultTooLarge",
    "TaskError",
    "TaskRevokedError",
    "TimeoutError",
    "TqbrokerError",
    "UnknownJob",
    "WorkerLostError",
]


class TqbrokerError(Exception):
    """Base of all errors of tqbroker."""


class ImproperlyConfigured(TqbrokerError):  # noqa: N818 - Celery's name
    """A setting, a URL, an option or an app cannot be used. The message says what to write instead."""


class NotRegistered(TqbrokerError, KeyError):  # noqa: N818 - Celery's name
    """The app has no task of this name. Import the module that defines it, or correct the name."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class AlreadyRegistered(TqbrokerError):  # noqa: N818 - Celery's name
    """Two different functions were registered under one task name. Give one of them another `name=`."""


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


class TimeoutError(TqbrokerError, builtins.TimeoutError):  # noqa: A001 - Celery's name, and a builtin TimeoutError too
    """The job has not ended within the timeout. It goes on; ask again later."""


class ResultNotFound(TqbrokerError, LookupError):  # noqa: N818 - says what it is
    """The job has ended and its result is no longer kept: it was forgotten, or is older than `result_expires`."""


class UnknownJob(ResultNotFound):
    """The broker has never seen this id, or has long dropped every trace of it."""


class TaskError(TqbrokerError):
    """How a job ended, other than by success."""


class TaskRevokedError(TaskError):
    """The job was cancelled, or expired before a worker started it."""


class WorkerLostError(TaskError):
    """The job's worker process died while running it, more often than is tried again."""


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
