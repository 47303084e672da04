"""The job that is being run here, if any: `self.request` and `current_task`.

Kept in a context variable: threads and asyncio tasks each see their own.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any, cast

from tqbroker.request import Request

if TYPE_CHECKING:
    from tqbroker.task import Task
    from tqbroker.task_body import TaskBody

__all__ = ["Request", "Running", "current_task", "pop", "push", "request_of", "running"]


Running = tuple["TaskBody", Request]
_running: ContextVar[Running | None] = ContextVar("tqbroker_running", default=None)


def push(task: TaskBody, request: Request) -> Token[Running | None]:
    """Makes `request` the one that `task.request` and `current_task` show here. Give the token to `pop`."""
    return _running.set((task, request))


def pop(token: Token[Running | None]) -> None:
    """Undoes one `push`, in the same context."""
    _running.reset(token)


def running() -> Running | None:
    """The task and request being run here, or None."""
    return _running.get()


def request_of(task: TaskBody) -> Request:
    """The request being run here if it is one of `task`, else that of a direct call."""
    current = _running.get()
    return current[1] if current is not None and current[0] is task else Request(task=task.name)


class _CurrentTask:
    """Stands for the task being run here; false, and without attributes, outside of a task."""

    def __getattr__(self, name: str) -> Any:
        current = _running.get()
        if current is None:
            raise AttributeError(f"current_task.{name}: no task is being run here")
        return getattr(current[0], name)

    def __bool__(self) -> bool:
        return _running.get() is not None

    def __repr__(self) -> str:
        current = _running.get()
        return "<current_task: none>" if current is None else f"<current_task: {current[0].name}>"


current_task = cast("Task[..., Any]", _CurrentTask())
"""The task being run here. `if current_task:` asks whether there is one."""
