"""What values the options of tasks and calls may have. A wrong one is an error before anything is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from tqbroker.amounts import MAX_SECONDS
from tqbroker.codec_names import COMPRESSIONS, SERIALIZERS
from tqbroker.ids import MAX_KEY_BYTES
from tqbroker.rates import parse_rates


class Rule(NamedTuple):
    """What is allowed, in words, and the test. None is "not given" for every option."""

    allowed: str
    test: Callable[[Any], bool]

    def check(self, name: str, value: Any) -> None:
        """Raises ValueError when the value is not allowed."""
        if value is not None and not self.test(value):
            raise ValueError(f"{name}={value!r:.200} is not allowed: {self.allowed}")


def _is_text(value: Any, limit: int) -> bool:
    return (
        isinstance(value, str)
        and 1 <= len(value) <= limit
        and value.isprintable()
        and len(value.encode()) <= MAX_KEY_BYTES
    )


def text(limit: int) -> Rule:
    """A name that the broker keeps."""
    return Rule(f"use 1 to {limit} printable characters", lambda value: _is_text(value, limit))


def texts(most: int, limit: int) -> Rule:
    """Several names, or one."""

    def test(value: Any) -> bool:
        items = (value,) if isinstance(value, str) else value
        return (
            isinstance(items, (list, tuple, set, frozenset))
            and len(items) <= most
            and all(_is_text(item, limit) for item in items)
        )

    return Rule(f"use up to {most} names of 1 to {limit} printable characters", test)


def _is_span(value: Any, least: float = 0.0) -> bool:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    return _is_number(seconds) and least <= seconds < MAX_SECONDS


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_errors(value: Any) -> bool:
    items = value if isinstance(value, (list, tuple, set, frozenset)) else (value,)
    return all(isinstance(item, type) and issubclass(item, BaseException) for item in items)


def _is_rate(value: Any) -> bool:
    try:
        parse_rates(value)
    except ValueError:
        return False
    return True


def _is_class(value: Any) -> bool:
    return isinstance(value, type)


def one_of(*words: str) -> Rule:
    """One of these words."""
    return Rule(f"use {', '.join(map(repr, words[:-1]))} or {words[-1]!r}", lambda value: value in words)


def whole(low: int, high: int, more: str = "") -> Rule:
    """An int within bounds."""
    return Rule(f"use an int from {low} to {high}{more}", lambda value: type(value) is int and low <= value <= high)


FLAG = Rule("use True or False", lambda value: isinstance(value, bool))
ENDS = Rule(
    "use True: a job that failed or timed out ends as a dead letter, and autoretry_for tries it again before",
    lambda value: value is True,
)
SPAN = Rule(f"give 0 or more seconds, and less than {MAX_SECONDS}, as a number or a timedelta", _is_span)
LONG = Rule(
    f"give more than 0 seconds, and less than {MAX_SECONDS}, as a number or a timedelta",
    lambda value: _is_span(value, 0.001),
)
ERRORS = Rule("give a class of exceptions, or a tuple of them", _is_errors)
HOOK = Rule("give a function", callable)
MAPPING = Rule(
    "give a mapping with str keys", lambda value: isinstance(value, Mapping) and all(type(k) is str for k in value)
)
QUEUE = text(128)
TASK_NAME = text(255)
PRIORITY = whole(0, 9, ", a higher one goes first")
SERIALIZER = one_of(*SERIALIZERS)
RATE = Rule('write "10/s", "100/m", "5/h", a number a second, or several: "10/s 100/m"', _is_rate)
COMPRESSION = one_of(*COMPRESSIONS)
CLASS = Rule("give a subclass of tqbroker.Task", _is_class)

SHARED: dict[str, Rule] = {
    "queue": QUEUE,
    "priority": PRIORITY,
    "exchange": text(255),
    "routing_key": text(255),
    "ignore_result": FLAG,
    "result_expires": LONG,
    "serializer": SERIALIZER,
    "compression": COMPRESSION,
    "time_limit": LONG,
    "soft_time_limit": LONG,
    "ordering_key": text(255),
    "tenant": text(128),
    "limits": texts(8, 255),
    "requires": texts(16, 255),
    "unique_for": LONG,
    "unique_until": one_of("queued", "started", "finished"),
    "unique_on_conflict": one_of("reject", "keep", "replace"),
    "unique_key": text(255),
}

TASK: dict[str, Rule] = {
    **SHARED,
    "name": TASK_NAME,
    "base": CLASS,
    "typing": FLAG,
    "max_retries": whole(0, 1_000_000, ", or None for ever"),
    "default_retry_delay": SPAN,
    "autoretry_for": ERRORS,
    "dont_autoretry_for": ERRORS,
    "retry_kwargs": MAPPING,
    "retry_backoff": Rule("use True, False or a factor in seconds", lambda v: isinstance(v, bool) or _is_span(v)),
    "retry_backoff_max": SPAN,
    "retry_jitter": FLAG,
    "throws": ERRORS,
    "rate_limit": RATE,
    "max_concurrency": whole(1, 1_000_000),
    "acks_late": FLAG,
    "acks_on_failure_or_timeout": ENDS,
    "acks_on_failure": ENDS,
    "acks_on_timeout": ENDS,
    "reject_on_worker_lost": FLAG,
    **dict.fromkeys(("track_started", "store_errors_even_if_ignored", "send_events", "trail"), FLAG),
    **dict.fromkeys(("pydantic", "pydantic_strict"), FLAG),
    **dict.fromkeys(("pydantic_context", "pydantic_dump_kwargs"), MAPPING),
    "resultrepr_maxsize": whole(1, 1 << 20),
    "shadow_name": HOOK,
    **dict.fromkeys(("before_start", "on_success", "on_retry", "on_failure", "after_return", "on_replace"), HOOK),
    "expires": SPAN,
}

CALL: dict[str, Rule] = {
    **SHARED,
    "idempotency_key": text(255),
    "countdown": SPAN,
    "shadow": text(255),
    "retry": FLAG,
    "stamped_headers": texts(32, 255),
    "stamps": MAPPING,
    "retry_policy": MAPPING,
    "add_to_parent": FLAG,
}


def check_values(given: Mapping[str, Any], rules: Mapping[str, Rule]) -> None:
    """Raises ValueError for the first value that is not allowed."""
    for name, value in given.items():
        rule = rules.get(name)
        if rule is not None:
            rule.check(name, value)


def as_texts(value: str | Sequence[str] | None) -> tuple[str, ...]:
    """The names of an option such as `limits`, each once and in order: the same names are the same lane."""
    return () if value is None else (value,) if isinstance(value, str) else tuple(sorted(set(value)))


def is_moment(value: Any) -> bool:
    """Whether this names a point in time."""
    return isinstance(value, (datetime, str))
