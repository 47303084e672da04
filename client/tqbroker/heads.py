"""What a call says beside its arguments, from the options of the call, the route, the task and the app."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict

from tqbroker import option_rules as rules
from tqbroker.amounts import moment_ms, span_ms
from tqbroker.call import NOTHING_OWN, PLAIN, Head, Own, Traits, Unique
from tqbroker.codec_names import format_name
from tqbroker.option_pairs import check_together
from tqbroker.stamps import stamps_of

if TYPE_CHECKING:
    from tqbroker.config import Settings

MAX_HEADERS = 64 * 1024

_DESTINATION = ("queue", "exchange", "routing_key")
_NO_ROUTE: Mapping[str, Any] = {}


class _Start(TypedDict, total=False):
    countdown_ms: int
    eta_unix_ms: int


class _Expiry(TypedDict, total=False):
    expires_in_ms: int
    expires_unix_ms: int


def make_head(
    task: str,
    defaults: Mapping[str, Any],
    options: Mapping[str, Any],
    conf: Settings,
    route: Mapping[str, Any] = _NO_ROUTE,
) -> Head:
    """The shared part of a call: its own options over its route over the task's options over the app's settings.

    Raises ValueError for a value that is not allowed. The values in `defaults` were checked at the decorator.
    """
    rules.TASK_NAME.check("name", "" if task is None else task)
    own = _plain(options)
    rules.check_values(own, rules.CALL)
    chosen = _layered(_plain(defaults), _plain(route), own)
    serializer = chosen.get("serializer") or conf.task_serializer
    format = format_name(serializer, chosen.get("compression") or conf.task_compression)  # noqa: A001 - the wire's word
    return Head(
        task=task,
        queue=conf.directory.queue_of(chosen),
        priority=_priority(chosen.get("priority"), conf),
        format=format,
        ignore_result=bool(chosen.get("ignore_result", conf.task_ignore_result)),
        result_ttl_ms=span_ms("result_expires", chosen.get("result_expires", conf.result_expires or 0)),
        headers=encode_headers(chosen.get("headers"), format),
        traits=_traits(chosen, {**route, **own}),
        **_start(chosen, conf),
        **_expiry(chosen.get("expires"), conf),
    )


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are given, with Queue and Exchange objects by their names."""
    return {
        name: getattr(value, "name", value) if name in ("queue", "exchange") else value
        for name, value in options.items()
        if value is not None
    }


def _layered(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Later layers over earlier ones. Where a job goes is decided by one layer as a whole, the last that says so."""
    chosen: dict[str, Any] = {}
    for layer in layers:
        if any(name in layer for name in _DESTINATION):
            for name in _DESTINATION:
                chosen.pop(name, None)
        chosen.update(layer)
    return chosen


def _priority(value: int | None, conf: Settings) -> int:
    if value is not None:
        return value
    if conf.task_inherit_parent_priority:
        from tqbroker.context import running

        parent = running()
        if parent is not None:
            return parent[1].priority
    return conf.task_default_priority or 0


def _start(chosen: Mapping[str, Any], conf: Settings) -> _Start:
    countdown, eta = chosen.get("countdown"), chosen.get("eta")
    if countdown is not None and eta is not None:
        raise ValueError("countdown and eta exclude each other: give one of them")
    if eta is not None:
        return {"eta_unix_ms": moment_ms("eta", eta, conf.zone)}
    return {"countdown_ms": 0 if countdown is None else span_ms("countdown", countdown)}


def _expiry(expires: Any, conf: Settings) -> _Expiry:
    if expires is None:
        return {"expires_in_ms": 0}
    if rules.is_moment(expires):
        return {"expires_unix_ms": moment_ms("expires", expires, conf.zone)}
    return {"expires_in_ms": max(1, span_ms("expires", expires, "seconds as a number, a timedelta, or a datetime"))}


def encode_headers(headers: Any, format: str) -> bytes:  # noqa: A002 - the word of the wire
    """Bytes of the headers of a call; empty for none. Raises TypeError, EncodeError, or ValueError when too large."""
    if not headers:
        return b""
    if not isinstance(headers, Mapping) or not all(isinstance(name, str) for name in headers):
        raise TypeError(f"headers={headers!r:.200} is not allowed: give a mapping with str keys")
    from tqbroker import codec

    data = codec.encode(dict(headers), format)
    if len(data) > MAX_HEADERS:
        raise ValueError(f"headers take {len(data)} bytes, allowed are {MAX_HEADERS}: send large things as arguments")
    return data


def _traits(chosen: Mapping[str, Any], nearer: Mapping[str, Any]) -> Traits:
    """What makes the job not plain. The task's own time limits are not sent: its worker knows them."""
    hard, soft = nearer.get("time_limit"), nearer.get("soft_time_limit")
    check_together(chosen)
    traits = Traits(
        tenant=chosen.get("tenant", ""),
        ordering_key=chosen.get("ordering_key", ""),
        limits=rules.as_texts(chosen.get("limits")),
        requires=rules.as_texts(chosen.get("requires")),
        stamps=stamps_of(chosen),
        time_limit_ms=0 if hard is None else span_ms("time_limit", hard),
        soft_time_limit_ms=0 if soft is None else span_ms("soft_time_limit", soft),
        unique=_unique(chosen),
        shadow=chosen.get("shadow", ""),
    )
    return PLAIN if traits == PLAIN else traits


def _unique(chosen: Mapping[str, Any]) -> Unique | None:
    until, span = chosen.get("unique_until"), chosen.get("unique_for")
    if until is None and span is None:
        return None
    for_ms = 0 if span is None else span_ms("unique_for", span)
    return Unique(until or "time", chosen.get("unique_on_conflict", "reject"), for_ms)


def make_own(defaults: Mapping[str, Any], options: Mapping[str, Any], conf: Settings) -> Own:
    """What a call has for itself beside its arguments."""
    key = options.get("unique_key")
    own = Own(
        task_id=options.get("task_id"),
        idempotency_key=options.get("idempotency_key"),
        unique_key=defaults.get("unique_key") if key is None else key,
        timeout=_timeout(options, conf),
        add_to_parent=options.get("add_to_parent") is not False,
    )
    if own.task_id is not None and own.idempotency_key is not None:
        raise ValueError("task_id and idempotency_key exclude each other: each of them makes the id of the job")
    return NOTHING_OWN if own == NOTHING_OWN else own


def _timeout(options: Mapping[str, Any], conf: Settings) -> float | None:
    retry, policy = options.get("retry"), options.get("retry_policy")
    if retry is None and policy is None:
        return None
    from tqbroker.publishing import total_seconds

    return total_seconds(conf.task_publish_retry if retry is None else retry, policy or conf.task_publish_retry_policy)
