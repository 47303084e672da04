"""How an error callback is called: with the id of the job that failed, or with all that is known of its failure."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqbroker.task import Task

TOLD = 3
"""Arguments of a callback that wants to know why: request, exception, traceback."""


def wants_to_know(task: Task[..., Any], own: int, kwargs: Mapping[str, Any]) -> bool:
    """Whether the function has places for all that is told, beside `own` arguments of its own and keywords."""
    try:
        parameters = list(inspect.signature(task.function).parameters.values())
    except (TypeError, ValueError):  # built in, and does not say
        return False
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return True
    places = [
        parameter.kind is parameter.POSITIONAL_ONLY or parameter.name not in kwargs
        for parameter in parameters[int(task.bind) :]
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    return sum(places) - own >= TOLD
