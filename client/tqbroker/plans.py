"""How the calls of one task go: what all calls without options share, and what one call says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tqbroker.call import Head, Own
from tqbroker.heads import make_head, make_own

if TYPE_CHECKING:
    from tqbroker.app import App
    from tqbroker.task import Task

_NONE: Mapping[str, Any] = {}


class Plan(NamedTuple):
    """Calls without options, under one version of the settings. `by_call`: each is looked at by itself."""

    version: int
    by_call: bool
    head: Head
    own: Own


def make_plan(task: Task[..., Any]) -> Plan:
    """The plan of a task under the settings as they are now."""
    conf = task.app.conf
    routes = conf.directory.routes
    options = task.options
    by_call = (
        routes.by_call or conf.task_inherit_parent_priority or conf.task_always_eager or _shadow_name(task) is not None
    )
    route = _NONE if routes.by_call else routes.find(task.name, (), {}, {}, task)
    head = make_head(task.name, options, _NONE, conf, route)
    return Plan(conf.version, by_call, head, make_own(options, _NONE, conf))


def prepare(
    task: Task[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
) -> tuple[Head, Own]:
    """What one call of a task says beside its arguments, and what it has for itself."""
    conf, defaults = task.app.conf, task.options
    route = conf.directory.routes.find(task.name, args, kwargs, options, task)
    head = make_head(task.name, defaults, options, conf, route)
    shadow_name = _shadow_name(task)
    if shadow_name is not None and not head.traits.shadow:
        head = _shadowed(head, shadow_name(task, args, kwargs, dict(options)))
    return head, make_own(defaults, options, conf)


def prepare_by_name(
    app: App, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
) -> tuple[Head, Own]:
    """The same for a call by name: the task's own options may not be known here, and do not count."""
    route = app.conf.directory.routes.find(name, args, kwargs, options, app.tasks.get(name))
    return make_head(name, _NONE, options, app.conf, route), make_own(_NONE, options, app.conf)


def _shadow_name(task: Task[..., Any]) -> Any:
    """The function that names calls for people: the option, or the method of the task's class."""
    return task.options.get("shadow_name") or getattr(type(task), "shadow_name", None)


def _shadowed(head: Head, shadow: str | None) -> Head:
    if not shadow:
        return head
    from tqbroker.option_rules import CALL

    CALL["shadow"].check("shadow_name", shadow)
    return head._replace(traits=head.traits._replace(shadow=shadow))
