"""The rules that operators and apps set: stored at once, followed from the next hand-out on."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tqbroker_broker.records import Time
from tqbroker_broker.rules import LimitRule, LimitState, QueueRule
from tqbroker_broker.storage import QueueInUse
from tqbroker_broker.storage.lmdb import rates
from tqbroker_broker.storage.lmdb.group import READY, SCHEDULED, WAITING, Group
from tqbroker_broker.storage.lmdb.keys import COLUMNS
from tqbroker_broker.storage.lmdb.lanes import Lane
from tqbroker_broker.storage.lmdb.store import Store

_encode = msgspec.msgpack.Encoder().encode
_decode_queue = msgspec.msgpack.Decoder(QueueRule).decode
_decode_limit = msgspec.msgpack.Decoder(tuple[bool, LimitRule]).decode


def load(store: Store, now: Time) -> None:
    """Reads all rules, and what started lately under them."""
    txn = store.read()
    for name, row in txn.cursor(store.db["queues"]):
        store.queue_rules[name.decode()] = _decode_queue(row)
    limits: dict[str, LimitRule] = {}
    gates = store.levels.gates
    for name, row in txn.cursor(store.db["limits"]):
        operator, limits[name.decode()] = _decode_limit(row)
        if operator:
            gates.by_operator.add(name.decode())
    gates.follow(limits, [])
    rates.load(store, txn, now)


# -- queues ------------------------------------------------------------------------------------------------------------


def put_queue(group: Group, queue: str, rule: QueueRule | None) -> None:
    """Stores a queue's rule, or removes the queue. Raises QueueInUse."""
    store = group.store
    if rule is None:
        _remove_queue(group, queue)
    if rule is None or rule == QueueRule():
        group.txn.delete(queue.encode(), db=store.db["queues"])
        group.effects.append(lambda: _forget(store, queue))
    else:
        group.txn.put(queue.encode(), _encode(rule), db=store.db["queues"])
        group.effects.append(lambda: _set(store, queue, rule))


def _set(store: Store, queue: str, rule: QueueRule) -> None:
    store.queue_rules[queue] = rule
    store.bounds.pop(queue, None)


def _forget(store: Store, queue: str) -> None:
    store.queue_rules.pop(queue, None)
    store.bounds.pop(queue, None)


def _remove_queue(group: Group, queue: str) -> None:
    """Removes what a queue without jobs has left."""
    store = group.store
    none = [0] * COLUMNS
    old, new = store.counts.get(queue, none), group.deltas.get(queue, none)
    if any(old[column] + new[column] for column in (READY, SCHEDULED, WAITING)):
        raise QueueInUse(f"queue {queue!r} has jobs that are not finished: let them finish, move or cancel them")
    group.touched.update(dict.fromkeys(store.levels.lanes.of(queue)))
    group.count(queue, READY, 0)  # a row of nothing but zeros goes


# -- limits ------------------------------------------------------------------------------------------------------------


def put_limits(group: Group, rules: Sequence[LimitRule], remove: Sequence[str], *, operator: bool) -> None:
    """Removes, then sets; what an operator has set only an operator changes."""
    store, txn = group.store, group.txn
    db = store.db["limits"]

    def may_change(name: str) -> bool:
        row = txn.get(name.encode(), db=db)
        return operator or row is None or not _decode_limit(row)[0]

    for name in remove:
        if may_change(name):
            txn.delete(name.encode(), db=db)
    for rule in rules:
        if may_change(rule.name):
            txn.put(rule.name.encode(), _encode((operator, rule)), db=db)
    stored = {name.decode(): _decode_limit(row) for name, row in txn.cursor(db)}
    group.effects.append(lambda: _follow(store, stored))


def _follow(store: Store, stored: dict[str, tuple[bool, LimitRule]]) -> None:
    """The rules hold from now on; what waited under the old ones is looked at again."""
    levels = store.levels
    levels.gates.by_operator = {name for name, (operator, _) in stored.items() if operator}
    rules = {name: rule for name, (_, rule) in stored.items()}
    if rules == levels.gates.rules:
        return
    levels.gates.follow(rules, store.book.kinds())


def limits(store: Store) -> list[LimitState]:
    """Every limit, by name, with the leases that count against it."""
    gates = store.levels.gates
    running = dict.fromkeys(gates.rules, 0)
    for gate in gates:
        if gate.rule.name in running:
            running[gate.rule.name] += gate.running
    return [LimitState(rule, name in gates.by_operator, running[name]) for name, rule in sorted(gates.rules.items())]


# -- why a job waits -----------------------------------------------------------------------------------------------


def held_by(store: Store, lane: Lane) -> str:
    """Why nothing of a lane can be handed out, as far as the store knows; else ""."""
    levels, kind = store.levels, lane.kind
    rule = store.queue_rules.get(lane.queue)
    if rule is not None and rule.paused:
        return "paused"
    levels.gates.refresh(kind)
    if levels.recovering and (lane.ordering_key or kind.exclusive):
        return "recovering"
    if lane.ordering_key and (lane.queue, lane.ordering_key) in levels.holds:
        return f"ordering key {lane.ordering_key}"
    for gate in kind.gates:
        if 0 < gate.rule.concurrency <= gate.running:
            return f"limit {gate.name}"
    opens_ms, name = max(((gate.opens_ms(store.now_ms), gate.name) for gate in kind.gates), default=(0, ""))
    return f"limit {name}" if opens_ms > store.now_ms else ""
