"""What a task raises to say how its job goes on."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tqbroker.exceptions.base import TqbrokerError
from tqbroker.ids import text_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


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
