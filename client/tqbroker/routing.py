"""Which queue a job goes to: task_routes, task_queues, and the default.

The nearest says: the call, then the first route that fits, then the task's own options, then `task_default_queue`.
Celery's documentation names the routes first; here a call's own `queue=` is never overruled, and configuration wins
over what is written in the code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tqbroker import option_rules as rules
from tqbroker.exceptions import ImproperlyConfigured, QueueNotFound
from tqbroker.queues import Queue

if TYPE_CHECKING:
    import re

    from tqbroker.task import Task

Router = Callable[..., Any]
_NOWHERE: Mapping[str, Any] = {}
_INDIVIDUAL = frozenset({"task_id", "idempotency_key", "unique_key", "retry", "retry_policy"})
"""What one call has for itself: no route can give it."""


DIRECT = "worker:"
"""What the queue of one worker (worker_direct) begins with; its name follows."""


class _Names(NamedTuple):
    """Routes by exact name, and those by pattern in their order."""

    exact: dict[str, Any]
    patterns: list[tuple[re.Pattern[str], Any]]

    def find(self, name: str) -> Any:
        if name in self.exact:
            return self.exact[name]
        return next((target for pattern, target in self.patterns if pattern.fullmatch(name)), None)


class Routes:
    """`task_routes`, read once. Raises ImproperlyConfigured for what cannot be a route."""

    def __init__(self, routes: Any) -> None:
        self._parts = [_part(route) for route in _listed(routes)]
        self.by_call = any(not isinstance(part, _Names) for part in self._parts)
        """Whether a function decides, which may answer differently for each call."""

    def find(
        self,
        name: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        options: Mapping[str, Any],
        task: Task[..., Any] | None,
    ) -> Mapping[str, Any]:
        """The options that the first fitting route gives; none when there is no such route."""
        for part in self._parts:
            found = part.find(name) if isinstance(part, _Names) else part(name, args, kwargs, options, task=task)
            if found is not None:
                return _checked(name, {"queue": found} if isinstance(found, (str, Queue)) else found)
        return _NOWHERE


def _listed(routes: Any) -> Iterable[Any]:
    """The routes one by one. A mapping, a pair of name and target, a function or a dotted path is a single one."""
    if routes is None:
        return ()
    if isinstance(routes, (list, tuple)):
        return [dict([route]) if _is_pair(route) else route for route in routes]
    return (routes,)


def _is_pair(route: Any) -> bool:
    return isinstance(route, (list, tuple)) and len(route) == 2 and not isinstance(route[0], (list, tuple))


def _part(route: Any) -> _Names | Router:
    if isinstance(route, Mapping):
        return _names(route.items())
    if isinstance(route, (list, tuple)) and all(map(_is_pair, route)):
        return _names(route)
    if isinstance(route, str):
        from tqbroker.dotted import load

        route = load(route, "task_routes")
        route = route() if isinstance(route, type) else route
    find = getattr(route, "route_for_task", None)
    if find is not None:
        return lambda name, args, kwargs, options, task=None: find(name, args, kwargs)
    if not callable(route):
        raise ImproperlyConfigured(
            f"task_routes: {route!r:.200} is no route: write a dict, a list of (name, target), a function, or "
            "the dotted path of one"
        )
    found: Router = route
    return found


def _names(pairs: Iterable[tuple[Any, Any]]) -> _Names:
    """Names are exact, patterns with * ? [ ], or compiled regular expressions."""
    import fnmatch
    import re

    names = _Names({}, [])
    for name, target in pairs:
        if isinstance(name, re.Pattern):
            names.patterns.append((re.compile(f"(?:{name.pattern}).*", name.flags | re.DOTALL), target))
        elif not isinstance(name, str):
            raise ImproperlyConfigured(f"task_routes: {name!r} is no name of a task: write a str or a compiled pattern")
        elif any(sign in name for sign in "*?["):
            names.patterns.append((re.compile(fnmatch.translate(name)), target))
        else:
            names.exact.setdefault(name, target)
    return names


def _checked(name: str, route: Any) -> Mapping[str, Any]:
    if not isinstance(route, Mapping):
        raise ImproperlyConfigured(
            f"the route of {name} is {route!r:.200}: give the name of a queue, or a dict of options"
        )
    from tqbroker.options import CALL_OPTIONS

    unknown = route.keys() - CALL_OPTIONS | route.keys() & _INDIVIDUAL
    if unknown:
        raise ImproperlyConfigured(
            f"the route of {name} gives {', '.join(sorted(unknown))}: a route cannot decide that"
        )
    plain = {key: getattr(value, "name", value) for key, value in route.items() if value is not None}
    rules.check_values(plain, rules.CALL)
    return plain


class Directory:
    """The queues that an app knows, and its routes."""

    def __init__(self, queues: Any, routes: Any, default: str, *, strict: bool) -> None:
        self.queues = [queue if isinstance(queue, Queue) else Queue(queue) for queue in _queue_list(queues)]
        self.names = frozenset(queue.name for queue in self.queues) | {default}
        self.routes = Routes(routes)
        self._default = default
        self._strict = strict

    def queue_of(self, chosen: Mapping[str, Any]) -> str:
        """The queue for a call with these options. Raises QueueNotFound, or ValueError for what names none."""
        name: str | None = chosen.get("queue")
        if name is None:
            name = self._by_key(chosen.get("exchange"), chosen.get("routing_key"))
        if self._strict and name not in self.names and not name.startswith(DIRECT):
            raise QueueNotFound(
                f"queue {name!r} is not among task_queues ({', '.join(sorted(self.names))}), and "
                "task_create_missing_queues is False: correct the name, or add the queue"
            )
        return name

    def _by_key(self, exchange: str | None, routing_key: str | None) -> str:
        if not exchange and routing_key is None:
            return self._default
        found = {queue.name for queue in self.queues if queue.takes(exchange, routing_key)}
        if len(found) == 1:
            return found.pop()
        if not found and not self.queues and routing_key is not None:
            rules.QUEUE.check("routing_key", routing_key)
            return routing_key  # what Celery's default exchange does: the key is the queue's name
        many = f"the queues {', '.join(sorted(found))}, and a job is in one" if found else "no queue of task_queues"
        raise ValueError(f"exchange={exchange!r}, routing_key={routing_key!r} lead to {many}: write queue=")


def _queue_list(queues: Any) -> Iterable[Any]:
    if isinstance(queues, Mapping):  # Celery's older form: {"mail": {"routing_key": "mail"}}
        return [_from_mapping(name, options) for name, options in queues.items()]
    return queues or ()


def _from_mapping(name: str, options: Mapping[str, Any]) -> Queue:
    exchange, kind = options.get("exchange"), options.get("exchange_type")
    others = {key: value for key, value in options.items() if key not in ("exchange", "exchange_type", "binding_key")}
    others.setdefault("routing_key", options.get("binding_key"))
    from tqbroker.queues import Exchange

    return Queue(name, Exchange(exchange, kind or "direct") if isinstance(exchange, str) else exchange, **others)
