"""What running a task takes, looked up once and not for each of its jobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tqbroker import hooks, signals
from tqbroker.registry import TaskRegistry
from tqbroker.task import Task
from tqbroker_worker.limits import Bounds, TimeLimits

MAX_SHOWN = 1024


class Plan(NamedTuple):
    """`body` is what to call; `hooked`: hooks or signals go around it; `shown` characters of a result are logged.

    `bounds` are the limits of jobs that name none.
    """

    task: Task[..., Any]
    body: Callable[..., Any]
    hooked: bool
    shown: int
    bounds: Bounds
    version: int


class Plans:
    """The plans of an app's tasks."""

    def __init__(self, tasks: TaskRegistry, limits: TimeLimits) -> None:
        self._tasks = tasks
        self._limits = limits
        self._plans: dict[str, Plan] = {}
        limits.on_set = self._forget

    def of(self, name: str) -> Plan:
        """The plan of a task; made anew when signals were connected or limits set since. Raises NotRegistered."""
        plan = self._plans.get(name)
        if plan is None or plan.version != signals.changes:
            version = signals.changes
            task = self._tasks[name]
            shown = getattr(task, "resultrepr_maxsize", MAX_SHOWN)
            plan = Plan(task, task.body(), hooks.wanted(task), shown, self._limits.of_task(name), version)
            self._plans[name] = plan
        return plan

    def _forget(self, name: str) -> None:
        self._plans.pop(name, None)
