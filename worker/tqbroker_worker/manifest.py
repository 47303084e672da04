"""What a child tells its parent of the app it has loaded."""

from __future__ import annotations

from typing import Any

from tqbroker import signals
from tqbroker.app import App
from tqbroker.rates import parse_rates
from tqbroker.task import Task
from tqbroker_worker.limits import Bounds, millis
from tqbroker_worker.protocol import Manifest, TaskLimits, WorkerSettings


def manifest_of(app: App) -> Manifest:
    """The app's name, tasks and settings, as far as they are a worker's."""
    rated = not app.conf.worker_disable_rate_limits
    limits = {name: found for name, task in app.tasks.items() if (found := _limits(task, rated)) != TaskLimits()}
    return Manifest(
        app.main or "",
        app.conf.broker_url,
        list(dict.fromkeys([app.conf.task_default_queue, *(queue.name for queue in app.conf.directory.queues)])),
        sorted(app.tasks),
        limits,
        _settings(app),
        signals.connected(),
    )


def bounds_of(app: App) -> Bounds:
    """The time limits of tasks that name none."""
    return Bounds(millis(_setting(app, "task_soft_time_limit")), millis(_setting(app, "task_time_limit")))


def _limits(task: Task[..., Any], rated: bool) -> TaskLimits:
    return TaskLimits(
        soft_ms=millis(task.soft_time_limit),
        hard_ms=millis(task.time_limit),
        rates=parse_rates(task.rate_limit) if rated else (),
        max_concurrency=task.max_concurrency or 0,
    )


def _settings(app: App) -> WorkerSettings:
    soft_ms, hard_ms = bounds_of(app)
    return WorkerSettings(
        concurrency=_setting(app, "worker_concurrency"),
        max_tasks_per_child=_setting(app, "worker_max_tasks_per_child"),
        max_memory_per_child_kib=_setting(app, "worker_max_memory_per_child"),
        pool=_setting(app, "worker_pool"),
        limits=TaskLimits(soft_ms=soft_ms, hard_ms=hard_ms),
    )


def _setting(app: App, name: str) -> Any:
    return getattr(app.conf, name, None)
