"""Queue, Exchange and Broadcast as Celery's settings write them: what of them means something here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from tqbroker.exceptions import ImproperlyConfigured
from tqbroker.verdicts import Known, names, speak_up

_KINDS = ("direct", "topic")

_ARGUMENTS = {
    **names("accepted", "durable", "every queue is durable"),
    **names("accepted", "exclusive auto_delete", "a queue belongs to nobody, and an empty one costs nothing"),
    **names("accepted", "no_ack no_declare on_declared alias channel", "there is no AMQP channel"),
    **names("accepted", "binding_arguments consumer_arguments bindings", "exchanges are patterns, read by the client"),
    **names("accepted", "max_priority", "every queue has the priorities 0 to 9"),
    **names("accepted", "expires", "a queue without jobs costs nothing and stays"),
    **names("refused", "max_length_bytes", "a queue is bounded by its number of jobs: write max_length"),
}

_OF_AMQP = {
    "x-max-length": "max_length",
    "x-message-ttl": "message_ttl",
    "x-overflow": "overflow",
    "x-max-priority": "max_priority",
    "x-expires": "expires",
    "x-max-length-bytes": "max_length_bytes",
}
_OVERFLOWS = {"drop-head": "drop_oldest", "drop_oldest": "drop_oldest", "reject-publish": "refuse", "refuse": "refuse"}


class WantedRule(NamedTuple):
    """How an app wants a queue to behave: its workers see to that. Zero means "not set"."""

    max_length: int = 0
    overflow: str = "drop_oldest"
    ttl_ms: int = 0

    def flags(self) -> str:
        """The same for the command line; empty when nothing is wanted."""
        overflow = self.overflow.replace("_", "-")
        length = f"--max-length {self.max_length} --overflow {overflow}" if self.max_length else ""
        ttl = f"--ttl {self.ttl_ms / 1000:g}" if self.ttl_ms else ""
        return f"{length} {ttl}".strip()


class Exchange:
    """A name and a kind for patterns of routing keys: "direct" (equal) or "topic" (`*` one word, `#` any number)."""

    def __init__(self, name: str = "", type: str = "direct", **arguments: Any) -> None:  # noqa: A002 - Celery's name
        if type not in _KINDS:
            instead = (
                "to reach each worker write app.control.broadcast"
                if type == "fanout"
                else "write the choice as a function in task_routes"
            )
            raise ImproperlyConfigured(
                f"exchange {name!r} has the type {type!r}, allowed are direct and topic: {instead}"
            )
        known = {**_ARGUMENTS, **names("accepted", "delivery_mode arguments passive", "jobs are always on the disk")}
        _check(f"exchange {name!r}", arguments, known)
        self.name = name
        self.type = type

    def __repr__(self) -> str:
        return f"Exchange({self.name!r}, {self.type!r})"


class Queue:
    """One queue that the app knows. `message_ttl` in seconds; `max_length` in waiting jobs.

    `exchange` and `routing_key` let calls that name those find it. `overflow`: "drop_oldest" (RabbitMQ's "drop-head",
    the default there) or "refuse" ("reject-publish"). Other arguments of AMQP are known and explained.
    """

    def __init__(
        self,
        name: str,
        exchange: Exchange | str | None = None,
        routing_key: str | None = None,
        *,
        message_ttl: float | None = None,
        max_length: int | None = None,
        overflow: str = "drop_oldest",
        queue_arguments: Mapping[str, Any] | None = None,
        **arguments: Any,
    ) -> None:
        from tqbroker.option_rules import QUEUE

        QUEUE.check("queue", "" if name is None else name)
        given = {"max_length": max_length, "message_ttl": message_ttl, "overflow": overflow, **arguments}
        given.update(_of_amqp(name, queue_arguments or {}))
        self.name = name
        self.exchange = Exchange(exchange) if isinstance(exchange, str) else exchange
        self.routing_key = routing_key
        self.wanted = _wanted(name, given.pop("max_length"), given.pop("overflow"), given.pop("message_ttl"))
        _check(f"queue {name!r}", given, _ARGUMENTS)

    def takes(self, exchange: str | None, routing_key: str | None) -> bool:
        """Whether a call with this exchange and routing key goes to this queue."""
        if exchange is not None and exchange != (self.exchange.name if self.exchange else ""):
            return False
        if routing_key is None:
            return exchange is not None
        own = self.name if self.routing_key is None else self.routing_key
        if self.exchange is not None and self.exchange.type == "topic":
            return _topic(own).fullmatch(routing_key) is not None
        return own == routing_key

    def __repr__(self) -> str:
        return f"Queue({self.name!r})"


class Broadcast(Queue):
    """One copy for each worker. Not a queue here; making one says what to write."""

    def __init__(self, name: str | None = None, **arguments: Any) -> None:
        raise ImproperlyConfigured(
            f"Broadcast({name!r}): a job is run by one worker; to reach all of them write app.control.broadcast, "
            "or send one job to a queue of each worker"
        )


def _wanted(queue: str, max_length: Any, overflow: Any, message_ttl: Any) -> WantedRule:
    from tqbroker.amounts import span_ms

    if max_length is not None and (type(max_length) is not int or max_length < 1):
        raise ImproperlyConfigured(f"queue {queue!r} max_length={max_length!r} is not allowed: give 1 or more jobs")
    if overflow not in _OVERFLOWS:
        raise ImproperlyConfigured(f"queue {queue!r} overflow={overflow!r} is not allowed: write drop_oldest or refuse")
    ttl = 0 if message_ttl is None else span_ms("message_ttl", message_ttl)
    return WantedRule(max_length or 0, _OVERFLOWS[overflow], ttl)


def _of_amqp(queue: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """RabbitMQ's `x-` arguments under our names; its message ttl is in milliseconds."""
    unknown = arguments.keys() - _OF_AMQP.keys() - {"x-queue-type", "x-queue-mode", "x-quorum-initial-group-size"}
    if unknown:
        raise ImproperlyConfigured(
            f"queue {queue!r}: queue_arguments {', '.join(sorted(unknown))} have no meaning here"
        )
    found = {_OF_AMQP[name]: value for name, value in arguments.items() if name in _OF_AMQP}
    if "message_ttl" in found:
        found["message_ttl"] = found["message_ttl"] / 1000
    return found


def _check(what: str, arguments: Mapping[str, Any], known: Mapping[str, Known]) -> None:
    given = {name: value for name, value in arguments.items() if value is not None}
    unknown = given.keys() - known.keys()
    if unknown:
        raise ImproperlyConfigured(f"{what} has no argument {', '.join(sorted(unknown))}: see docs/migrating.md")
    sentence = speak_up("queue argument", given, known)
    if sentence is not None:
        raise ImproperlyConfigured(f"{what}: {sentence}")


def _topic(pattern: str) -> re.Pattern[str]:
    """AMQP's topic patterns: words between dots, `*` is one word, `#` any number of words."""
    text = re.escape(pattern).replace(r"\*", r"[^.]+")
    text = text.replace(r"\.\#", r"(?:\..+)?").replace(r"\#\.", r"(?:.+\.)?").replace(r"\#", ".*")
    return re.compile(text)
