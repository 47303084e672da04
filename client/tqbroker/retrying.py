"""How an attempt goes on after it raised: again, when, or not at all. Decisions only."""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from tqbroker import states
from tqbroker.amounts import seconds_of
from tqbroker.exceptions import Ignore, MaxRetriesExceededError, Reject, Retry, TaskRevokedError

if TYPE_CHECKING:
    from tqbroker.request import Request
    from tqbroker.task_body import TaskBody

Call = tuple[Sequence[Any], Mapping[str, Any]]

_MOST_DOUBLINGS = 60
"""Keeps 2**retries a number that a float can be."""


class Ending(NamedTuple):
    """How an attempt ended: `state` is Celery's name, `value` what it returned or raised."""

    state: str
    value: Any

    @property
    def failed(self) -> bool:
        """Whether `value` is why it failed."""
        return self.state == states.FAILURE


def ending_of(task: TaskBody, request: Request, error: BaseException) -> Ending:
    """How an attempt that raised `error` ends, by the task's options. The value of a RETRY is a Retry with a moment."""
    if isinstance(error, Ignore):
        return Ending(states.IGNORED, error)
    if isinstance(error, Reject):
        return Ending(states.REJECTED, error)
    if request.cancelled and isinstance(error, TaskRevokedError):
        return Ending(states.REVOKED, error)
    trace = error.__traceback__
    try:
        retry = _retry_for(task, request, error)
    except BaseException as final:
        return Ending(states.FAILURE, final.with_traceback(trace) if final is error else final)
    return Ending(states.FAILURE, error) if retry is None else Ending(states.RETRY, retry)


def _retry_for(task: TaskBody, request: Request, error: BaseException) -> Retry | None:
    """The retry that follows on `error`, if any; raises what the attempt fails with when there were too many."""
    if isinstance(error, Retry):
        return error if error.planned else _by_hand(task, request, error)
    if isinstance(error, _classes(task.dont_autoretry_for)) or not isinstance(error, _classes(task.autoretry_for)):
        return None
    chosen = dict(task.retry_kwargs)
    given = (chosen.pop("args", None), chosen.pop("kwargs", None))
    when = chosen.pop("eta", None)
    when = chosen.pop("countdown", None) if when is None else when
    if task.retry_backoff:
        factor = max(1.0, float(task.retry_backoff))
        when = backoff(factor, request.retries, seconds(task.retry_backoff_max), jitter=task.retry_jitter)
    retry = plan(task, request, error, call=call_of(request, *given), when=when, max_retries=chosen.get("max_retries"))
    retry.__cause__ = error
    return retry


def _by_hand(task: TaskBody, request: Request, error: Retry) -> Retry:
    retry = plan(task, request, error.exc, call=error.call, when=error.when)
    retry.message = error.message
    return retry.with_traceback(error.__traceback__)


def plan(
    task: TaskBody,
    request: Request,
    exc: BaseException | None = None,
    *,
    call: Call | None = None,
    when: float | timedelta | datetime | str | None = None,
    max_retries: int | None = None,
) -> Retry:
    """The retry of this attempt. Raises `exc`, else MaxRetriesExceededError, when there may be no more.

    Raises ValueError for a `when` that is no time, or further away than any job may wait.
    """
    most = task.max_retries if max_retries is None else max_retries
    if most is not None and request.retries >= most:
        if isinstance(exc, BaseException):
            raise_from_here(exc)
        args, kwargs = call or (request.args, request.kwargs)
        raise MaxRetriesExceededError(
            f"Can't retry {task.name}[{request.id}] args:{args!r:.500} kwargs:{kwargs!r:.500}: "
            f"it was retried {request.retries} times, max_retries is {most}",
            task_args=args,
            task_kwargs=kwargs,
        )
    moment = task.default_retry_delay if when is None else when
    retry = Retry(exc=exc, when=_moment(moment), is_eager=request.is_eager, call=call)
    retry.planned = True
    return retry


def raise_from_here(exc: BaseException) -> NoReturn:
    """Raises `exc` with what is being handled here as its cause, so that a new exception does not hide the old one."""
    current = sys.exception()
    if current is None or current is exc:
        raise exc
    raise exc from current


def call_of(request: Request, args: Sequence[Any] | None, kwargs: Mapping[str, Any] | None) -> Call | None:
    """The arguments of the next attempt; None when they stay as they are."""
    if args is None and kwargs is None:
        return None
    return (request.args if args is None else args), (request.kwargs if kwargs is None else kwargs)


def delay_ms(retry: Retry, now: float) -> int:
    """Milliseconds from `now` (seconds since 1970) until the next attempt, rounded up."""
    when = retry.when or 0
    if isinstance(when, datetime):
        when = when.timestamp() - now
    return max(0, -int(-when * 1000 // 1))


def backoff(factor: float, retries: int, most: float, *, jitter: bool) -> float:
    """Seconds before the next attempt: `factor` doubled with every retry, at most `most`; with jitter up to that."""
    most = min(most, factor * 2.0 ** min(retries, _MOST_DOUBLINGS))
    return random.uniform(0, most) if jitter else most


def seconds(value: float | timedelta) -> float:
    """A duration as a number."""
    return value.total_seconds() if isinstance(value, timedelta) else value


def _moment(when: float | timedelta | datetime | str) -> float | datetime:
    if isinstance(when, str):
        when = datetime.fromisoformat(when)
    if isinstance(when, datetime):
        return when if when.tzinfo else when.replace(tzinfo=UTC)
    return seconds_of("countdown", when)


def _classes(value: Any) -> tuple[type[BaseException], ...]:
    return (value,) if isinstance(value, type) else tuple(value or ())
