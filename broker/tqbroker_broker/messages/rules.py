"""Rules of queues and limits: from the wire, checked, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tqbroker.v1 import admin_pb2, worker_pb2
from tqbroker_broker.messages.batches import MAX_QUEUE, MAX_TASK
from tqbroker_broker.messages.checks import LATEST_MS, check_most, check_name, check_range
from tqbroker_broker.messages.traits import MAX_TENANT
from tqbroker_broker.refusals import Invalid
from tqbroker_broker.rules import LimitRule, LimitState, Overflow, QueueRule, Rate

MAX_LIMIT_NAME = MAX_TASK + len("queue:")
MAX_RATES = 8
MAX_COUNT = 1_000_000
"""Starts in one window, and jobs at once, that a limit can name: more is no limit for one broker."""

MIN_PERIOD_MS = 100
"""The shortest window: below it the moment of a start is not known well enough to promise anything."""

MAX_PERIOD_MS = 86_400_000
"""The longest window, a day: every start in it is remembered, over restarts too."""

MAX_LENGTH = 1_000_000_000_000
MAX_WEIGHT = 1000
MAX_WEIGHTS = 1000
"""Tenants of one queue that can have a weight of their own; any number of others have 1."""


def read_limit(wire: worker_pb2.LimitRule) -> LimitRule:
    """One rule. Raises Invalid."""
    check_limit_name(wire.name)
    check_range(f"concurrency of limit {wire.name}", wire.concurrency, 0, MAX_COUNT)
    check_most(f"rates of limit {wire.name}", len(wire.rates), MAX_RATES)
    return LimitRule(wire.name, wire.concurrency, tuple(_rate(wire.name, rate) for rate in wire.rates))


def check_limit_name(name: str) -> None:
    """Raises Invalid for what is no name of a limit."""
    check_name("the name of a limit", name, MAX_LIMIT_NAME)
    if "*" in name[:-1]:
        raise Invalid(
            f"the name of a limit is {name!r}: a '*' can stand only at its end, for every name that begins so"
        )


def _rate(name: str, wire: worker_pb2.Rate) -> Rate:
    check_range(f"count of a rate of limit {name}", wire.count, 1, MAX_COUNT)
    check_range(f"period_ms of a rate of limit {name}", wire.period_ms, MIN_PERIOD_MS, MAX_PERIOD_MS)
    return Rate(wire.count, wire.period_ms)


def write_limit(state: LimitState) -> admin_pb2.LimitInfo:
    """A limit as it is now."""
    rule = state.rule
    rates = [worker_pb2.Rate(count=rate.count, period_ms=rate.period_ms) for rate in rule.rates]
    return admin_pb2.LimitInfo(
        rule=worker_pb2.LimitRule(name=rule.name, concurrency=rule.concurrency, rates=rates),
        source="operator" if state.operator else "app",
        running=state.running,
    )


def changed(rule: QueueRule, wire: admin_pb2.SetQueueRequest) -> QueueRule:
    """The rule with what the request sets. Raises Invalid."""
    return QueueRule(
        wire.paused if wire.HasField("paused") else rule.paused,
        _number(wire, "max_length", MAX_LENGTH, rule.max_length),
        _overflow(wire.overflow) if wire.HasField("overflow") else rule.overflow,
        _number(wire, "ttl_ms", LATEST_MS, rule.ttl_ms),
        _weights(rule.weights, wire.weights),
    )


def check_queue(name: str) -> None:
    """Raises Invalid for what is no name of a queue."""
    check_name("queue", name, MAX_QUEUE)


def read_queues(names: Iterable[str]) -> tuple[str, ...]:
    """Names of queues, each once. Raises Invalid."""
    queues = tuple(dict.fromkeys(names))
    for name in queues:
        check_queue(name)
    return queues


def _number(wire: admin_pb2.SetQueueRequest, field: str, most: int, before: int) -> int:
    if not wire.HasField(field):  # type: ignore[arg-type]
        return before
    value: int = getattr(wire, field)
    check_range(field, value, 0, most)
    return value


def _overflow(wire: int) -> Overflow:
    try:
        return Overflow(wire)
    except ValueError:
        raise Invalid(f"overflow is {wire}: it must be OVERFLOW_REFUSE or OVERFLOW_DROP_OLDEST") from None


def _weights(before: Mapping[str, int], change: Mapping[str, int]) -> dict[str, int]:
    for tenant, weight in change.items():
        check_name("a tenant with a weight", tenant, MAX_TENANT)
        check_range(f"the weight of tenant {tenant}", weight, 0, MAX_WEIGHT)
    weights = {tenant: weight for tenant, weight in {**before, **change}.items() if weight}
    check_most("tenants with a weight", len(weights), MAX_WEIGHTS)
    return weights


def write_rule(rule: QueueRule) -> admin_pb2.QueueRule:
    """The rule of a queue for the wire."""
    return admin_pb2.QueueRule(
        paused=rule.paused,
        max_length=rule.max_length,
        overflow=admin_pb2.Overflow.ValueType(int(rule.overflow)),
        ttl_ms=rule.ttl_ms,
        weights=rule.weights,
    )
