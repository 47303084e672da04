"""What a child tells its parent of the app it has loaded."""

from __future__ import annotations

from typing import Any

from tqbroker import signals
from tqbroker.app import App
from tqbroker.config import Settings
from tqbroker.queues import Queue
from tqbroker.rates import parse_rates
from tqbroker.schedules import declared
from tqbroker.task import Task
from tqbroker_worker.limits import Bounds, millis
from tqbroker_worker.protocol import LogLook, Manifest, TaskLimits, WantedQueue, WorkerSettings


def manifest_of(app: App) -> Manifest:
    """The app's name, tasks and settings, as far as they are a worker's. Raises ImproperlyConfigured for a schedule."""
    schedules = declared(app)  # first: what the app has connected to that may define tasks
    rated = not app.conf.worker_disable_rate_limits
    limits = {name: found for name, task in app.tasks.items() if (found := _limits(task, rated)) != TaskLimits()}
    return Manifest(
        app.main or "",
        app.conf.broker_url,
        _queues(app),
        sorted(app.tasks),
        limits,
        _settings(app),
        signals.connected(),
        [_wanted(queue) for queue in app.conf.directory.queues if queue.wanted.flags()],
        sorted(name for name, task in app.tasks.items() if task.acks_late is False),
        schedules if app.main else None,
    )


def bounds_of(app: App) -> Bounds:
    """The time limits of tasks that name none."""
    return Bounds(millis(app.conf.task_soft_time_limit), millis(app.conf.task_time_limit))


def _limits(task: Task[..., Any], rated: bool) -> TaskLimits:
    return TaskLimits(
        soft_ms=millis(task.soft_time_limit),
        hard_ms=millis(task.time_limit),
        rates=parse_rates(task.rate_limit) if rated else (),
        max_concurrency=task.max_concurrency or 0,
    )


def _settings(app: App) -> WorkerSettings:
    conf = app.conf
    soft_ms, hard_ms = bounds_of(app)
    return WorkerSettings(
        concurrency=conf.worker_concurrency,
        max_tasks_per_child=conf.worker_max_tasks_per_child,
        max_memory_per_child_kib=conf.worker_max_memory_per_child,
        pool=conf.worker_pool,
        limits=TaskLimits(soft_ms=soft_ms, hard_ms=hard_ms),
        prefetch=conf.worker_prefetch_multiplier,
        direct=bool(conf.worker_direct),
        load_ms=millis(conf.worker_proc_alive_timeout),
        grace_ms=millis(conf.worker_soft_shutdown_timeout),
        commands=conf.worker_enable_remote_control is not False,
        restarts=conf.worker_pool_restarts is not False,
        log=log_look(conf),
    )


def log_look(conf: Settings) -> LogLook:
    """How the app wants lines of the log to look."""
    line = conf.worker_log_format or ""
    return LogLook(line, conf.worker_task_log_format or line, conf.worker_log_color)


def _wanted(queue: Queue) -> WantedQueue:
    rule = queue.wanted
    return WantedQueue(queue.name, rule.max_length, rule.overflow.replace("_", "-"), rule.ttl_ms, rule.flags())


def _queues(app: App) -> list[str]:
    """Those that the app has selected, or the one that jobs go to when nothing says another, and task_queues."""
    conf = app.conf
    if app.selected_queues:
        return list(app.selected_queues)
    return list(dict.fromkeys([conf.task_default_queue, *(queue.name for queue in conf.directory.queues)]))
