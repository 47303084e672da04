"""Starts under a rate, on disk: written before their jobs are handed out, so that a restart does not forget them.

What is written are starts that were, and those paid for ahead, as if they were as late as they may be. A restart
forfeits what was not used of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import msgspec

from tqbroker_broker.records import Time
from tqbroker_broker.storage.lmdb.gates import Gate, Starts
from tqbroker_broker.storage.lmdb.group import Group
from tqbroker_broker.storage.lmdb.store import Store
from tqbroker_broker.storage.lmdb.txn import Txn

AHEAD = 0.1
"""Seconds of a rate that are paid for ahead: ten commits a second are enough for the fastest."""

VALID_MS = 1000
"""Milliseconds for which what was paid ahead may be used."""

CLEANED = 64
"""Names that are looked at in one commit, whether their starts still matter."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[int, int]]).decode


def load(store: Store, txn: Txn, now: Time) -> None:
    """Reads what started before. Of the wall clock only differences count, and none that is negative."""
    now_ms = store.tick(now)
    for name, row in txn.cursor(store.db["starts"]):
        starts = [(now_ms - max(0, now.wall_ms - wall_ms), jobs) for wall_ms, jobs in _decode(row)]
        store.levels.gates.restore(name.decode(), starts)


def pay(group: Group, needs: Mapping[Gate, int], now: Time) -> None:
    """Writes that so many jobs start now, and a few more for the next hand-outs."""
    store = group.store
    now_ms = int(now.mono * 1000)
    for gate, need in needs.items():
        if gate.budget is None:  # its rates were taken away meanwhile
            continue
        paid = min(gate.left(now_ms), max(gate.paid(now_ms), 0) + need + _ahead(gate))
        starts = [(now.wall_ms - (now_ms - at_ms), jobs) for at_ms, jobs in gate.starts()]
        _put(group, gate.name, [*starts, (now.wall_ms + VALID_MS, paid)])
        group.paid.add(gate.name)  # a gate from before the start may have another's name
        group.effects.append(partial(_paid, store, gate, paid, now_ms + VALID_MS))
    _clean(group, now_ms)


def _put(group: Group, name: str, starts: Starts) -> None:
    group.txn.put(name.encode(), _encode(starts), db=group.store.db["starts"])


def _paid(store: Store, gate: Gate, paid: int, valid_ms: int) -> None:
    gate.reserved, gate.valid_ms = paid, valid_ms
    paying = store.levels.gates.paying
    paying.pop(gate.name, None)
    paying[gate.name] = gate


def _ahead(gate: Gate) -> int:
    """How many starts are paid for beside those needed now."""
    return min(int(rate.count * 1000 * AHEAD) // rate.period_ms for rate in gate.rule.rates)


def _clean(group: Group, now_ms: int) -> None:
    """Drops the starts of names that paid longest ago, if they do not matter any more.

    There may be several payments in one commit: when the caller of a hand-out goes away, the next one pays anew.
    """
    paying = group.store.levels.gates.paying
    for name in list(paying)[:CLEANED]:
        gate = paying[name]
        if name in group.paid or gate.paid(now_ms) > 0 or not gate.is_quiet(now_ms):
            continue
        group.paid.add(name)
        group.txn.delete(name.encode(), db=group.store.db["starts"])
        group.effects.append(partial(paying.__delitem__, name))
