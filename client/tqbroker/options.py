"""Options of tasks and of calls: their names, what is allowed, and what they mean on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypedDict

from tqbroker.call import Head

if TYPE_CHECKING:
    from tqbroker.config import Settings

MAX_HEADERS = 64 * 1024
_MAX_SECONDS = 10_000_000_000
"""About 300 years: what lies further away is a mistake in the unit."""

Moment = datetime | str
"""A point in time: an aware datetime, a naive one (taken as UTC, like Celery does), or its ISO text."""


class TaskOptions(TypedDict, total=False):
    """Options of `@app.task(...)`, beside `bind`.

    `name` defaults to module.function. `queue`, `priority` (0 to 9, higher first), `ignore_result`, `serializer`
    ("json" or "msgpack"), `expires` and `result_expires` (seconds) are the defaults of every call. `typing=False` sends
    without comparing the arguments with the signature.
    """

    name: str
    queue: str
    priority: int
    ignore_result: bool
    serializer: str
    typing: bool
    expires: float | timedelta
    result_expires: float | timedelta
    base: Any
    max_retries: int | None
    default_retry_delay: Any
    autoretry_for: Any
    dont_autoretry_for: Any
    retry_kwargs: Any
    retry_backoff: Any
    retry_backoff_max: Any
    retry_jitter: bool
    throws: Any
    time_limit: Any
    soft_time_limit: Any
    rate_limit: Any
    max_concurrency: Any
    acks_late: bool
    before_start: Any
    on_success: Any
    on_retry: Any
    on_failure: Any
    after_return: Any


class CallOptions(TypedDict, total=False):
    """Options of `apply_async(args, kwargs, ...)`.

    `task_id` is 1 to 128 printable characters; a new UUIDv7 by default. `countdown` (seconds) or `eta` (a moment):
    start no earlier. `expires` (seconds or a moment): do not start later. `headers`: a mapping that the task sees as
    `self.request.headers`. `result_expires`: seconds to keep the finished job. The others are as in TaskOptions. None
    means "not given".
    """

    task_id: str | None
    queue: str | None
    priority: int | None
    countdown: float | timedelta | None
    eta: Moment | None
    expires: float | timedelta | Moment | None
    ignore_result: bool | None
    headers: Mapping[str, Any] | None
    serializer: str | None
    result_expires: float | timedelta | None


class CallItem(CallOptions, total=False):
    """One call of `apply_async_many`: its options, and its arguments."""

    args: Any
    kwargs: Mapping[str, Any]


TASK_OPTIONS = frozenset(TaskOptions.__annotations__)
CALL_OPTIONS = frozenset(CallOptions.__annotations__)


def refuse_unknown(given: Mapping[str, Any], allowed: frozenset[str], where: str) -> None:
    """Raises TypeError for an option that does not exist, naming those that do."""
    unknown = given.keys() - allowed
    if unknown:
        names = ", ".join(sorted(unknown))
        raise TypeError(f"{where} has no option {names}: allowed are {', '.join(sorted(allowed))}")


def make_head(task: str, defaults: Mapping[str, Any], options: Mapping[str, Any], conf: Settings) -> Head:
    """The shared part of a call: its own options over the task's over the app's settings."""
    chosen = {**defaults, **{name: value for name, value in options.items() if value is not None}}
    queue, serializer = chosen.get("queue"), chosen.get("serializer") or conf.task_serializer
    return Head(
        task=_task_name(task),
        queue=_queue(conf.task_default_queue if queue is None else queue),
        priority=_priority(chosen.get("priority", conf.task_default_priority)),
        format=_format(serializer),
        ignore_result=bool(chosen.get("ignore_result", conf.task_ignore_result)),
        result_ttl_ms=_duration("result_expires", chosen.get("result_expires", conf.result_expires)),
        headers=_headers(chosen.get("headers"), serializer),
        **_start(chosen),
        **_expiry(chosen.get("expires")),
    )


def _start(chosen: Mapping[str, Any]) -> dict[str, int]:
    countdown, eta = chosen.get("countdown"), chosen.get("eta")
    if countdown is not None and eta is not None:
        raise ValueError("countdown and eta exclude each other: give one of them")
    if eta is not None:
        return {"eta_unix_ms": _moment("eta", eta)}
    return {"countdown_ms": _duration("countdown", countdown)}


def _expiry(expires: Any) -> dict[str, int]:
    if isinstance(expires, (datetime, str)):
        return {"expires_unix_ms": _moment("expires", expires)}
    if expires is None:
        return {"expires_in_ms": 0}
    seconds = _seconds("expires", expires, "seconds as a number, a timedelta, or a datetime")
    if seconds < 0:
        raise ValueError(f"expires={expires!r} is not allowed: give 0 or more seconds from now, or a datetime")
    return {"expires_in_ms": max(1, _millis(seconds))}


def _duration(name: str, value: Any) -> int:
    """Milliseconds, rounded up so that nothing starts or ends early; what has passed already counts as now."""
    return 0 if value is None else _millis(_seconds(name, value, "seconds as a number, or a timedelta"))


def _millis(seconds: float) -> int:
    return max(0, -int(-seconds * 1000 // 1))


def _seconds(name: str, value: Any, allowed: str) -> float:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or seconds != seconds:
        raise ValueError(f"{name}={value!r} is not allowed: give {allowed}")
    if abs(seconds) >= _MAX_SECONDS:
        raise ValueError(f"{name}={value!r} is not allowed: give less than {_MAX_SECONDS} seconds")
    return seconds


def _moment(name: str, value: Any) -> int:
    """Milliseconds since 1970 UTC."""
    allowed = "seconds, a timedelta, or a datetime" if name == "expires" else "a datetime"
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max(1, int(moment.timestamp() * 1000))
    except (AttributeError, TypeError, ValueError, OverflowError):
        raise ValueError(f"{name}={value!r} is not allowed: give {allowed} (aware, or naive for UTC)") from None


def _task_name(value: Any) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= 255 or not value.isprintable():
        raise ValueError(f"task name {value!r:.200} is not allowed: use 1 to 255 printable characters")
    return value


def _queue(value: Any) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= 128 or not value.isprintable():
        raise ValueError(f"queue={value!r:.200} is not allowed: use 1 to 128 printable characters")
    return value


def _priority(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= 9:
        raise ValueError(f"priority={value!r} is not allowed: use an int from 0 to 9, a higher one goes first")
    return value


def _format(value: Any) -> str:
    if value not in ("json", "msgpack"):
        raise ValueError(f"serializer={value!r} is not allowed: use 'json' or 'msgpack'")
    return str(value)


def _headers(headers: Any, serializer: str) -> bytes:
    if not headers:
        return b""
    if not isinstance(headers, Mapping) or not all(isinstance(name, str) for name in headers):
        raise TypeError(f"headers={headers!r:.200} is not allowed: give a mapping with str keys")
    from tqbroker import codec

    data = codec.encode(dict(headers), serializer)
    if len(data) > MAX_HEADERS:
        raise ValueError(f"headers take {len(data)} bytes, allowed are {MAX_HEADERS}: send large things as arguments")
    return data
