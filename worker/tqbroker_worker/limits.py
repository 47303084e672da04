"""How long a job may run: what the call says, else what was set at run time, else the task, else the worker."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

from tqbroker.registry import TaskRegistry
from tqbroker.retrying import seconds
from tqbroker_worker.jobs import Head


class Bounds(NamedTuple):
    """Milliseconds; 0 means no limit."""

    soft_ms: int
    hard_ms: int


UNBOUNDED = Bounds(0, 0)


class TimeLimits:
    """The limits of all tasks of an app. `default` are the worker's own."""

    def __init__(self, tasks: TaskRegistry, default: Bounds = UNBOUNDED) -> None:
        self._tasks = tasks
        self._default = default
        self._known: dict[str, Bounds] = {}
        self.on_set: Callable[[str], None] = lambda _task: None
        """Called with a task whose limits are not what they were."""

    def of_task(self, name: str) -> Bounds:
        """The limits of a task's jobs that name none."""
        return self._known.get(name) or self._look(name)

    def of(self, head: Head) -> Bounds:
        """The limits of a job."""
        bounds = self.of_task(head.task)
        traits = head.traits
        if traits is None:
            return bounds
        return Bounds(traits.soft_limit_ms or bounds.soft_ms, traits.hard_limit_ms or bounds.hard_ms)

    def set(self, task: str, soft_ms: int, hard_ms: int) -> None:
        """Replaces a task's limits, for jobs that start from now on."""
        self._known[task] = Bounds(soft_ms, hard_ms)
        self.on_set(task)

    def _look(self, name: str) -> Bounds:
        """Asks the task once; a changed attribute has no effect later, a message has."""
        task = self._tasks[name]
        soft, hard = millis(task.soft_time_limit), millis(task.time_limit)
        bounds = self._known[name] = Bounds(soft or self._default.soft_ms, hard or self._default.hard_ms)
        return bounds


def millis(value: float | timedelta | Any | None) -> int:
    """A duration in milliseconds, rounded up; 0 for none."""
    return 0 if not value else max(1, -int(-seconds(value) * 1000 // 1))
