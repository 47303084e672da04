"""Tasks that every app has: what maps and replaced groups are made of. Workers announce them, lists leave them out."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqbroker.app import App
    from tqbroker.task import Task


def register(app: App) -> None:
    """Gives them to an app, once."""
    if "tqbroker.map" in app.tasks:
        return

    def call_with_each(task: Any, it: Iterable[Any]) -> list[Any]:
        """Calls a task with each value, one after the other."""
        call = _caller(app, task)
        return [call(value) for value in it]

    def call_with_arguments(task: Any, it: Iterable[Iterable[Any]]) -> list[Any]:
        """Calls a task with each list of arguments."""
        call = _caller(app, task)
        return [call(*values) for values in it]

    def call_in_chunks(task: Any, it: Iterable[Iterable[Any]], n: int) -> list[list[Any]]:
        """The same, with a list of results for every `n` calls."""
        if n < 1:
            raise ValueError(f"chunks of n={n!r} is not allowed: give an int from 1 up")
        rest = iter(it)
        return [call_with_arguments(task, part) for part in iter(lambda: list(islice(rest, n)), [])]

    app.task(name="tqbroker.map")(call_with_each)
    app.task(name="tqbroker.starmap")(call_with_arguments)
    app.task(name="tqbroker.chunks")(call_in_chunks)
    app.task(name="tqbroker.accumulate")(accumulate)


def accumulate(*args: Any, index: int | None = None) -> Any:
    """Its arguments as a list, or the one at `index`."""
    return list(args) if index is None else args[index]


def builtin(app: App, name: str) -> Task[..., Any]:
    """One of them."""
    register(app)
    return app.tasks[name]


def _caller(app: App, task: Any) -> Callable[..., Any]:
    """Calls a task here. `task` is its name, or a signature, whose own arguments come last."""
    signature = task if isinstance(task, Mapping) else {"task": task}
    found, own, named = app.tasks[signature["task"]], signature.get("args") or (), signature.get("kwargs") or {}

    def call(*args: Any) -> Any:
        returned = found(*args, *own, **named)
        return asyncio.run(returned) if inspect.iscoroutine(returned) else returned

    return call
