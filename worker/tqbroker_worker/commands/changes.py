"""Commands that change the worker; what they answer is worded as by Celery."""

from __future__ import annotations

import asyncio

from tqbroker.amounts import MAX_SECONDS
from tqbroker.option_rules import QUEUE
from tqbroker_worker.commands.errors import CommandError, text, whole
from tqbroker_worker.config import MAX_SLOTS
from tqbroker_worker.desk import Desk

_EVENTS = "events are always recorded by the broker; nothing to switch"
MAX_QUEUES = 1000


def time_limit(desk: Desk, task_name: str, hard: float | None = None, soft: float | None = None) -> object:
    """Limits of a task in seconds, for jobs that start from now on; None is no limit."""
    if text("task_name", task_name) not in desk.manifest.tasks:
        raise CommandError(f"no task {task_name!r:.200} here")
    for name, value in (("hard", hard), ("soft", soft)):
        if value is not None and not _is_limit(value):
            allowed = f"a number of seconds above 0 and less than {MAX_SECONDS}, or null"
            raise CommandError(f"{name} must be {allowed}, not {value!r:.200}")
    desk.pool.tell(desk.limits.set(task_name, _ms(soft), _ms(hard)))
    return {"ok": "time limits set successfully"}


def _is_limit(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | float) and 0 < value < MAX_SECONDS


def _ms(limit: float | None) -> int:
    """Never 0 for a limit, however short: 0 is none."""
    return 0 if limit is None else max(1, round(limit * 1000))


def pool_grow(desk: Desk, n: int = 1) -> object:
    """So many more child processes."""
    return _resize(desk, desk.pool.wanted + whole("n", n, 1, MAX_SLOTS), "pool will grow")


def pool_shrink(desk: Desk, n: int = 1) -> object:
    """So many child processes less; they finish what they run."""
    return _resize(desk, desk.pool.wanted - whole("n", n, 1, MAX_SLOTS), "pool will shrink")


def pool_restart(
    desk: Desk, modules: list[str] | None = None, reload: bool = False, reloader: str | None = None
) -> object:
    """New child processes, which load the app anew, so there is nothing to say about modules."""
    del modules, reload, reloader
    if not desk.manifest.settings.restarts:
        raise CommandError("this worker restarts no children: its app has worker_pool_restarts=False")
    desk.pool.restart()
    return {"ok": "reload started"}


def autoscale(desk: Desk, max: int, min: int) -> object:  # noqa: A002 - Celery's names
    """New bounds for the number of child processes."""
    if desk.autoscale is None:
        raise CommandError("autoscale is not switched on: start the worker with --autoscale MAX,MIN")
    most = whole("max", max, 1, MAX_SLOTS)
    least = whole("min", min, 1, most)
    desk.autoscale.bound(most, least)
    return {"ok": f"autoscale now max={most} min={least}"}


def add_consumer(
    desk: Desk,
    queue: str,
    exchange: str | None = None,
    exchange_type: str | None = None,
    routing_key: str | None = None,
) -> object:
    """Takes jobs from this queue too. There are no exchanges here: what is said of them has no effect."""
    del exchange, exchange_type, routing_key
    queues = desk.session.identity.queues
    if text("queue", queue) in queues:
        return {"ok": f"already consuming from '{queue}'"}
    if len(queues) >= MAX_QUEUES:
        raise CommandError(f"a worker takes jobs from at most {MAX_QUEUES} queues")
    try:
        QUEUE.check("queue", queue)
    except ValueError as error:  # the broker would refuse the worker, now and whenever it comes back
        raise CommandError(str(error)) from None
    desk.session.consume((*queues, queue))
    return {"ok": f"add consumer {queue}"}


def cancel_consumer(desk: Desk, queue: str) -> object:
    """Takes no more jobs from this queue; those that are here run."""
    queues = desk.session.identity.queues
    if text("queue", queue) not in queues:
        raise CommandError(f"this worker takes no jobs from {queue!r:.200}, but from {', '.join(queues)}")
    if len(queues) == 1:
        raise CommandError(f"{queue!r} is the only queue of this worker: add another first, or use shutdown")
    desk.session.consume(tuple(name for name in queues if name != queue))
    return {"ok": f"no longer consuming from {queue}"}


def shutdown(desk: Desk) -> object:
    """Stops the worker as SIGTERM does, once it has answered."""
    asyncio.get_running_loop().call_soon(desk.stop)
    return {"ok": "shutting down: what runs is finished"}


def enable_events(_desk: Desk) -> object:
    """Events cannot be switched."""
    return {"ok": _EVENTS}


def disable_events(_desk: Desk) -> object:
    """Events cannot be switched."""
    return {"ok": _EVENTS}


def _resize(desk: Desk, wanted: int, answer: str) -> object:
    if desk.config.kind != "process":
        raise CommandError(f"the pool {desk.config.kind} has one process: start the worker with another --concurrency")
    if not 1 <= wanted <= MAX_SLOTS:
        raise CommandError(f"a pool has 1 to {MAX_SLOTS} processes, not {wanted}")
    desk.pool.resize(wanted)
    return {"ok": answer}
