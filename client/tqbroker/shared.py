"""`@shared_task`: tasks of packages that know no app."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Literal, ParamSpec, TypeVar, Unpack, overload

from tqbroker.app import BoundDecorator, Decorator
from tqbroker.current import share
from tqbroker.options import TaskOptions
from tqbroker.task import AsyncTask, Task

P = ParamSpec("P")
R = TypeVar("R")


@overload
def shared_task(function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...
@overload
def shared_task(function: Callable[P, R], /) -> Task[P, R]: ...
@overload
def shared_task(*, bind: Literal[True], **options: Unpack[TaskOptions]) -> BoundDecorator: ...
@overload
def shared_task(*, bind: Literal[False] = False, **options: Unpack[TaskOptions]) -> Decorator: ...


def shared_task(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Registers a function as a task of every app, those made later included. Options and errors are those of
    `App.task`. What it gives stands for the task of the current app."""
    if function is not None:
        return share(function, options)
    return lambda decorated: share(decorated, options)
