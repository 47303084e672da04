"""Running a task here and now as a job would be run: `Task.apply`."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from tqbroker import context, hooks, states
from tqbroker.einfo import ExceptionInfo
from tqbroker.exceptions import Replaced, Retry
from tqbroker.ids import new_key, text_of
from tqbroker.request import Request
from tqbroker.request_values import PLAIN, Details
from tqbroker.retrying import Ending, ending_of

if TYPE_CHECKING:
    from tqbroker.task import Task

R = TypeVar("R")


class EagerResult(Generic[R]):
    """The outcome of `Task.apply`: what AsyncResult says, known from the start."""

    def __init__(self, id: str, ret_value: Any, state: str, traceback: str | None = None, name: str = "") -> None:  # noqa: A002
        self.id = id
        self.result: Any = ret_value
        self.state = state
        self.traceback = traceback
        self.name = name
        self.parent: Any = None
        """The result before this one in its workflow."""
        self.children: list[Any] = []
        """What its body has submitted."""

    @property
    def task_id(self) -> str:
        """Celery's second name for `id`."""
        return self.id

    @property
    def status(self) -> str:
        """Celery's second name for `state`."""
        return self.state

    @property
    def info(self) -> Any:
        """Celery's second name for `result`."""
        return self.result

    def get(self, timeout: float | None = None, propagate: bool = True, **_: Any) -> R:
        """The return value. Raises what the task raised; with `propagate=False` returns it."""
        if propagate and isinstance(self.result, BaseException) and self.state != states.SUCCESS:
            raise self.result
        return cast(R, self.result)

    wait = get

    def ready(self) -> bool:
        """True."""
        return True

    def successful(self) -> bool:
        """Whether it ended with a return value."""
        return self.state == states.SUCCESS

    def failed(self) -> bool:
        """Whether it ended by raising."""
        return self.state == states.FAILURE

    def forget(self) -> None:
        """Does nothing: nothing is stored."""

    def revoke(self, *_: Any, **__: Any) -> None:
        """Does nothing: it has ended."""

    def __str__(self) -> str:
        return self.id

    def __repr__(self) -> str:
        return f"<EagerResult: {self.id}>"


def run(
    task: Task[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    task_id: str | None = None,
    retries: int = 0,
    headers: Mapping[str, Any] | None = None,
    ignore_result: bool = False,
    details: Details = PLAIN,
    beside: list[EagerResult[Any]] | None = None,
) -> EagerResult[Any]:
    """Runs attempts until one of them is no retry. Retries come at once, whatever their delay.

    `beside` takes the results of what the body adds to its chord.
    """
    name = task_id or text_of(new_key())
    said: Any = {"hostname": "eager", "headers": headers, "ignore_result": ignore_result}
    while True:
        request = Request(name, task.name, args, kwargs, retries=retries, **said)
        request.is_eager = True
        request.details = details
        request.eager_beside = beside
        ending = _attempt(task, request)
        if ending.state != states.RETRY:
            return _result(request, ending)
        retry: Retry = ending.value
        args, kwargs = retry.call or (args, kwargs)
        retries += 1


def _result(request: Request, ending: Ending) -> EagerResult[Any]:
    """What became of a job; one that is ignored has ended without a value."""
    ignored = ending.state == states.IGNORED
    state, value = (states.SUCCESS, None) if ignored else (ending.state, ending.value)
    trace = str(ExceptionInfo(ending.value)) if ending.failed else None
    result: EagerResult[Any] = EagerResult(request.id or "", value, state, trace, request.task)
    result.children = request.children
    return result


def _attempt(task: Task[..., Any], request: Request) -> Ending:
    token = context.push(task, request)
    try:
        hooks.before(task, request)
        value = task.run(*request.args, **request.kwargs)
        if inspect.iscoroutine(value):
            value = asyncio.run(value)
        if request.retry is not None:
            raise request.retry
        ending = Ending(states.SUCCESS, value)
    except Replaced as error:
        ending = _ending_instead(error)
    except Exception as error:
        ending = ending_of(task, request, error)
    try:
        hooks.after(task, request, ending)
    finally:
        context.pop(token)
    return ending


def _ending_instead(error: Replaced) -> Ending:
    """How a job ends that was replaced: as what ran in its place."""
    instead = error.result
    return Ending(states.IGNORED, error) if instead is None else Ending(instead.state, instead.result)
