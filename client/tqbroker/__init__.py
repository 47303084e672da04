"""tqbroker: a durable task queue. This package is what applications import.

app, task, result, batch     what users call
call, options, codec         values on their way: a call, its options, its bytes
task_body, request           what a task is and sees while it runs
retrying, hooks, signals     how an attempt goes on; what is called around it
sending, transport           encode and submit; what the client needs from a broker
messages, _grpc*             the only modules that know the wire (tqbroker.v1)
cli, commands                the console script, loaded by name

Importing it loads the standard library only; gRPC and the codecs come with the first call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tqbroker.app import App, Celery
    from tqbroker.context import current_task
    from tqbroker.current import current_app
    from tqbroker.queues import Exchange, Queue
    from tqbroker.result import AsyncResult
    from tqbroker.shared import shared_task
    from tqbroker.task import Task

__all__ = ["App", "AsyncResult", "Celery", "Exchange", "Queue", "Task", "current_app", "current_task", "shared_task"]

_HOMES = {
    "App": "tqbroker.app",
    "AsyncResult": "tqbroker.result",
    "Celery": "tqbroker.app",
    "Task": "tqbroker.task",
    "Exchange": "tqbroker.queues",
    "Queue": "tqbroker.queues",
    "current_app": "tqbroker.current",
    "current_task": "tqbroker.context",
    "shared_task": "tqbroker.shared",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'tqbroker' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
