"""What went wrong between this process and the broker, or is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from tqbroker.exceptions.base import TqbrokerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tqbroker.async_result import AsyncResult


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
