"""What is wrong with a task, how a job ended other than by success, and how a worker is told to end."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any

from tqbroker.exceptions.base import TqbrokerError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


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


class InputsTooLarge(TaskError):  # noqa: N818 - says what it is
    """What a job of a workflow is to be handed has more bytes than it may (`max_inputs_size`): return where it is."""


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
