"""Whether there is anything for `expire` to do: looks without a write."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tqbroker_broker.records import Time
from tqbroker_broker.storage.lmdb import events
from tqbroker_broker.storage.lmdb.keys import (
    AGENDA,
    EXPIRY,
    KEYS,
    MARKS,
    MEMORY,
    RETENTION,
    SAVED,
    TURNS,
    U64,
    WORKFLOWS,
    WRECKS,
    first_number,
)
from tqbroker_broker.storage.lmdb.lanes import key_of
from tqbroker_broker.storage.lmdb.store import Store
from tqbroker_broker.storage.lmdb.txn import Txn
from tqbroker_broker.storage.lmdb.workflow_reader import WorkflowReader

# Under pressure (dedup_share) ids are forgotten early, but never before this many milliseconds.
MEMORY_FLOOR_MS = 600_000
# What a remembered id costs on disk, about: its row, its part of the agenda, page overhead.
MEMORY_BYTES = 120


# Kinds of agenda rows that go as soon as they are looked at.
CLEARED = frozenset({TURNS, WRECKS, RETENTION, WORKFLOWS, SAVED, KEYS, MEMORY})

# Jobs on the agenda that are looked at before the answer is "perhaps": what runs for long may hold many.
LOOKS = 4000


def horizons(store: Store, now: Time) -> Iterator[tuple[bytes, int]]:
    """The kinds of agenda rows in the order they are worked off, and up to which moment."""
    yield TURNS, 0
    yield WRECKS, 0
    yield MARKS, 0
    yield EXPIRY, now.wall_ms
    aged_ms = store.aging.wall_ms(now)
    yield RETENTION, aged_ms
    yield WORKFLOWS, aged_ms
    yield SAVED, aged_ms
    yield KEYS, now.wall_ms
    yield MEMORY, _memory_horizon(store, now)


def _memory_horizon(store: Store, now: Time) -> int:
    """Up to which end of their dedup window ids are forgotten: early, when they take more than their share."""
    aged_ms = store.aging.wall_ms(now)
    if store.remembered * MEMORY_BYTES <= store.config.map_size * store.config.dedup_share:
        return aged_ms
    held = [each.lag_ms for each in store.aging.held if now.wall_ms - each.since_ms < MEMORY_FLOOR_MS]
    return now.wall_ms - sum(held) + max(0, int(store.config.dedup_window * 1000) - MEMORY_FLOOR_MS)


def needed(store: Store, now: Time) -> bool:
    """Whether `expire` should run: something is overdue, a row of the agenda can be cleared away, or perhaps."""
    if store.damaged or store.book.overdue(now.mono) or store.log.is_late(now) or _has_old_events(store, now):
        return True
    if store.aging.held != store.stored_held:
        return True
    return _any(store, now, lambda txn, kind, packed: kind in CLEARED or _clears(store, txn, packed), True)


def is_left(store: Store, now: Time) -> bool:
    """Whether something is seen to be overdue after a slice."""
    if store.damaged or store.book.overdue(now.mono) or _has_old_events(store, now):
        return True
    return _any(store, now, lambda txn, kind, packed: _is_overdue(store, txn, kind, packed), False)


def _has_old_events(store: Store, now: Time) -> bool:
    try:
        return events.too_much(store.read(), store.db["events"], store.config, store.aging.wall_ms(now))
    finally:
        store.done_reading()


def _any(store: Store, now: Time, found: Callable[[Txn, bytes, bytes], bool], perhaps: bool) -> bool:
    """Whether this is found in a row of the agenda; `perhaps` when there are too many rows to tell in a moment."""
    txn = store.read()
    left = LOOKS
    try:
        for kind, packed in _rows(store, txn, now):
            left -= len(packed) // U64.size
            if left < 0:
                return perhaps
            if found(txn, kind, packed):
                return True
        return False
    finally:
        store.done_reading()


def _rows(store: Store, txn: Txn, now: Time) -> Iterator[tuple[bytes, bytes]]:
    """The agenda rows whose time has come, with their kind."""
    cursor = txn.cursor(store.db["agenda"])
    for kind, until_ms in horizons(store, now):
        found = cursor.set_range(kind)
        while found:
            key, packed = cursor.item()
            row_kind, when_ms, _ = AGENDA.unpack(key)
            if row_kind != kind or when_ms > until_ms:
                break
            yield kind, packed
            found = cursor.next()


def _seqs(packed: bytes) -> Iterator[int]:
    return (first_number(packed[at : at + U64.size]) for at in range(0, len(packed), U64.size))


def _clears(store: Store, txn: Txn, packed: bytes) -> bool:
    """Whether a row speaks of a job that no worker holds or may hold."""
    return any(
        seq not in store.book.by_seq and not is_left_alone(store, txn, store.workflows(txn), seq)
        for seq in _seqs(packed)
    )


def _is_overdue(store: Store, txn: Txn, kind: bytes, packed: bytes) -> bool:
    if kind in (TURNS, WRECKS, WORKFLOWS, SAVED, KEYS):
        return True
    if kind == MEMORY:
        return txn.get(packed, db=store.db["ids"]) is not None
    final = store.db["final"]
    if kind == RETENTION:
        return any(txn.get(U64.pack(seq), db=final) is not None for seq in _seqs(packed))
    return any(
        seq not in store.book.by_seq
        and txn.get(U64.pack(seq), db=store.db["jobs"]) is not None
        and txn.get(U64.pack(seq), db=final) is None
        and not is_left_alone(store, txn, store.workflows(txn), seq)
        for seq in _seqs(packed)
    )


def is_left_alone(store: Store, txn: Txn, workflows: WorkflowReader, seq: int) -> bool:
    """Whether time does not end the job: a worker may come back with it, or its workflow is not live."""
    staged = store.note(txn, seq).node and workflows.is_staged(seq)
    return staged or is_withheld(store, txn, seq)


def is_withheld(store: Store, txn: Txn, seq: int) -> bool:
    """Whether a recovery keeps the job from being touched, because a worker may come back with it."""
    job = store.job(txn, seq) if store.recovery_end is not None else None
    if job is None:
        return False
    note = store.note(txn, seq)
    lane = store.levels.lanes.get(key_of(job.head))
    ready = lane is not None and txn.get(store.place(seq, lane, note), db=store.db["lanes"]) is not None
    return ready and store.withheld(note.order or seq)
