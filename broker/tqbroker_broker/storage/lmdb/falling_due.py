"""Scheduled jobs whose time has come go to their lanes, in bounded slices."""

from __future__ import annotations

from collections.abc import Iterable

from tqbroker_broker.answers import Due
from tqbroker_broker.records import JobId, Time
from tqbroker_broker.storage.lmdb.endings import put_damaged
from tqbroker_broker.storage.lmdb.following import follow
from tqbroker_broker.storage.lmdb.group import READY, SCHEDULED, Group
from tqbroker_broker.storage.lmdb.keys import PAIR
from tqbroker_broker.storage.lmdb.outcomes import make_ready
from tqbroker_broker.storage.lmdb.store import Store


def next_due(store: Store) -> int:
    """When the earliest scheduled job is due, or 0."""
    cursor = store.read().cursor(store.db["delayed"])
    due_ms = PAIR.unpack(cursor.key())[0] if cursor.first() else 0
    store.done_reading()
    return due_ms


def due(group: Group, now: Time, limit: int) -> Due:
    """Moves scheduled jobs whose time has come into their lanes, the earliest first."""
    store, txn = group.store, group.txn
    woken: set[str] = set()
    final: list[JobId] = []
    cursor = txn.cursor(store.db["delayed"])
    for _ in range(limit):
        if not cursor.first():
            return Due(frozenset(woken), False, 0, tuple(final))
        key = cursor.key()
        due_ms, seq = PAIR.unpack(key)
        if due_ms > now.wall_ms:
            return Due(frozenset(woken), False, due_ms, tuple(final))
        cursor.delete()
        woken.update(_make_due(group, seq, now, final))
    next_ms = PAIR.unpack(cursor.key())[0] if cursor.first() else 0
    return Due(frozenset(woken), bool(next_ms) and next_ms <= now.wall_ms, next_ms, tuple(final))


def _make_due(group: Group, seq: int, now: Time, final: list[JobId]) -> Iterable[str]:
    """Moves one job; returns its queue. One that cannot be read any more ends here, and is added to `final`."""
    job = group.store.job(group.txn, seq)
    if job is None:
        damaged = put_damaged(group, seq, now)
        followed = follow(group, now)
        final += [damaged, *followed.final] if damaged is not None else followed.final
        return followed.woken
    lane = group.lane(job.head)
    note = group.note(seq)
    make_ready(group, seq, lane.prefix, note)
    group.put_note(seq, note)
    group.ready(lane, note.order)
    group.count(lane.queue, SCHEDULED, -1)
    group.count(lane.queue, READY, 1)
    return (lane.queue,)
