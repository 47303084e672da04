"""What an operator may ask of a running worker. Each command is a function of the desk and its arguments by name."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

from tqbroker_worker.commands import answers, changes, jobs, stacks
from tqbroker_worker.commands.errors import CommandError
from tqbroker_worker.desk import Desk

__all__ = ["COMMANDS", "CommandError", "run"]

COMMANDS: dict[str, Callable[..., Any]] = {
    "ping": answers.ping,
    "stats": answers.stats,
    "registered": answers.registered,
    "active_queues": answers.active_queues,
    "conf": answers.conf,
    "report": answers.report,
    "active": jobs.active,
    "reserved": jobs.reserved,
    "query_task": jobs.query_task,
    "stacks": stacks.stacks,
    "time_limit": changes.time_limit,
    "pool_grow": changes.pool_grow,
    "pool_shrink": changes.pool_shrink,
    "pool_restart": changes.pool_restart,
    "autoscale": changes.autoscale,
    "add_consumer": changes.add_consumer,
    "cancel_consumer": changes.cancel_consumer,
    "shutdown": changes.shutdown,
    "enable_events": changes.enable_events,
    "disable_events": changes.disable_events,
}


async def run(desk: Desk, name: str, arguments: bytes) -> object:
    """The answer to a command, made of what JSON knows. Raises CommandError for one that cannot be carried out."""
    if not desk.manifest.settings.commands:
        raise CommandError("this worker takes no commands: its app has worker_enable_remote_control=False")
    function = COMMANDS.get(name)
    if function is None:
        raise CommandError(f"command {name!r} is not known: use one of {', '.join(COMMANDS)}")
    try:
        answer = function(desk, **_named(name, function, arguments))
    except RecursionError:
        raise CommandError(f"the arguments of {name} are nested too deeply") from None
    return await answer if inspect.isawaitable(answer) else answer


def _named(name: str, function: Callable[..., Any], arguments: bytes) -> dict[str, Any]:
    """The arguments, checked against what the command takes."""
    try:
        given = json.loads(arguments or b"{}")
    except ValueError as error:
        raise CommandError(f"the arguments of {name} are not JSON: {error}") from None
    if not isinstance(given, dict):
        raise CommandError(f"the arguments of {name} must be a JSON object, not {type(given).__name__}")
    known = dict(list(inspect.signature(function).parameters.items())[1:])
    if unknown := given.keys() - known.keys():
        raise CommandError(
            f"{name} does not take {', '.join(sorted(unknown)):.200}: it takes {', '.join(known) or 'nothing'}"
        )
    needed = [word for word, parameter in known.items() if parameter.default is inspect.Parameter.empty]
    if missing := [word for word in needed if word not in given]:
        raise CommandError(f"{name} needs {', '.join(missing)}")
    return given
