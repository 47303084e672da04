"""Tasks for workflows that are killed: each writes down that it ran."""

from __future__ import annotations

import os
from typing import Any

from tqbroker import App, Task

app = App("tasks")
history = os.open(os.environ["TQ_HISTORY"], os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def note(task: Task[..., Any]) -> None:
    """A line of the history. The number tells the tasks apart: a job that is replaced runs as two of them."""
    number = sorted(app.tasks).index(task.name)
    request = task.request
    os.write(history, f"start {number} {request.id} {os.getpid()} {request.fence}\n".encode())


@app.task(bind=True)
def add(self: Task[..., Any], x: int, y: int) -> int:
    note(self)
    return x + y


@app.task(bind=True)
def total(self: Task[..., Any], numbers: list[int]) -> int:
    note(self)
    return sum(numbers)


@app.task(bind=True)
def fail(self: Task[..., Any], x: int) -> int:
    note(self)
    raise ValueError(f"no {x}")


@app.task(bind=True)
def instead(self: Task[..., Any], x: int, y: int) -> int:
    """The same as add, by two jobs in its place."""
    note(self)
    result: int = self.replace(add.s(x, y) | add.s(0))
    return result


@app.task(bind=True)
def told(self: Task[..., Any], request: Any, error: Exception, traceback: str) -> str:
    """An error callback: returns what it was told."""
    note(self)
    return f"{request.id} {type(error).__name__}"
