"""Where in a lane jobs wait: what is known of it in memory, put right by a look at the disk."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import NamedTuple

from tqbroker_broker.storage.lmdb.keys import ORDER_END, U64, first_number, order_of
from tqbroker_broker.storage.lmdb.lanes import Lane
from tqbroker_broker.storage.lmdb.store import Store
from tqbroker_broker.storage.lmdb.txn import Cursor, Txn


class Places(NamedTuple):
    """A run of waiting jobs: their keys in `lanes` with the values. `behind`: none of them is from before the head."""

    keys: list[bytes]
    values: list[bytes]
    behind: bool


def settle(store: Store, cursor: Cursor, lane: Lane) -> int | None:
    """The order of the first job that waits in a lane; None when there is none."""
    while lane.back:
        order = lane.back[0]
        key = lane.prefix + U64.pack(order)
        if cursor.set_range(key) and cursor.key() == key and store.is_free(first_number(cursor.value())):
            return order
        heappop(lane.back)
    if not lane.empty and not lane.exact:
        _find_head(store, cursor, lane)
    return None if lane.empty else lane.head


def _find_head(store: Store, cursor: Cursor, lane: Lane) -> None:
    """Moves the head to the first job at or behind it that waits, or behind all."""
    prefix = lane.prefix
    last = b""
    found = cursor.set_range(prefix + U64.pack(lane.head))
    while found:
        key, value = cursor.item()
        if not key.startswith(prefix):
            break
        if store.is_free(first_number(value)):
            lane.head, lane.exact = order_of(key), True
            return
        last = key
        found = cursor.next()
    lane.empty = True
    if last:
        lane.head = order_of(last) + 1


def take(store: Store, cursor: Cursor, lane: Lane, until: int | None, room: int) -> Places:
    """Up to `room` waiting jobs from the first on and before `until`; the lane goes on behind them."""
    if lane.back:
        return _from_back(store, cursor, lane, until, room)
    return _from_head(store, cursor, lane, until, room)


def _from_back(store: Store, cursor: Cursor, lane: Lane, until: int | None, room: int) -> Places:
    back, prefix = lane.back or [], lane.prefix
    keys: list[bytes] = []
    last = -1
    while back and len(keys) < room and (until is None or back[0] < until):
        order = heappop(back)
        if order != last:
            keys.append(prefix + U64.pack(order))
            last = order
    found = [(key, value) for key, value in cursor.getmulti(keys) if store.is_free(first_number(value))]
    return Places([key for key, _ in found], [value for _, value in found], False)


def _from_head(store: Store, cursor: Cursor, lane: Lane, until: int | None, room: int) -> Places:
    leased, claimed, damaged = store.book.by_seq, store.claimed, store.damaged
    prefix = lane.prefix
    end = prefix + (U64.pack(until) if until is not None else ORDER_END)
    keys: list[bytes] = []
    values: list[bytes] = []
    lane.exact = False
    last = key = b""
    if cursor.set_range(prefix + U64.pack(lane.head)):
        for key, value in cursor:
            if key >= end:
                break
            seq = first_number(value)
            if len(keys) == room:
                lane.head, lane.exact = order_of(key), store.is_free(seq)
                return Places(keys, values, True)
            last = key
            if seq not in leased and seq not in claimed and seq not in damaged:
                keys.append(key)
                values.append(value)
    if until is not None and key >= end and key.startswith(prefix):
        lane.head = order_of(key)
    else:
        lane.empty = True
        lane.head = order_of(last) + 1 if last else lane.head
    return Places(keys, values, True)


def put_back(lane: Lane, places: Places, at: int) -> None:
    """The jobs of a run from this one on were not taken."""
    if places.behind:
        lane.head, lane.empty, lane.exact = order_of(places.keys[at]), False, False
        return
    if lane.back is None:
        lane.back = []
    for key in places.keys[at:]:
        heappush(lane.back, order_of(key))


def rows(store: Store, txn: Txn, values: list[bytes]) -> list[bytes]:
    """The stored jobs of these places; empty for one that is missing, which then does not match its checksum."""
    seqs = [value[: U64.size] for value in values]
    found = txn.cursor(store.db["jobs"]).getmulti(seqs)
    if len(found) == len(seqs):
        return [row for _, row in found]
    by_seq = dict(found)
    return [by_seq.get(seq, b"") for seq in seqs]
