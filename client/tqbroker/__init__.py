"""tqbroker: a durable task queue. This package is what applications import.

app, app_*, loader, registry, shared, current   an app, what it reads at its start, its tasks, which app is meant
task, task_options, task_attributes, batch   what users call: tasks, many calls at once
result, async_result, result_*          jobs seen from outside: one, its properties, its tree
result_set, group_result, joining       many of them as one
watching, blocking, dependency_graph    waiting in steps; where waiting is refused; graphs for Graphviz
outcomes                                from what the broker says to values and errors
call, heads, plans, sending             a call and its options on their way: encoded, given an id, submitted
canvas, canvas_*, task_signatures       workflows as values: signatures, chains, groups, chords, stamps
workflows, growing, graph, packing      from such a value to what is sent, and its result
workflow_sending, workflow_names        a workflow made durable; its name for people
builtin_tasks, errbacks                 tasks that every app has; how error callbacks are called
replacing                               what a running job may do to its workflow
trail                                   calls made by running jobs: whose children they are
options, option_rules, option_pairs     the options of tasks and calls: names, allowed values, what goes together
config, setting_*, annotations          the settings: names, defaults, allowed values, options by configuration
verdicts, known_*, old_settings         what becomes of each name that Celery's users know
routing, queues, urls, foreign_urls     which queue a job goes to; which broker is meant
amounts, rates, stamps, unique, ids     times, rates, stamps, keys: as people write them
signal_names, parameters, dotted        signals of the system, arguments, paths: likewise
codec*, compression                     values to bytes and back
publishing, publish_signals, signals    how long a submit is tried; what is called when something happens
task_body, request, request_values, context   what a task is and sees while it runs
eager, eager_workflows, models           running it in place; pydantic models as arguments and results
schedules, schedule_*, scheduling, crontab*, periodic    what is submitted again and again, and when
retrying, hooks, einfo                  how an attempt goes on; what is called around it
control, inspection, events, operations   what operators ask, order and follow
workflow_info, saving                   likewise: workflows with their jobs; a backup's file
exceptions, failures, states, handle    what is raised; how a job failed; where it stands; what cannot be copied
signal_names                            signals of the system, as people write them
transport                               what the client needs from a broker
messages, admin_messages, _grpc*        the only modules that know the wire (tqbroker.v1)
workflow_messages, shipping, workflow_shipping   likewise: workflows; submits cut into requests
cli, commands, exits, utils             the console script, loaded by name; Celery's loggers
v1                                      the wire, generated from proto/
_daemon, _failpoint                     for the daemons only: logging and signals; places where tests break them
_whole_file                             a file that is there whole or not at all

Importing it loads the standard library only; gRPC and the codecs come with the first call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tqbroker.app import App, Celery
    from tqbroker.canvas import (
        Signature,
        chain,
        chord,
        chunks,
        group,
        maybe_signature,
        signature,
        subtask,
        xmap,
        xstarmap,
    )
    from tqbroker.context import current_task
    from tqbroker.current import current_app
    from tqbroker.queues import Exchange, Queue
    from tqbroker.result import AsyncResult
    from tqbroker.shared import shared_task
    from tqbroker.task import Task

__all__ = [
    "App",
    "AsyncResult",
    "Celery",
    "Exchange",
    "Queue",
    "Signature",
    "Task",
    "chain",
    "chord",
    "chunks",
    "current_app",
    "current_task",
    "group",
    "maybe_signature",
    "shared_task",
    "signature",
    "subtask",
    "xmap",
    "xstarmap",
]

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
    **dict.fromkeys(
        (
            "Signature",
            "chain",
            "chord",
            "chunks",
            "group",
            "maybe_signature",
            "signature",
            "subtask",
            "xmap",
            "xstarmap",
        ),
        "tqbroker.canvas",
    ),
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
