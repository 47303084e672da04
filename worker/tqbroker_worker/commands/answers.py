"""Commands that tell about the worker as a whole; the keys are Celery's."""

from __future__ import annotations

import json
import os
import platform
import resource
from importlib.metadata import version
from time import monotonic
from typing import Any

from tqbroker.registry import is_builtin
from tqbroker_worker.commands.errors import CommandError, texts
from tqbroker_worker.desk import Desk
from tqbroker_worker.protocol import Answered

_RUSAGE = (
    *("utime", "stime", "maxrss", "ixrss", "idrss", "isrss", "minflt", "majflt", "nswap"),
    *("inblock", "oublock", "msgsnd", "msgrcv", "nsignals", "nvcsw", "nivcsw"),
)


def ping(_desk: Desk) -> object:
    """That we are here."""
    return {"ok": "pong"}


def stats(desk: Desk) -> object:
    """Numbers about the worker."""
    soft_ms, hard_ms = desk.limits.default
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "broker": {"url": desk.url, "transport": "tqbroker"},
        "pid": os.getpid(),
        "clock": "0",
        "prefetch_count": desk.session.window,
        "total": desk.credit.totals(),
        "uptime": int(monotonic() - desk.since),
        "pool": {
            "implementation": desk.config.kind,
            "max-concurrency": desk.handover.slots,
            "processes": [child.pid for child in desk.pool.children],
            "max-tasks-per-child": desk.config.max_tasks_per_child or "N/A",
            "put-guarded-by-semaphore": False,
            "timeouts": [soft_ms / 1000, hard_ms / 1000],
            "writes": {
                "total": sum(child.seat.handed for child in desk.pool.children),
                "all": [child.seat.handed for child in desk.pool.children],
            },
        },
        "rusage": {name: getattr(usage, f"ru_{name}") for name in _RUSAGE},
    }


async def registered(desk: Desk, taskinfoitems: list[str] | None = None) -> object:
    """Names of the tasks, or with these of their attributes. Those that every app has are left out."""
    wanted = texts("taskinfoitems", [] if taskinfoitems is None else taskinfoitems)
    if not wanted:
        return [task for task in desk.manifest.tasks if not is_builtin(task)]
    tasks: Any = await _of_a_child(desk, "registered")
    return [f"{task} [{_items(known, wanted)}]" for task, known in tasks.items() if not is_builtin(task)]


def active_queues(desk: Desk) -> object:
    """The queues that jobs are taken from."""
    return [{"name": queue, "routing_key": queue} for queue in desk.session.identity.queues]


async def conf(desk: Desk, with_defaults: bool = False) -> object:
    """The app's settings, without secrets; those that have their default are always among them."""
    del with_defaults
    return await _of_a_child(desk, "conf")


async def report(desk: Desk) -> object:
    """What to put into a bug report."""
    settings = json.dumps(await conf(desk), indent=1, default=repr)
    lines = [
        f"software -> tqbroker:{version('tqbroker')} py:{platform.python_version()} grpcio:{version('grpcio')}",
        f"platform -> system:{platform.system()} {platform.release()} arch:{platform.machine()}",
        f"worker   -> {desk.config.name} pool:{desk.config.kind} concurrency:{desk.handover.slots} broker:{desk.url}",
        f"settings -> {settings}",
    ]
    return {"ok": "\n".join(lines)}


def _items(known: dict[str, Any], wanted: list[str]) -> str:
    """As Celery shows them: "rate_limit=10/s max_retries=3". What a task has not, it does not show."""
    return " ".join(f"{name}={known[name]}" for name in wanted if known.get(name) is not None)


async def _of_a_child(desk: Desk, command: str) -> object:
    """What one child answers: the app is loaded there, not here."""
    children = [child for child in desk.pool.children if not child.seat.leaving][:1]
    if not children:
        raise CommandError("no child process is up at the moment: ask again")
    (answer,) = (await desk.asks.ask(children, command)).values()
    return body_of(answer)


def body_of(answer: Answered) -> object:
    """What a child answered. Raises CommandError for what it could not."""
    if answer.error:
        raise CommandError(answer.error)
    return json.loads(answer.body)
