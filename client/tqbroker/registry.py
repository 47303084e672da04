"""The tasks of an app by name."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tqbroker.exceptions import AlreadyRegistered, NotRegistered

if TYPE_CHECKING:
    from tqbroker.app import App
    from tqbroker.task import Task


_OURS = "tqbroker."


def is_builtin(name: str) -> bool:
    """Whether this is a task that every app has."""
    return name.startswith(_OURS)


class TaskRegistry(dict[str, "Task[..., Any]"]):
    """Name to task. A missing name raises NotRegistered, which names the nearest ones.

    The tasks that every app has are among the others once one of them was asked for.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    def __missing__(self, name: str) -> Task[..., Any]:
        if is_builtin(name):
            from tqbroker.builtin_tasks import register

            register(self._app)
            if name in self:
                return self[name]
        import difflib

        close = difflib.get_close_matches(name, self, 3)
        hint = f"did you mean {' or '.join(close)}?" if close else "is the module that defines it imported?"
        raise NotRegistered(f"no task {name!r} in this app: {hint}")

    def register(self, task: Task[..., Any]) -> None:
        """Adds a task. The same function again (a reloaded module, a notebook cell) replaces its former self."""
        known = self.get(task.name)
        if known is not None and _origin(known.function) != _origin(task.function):
            raise AlreadyRegistered(
                f"task name {task.name!r} is used by {'.'.join(_origin(known.function))} and by "
                f"{'.'.join(_origin(task.function))}: give one of them another name="
            )
        self[task.name] = task


def _origin(function: Callable[..., Any]) -> tuple[str, str]:
    return function.__module__, getattr(function, "__qualname__", repr(function))


def task_name(main: str | None, name: str, module: str) -> str:
    """`module.name`. In a script that runs as `__main__` the app's name, or else the file's, is the module."""
    if module == "__main__":
        module = main or _script_name() or module
    return f"{module}.{name}"


def _script_name() -> str:
    path = getattr(sys.modules.get("__main__"), "__file__", None) or ""
    return path.replace("\\", "/").rpartition("/")[2].removesuffix(".py")
