"""What time brings: scheduled jobs fall due, workers are given up, jobs expire, results age out. In bounded slices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tqbroker._failpoint import hit
from tqbroker_broker.records import Due, Expired, Failure, JobId, State, Time
from tqbroker_broker.storage.lmdb.endings import drop_finished, end_waiting, lose, lost_failure
from tqbroker_broker.storage.lmdb.group import FAILED, READY, SCHEDULED, Group
from tqbroker_broker.storage.lmdb.keys import AGENDA, EXPIRY, MARKS, MEMORY, PAIR, RETENTION, U64, first_number
from tqbroker_broker.storage.lmdb.lanes import Lane
from tqbroker_broker.storage.lmdb.membership import remove
from tqbroker_broker.storage.lmdb.outcomes import make_ready
from tqbroker_broker.storage.lmdb.rows import DAMAGED, DamagedRecordError, Final, pack_failure, pack_final, unpack_job
from tqbroker_broker.storage.lmdb.store import Store

# Under pressure (dedup_share) ids are forgotten early, but never before this many milliseconds.
MEMORY_FLOOR_MS = 600_000
# What a remembered id costs on disk, about: its row, its part of the agenda, page overhead.
MEMORY_BYTES = 120


# -- due -------------------------------------------------------------------------------------------------------------


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
    cursor = txn.cursor(store.db["delayed"])
    for _ in range(limit):
        if not cursor.first():
            return Due(frozenset(woken), False, 0)
        key = cursor.key()
        due_ms, seq = PAIR.unpack(key)
        if due_ms > now.wall_ms:
            return Due(frozenset(woken), False, due_ms)
        cursor.delete()
        woken.add(_make_due(group, seq))
    next_ms = PAIR.unpack(cursor.key())[0] if cursor.first() else 0
    return Due(frozenset(woken), bool(next_ms) and next_ms <= now.wall_ms, next_ms)


def _make_due(group: Group, seq: int) -> str:
    job = group.store.job(group.txn, seq)
    assert job is not None, "a scheduled job is stored"
    lane = group.lane(job.head)
    note = group.note(seq)
    make_ready(group, seq, lane.prefix, note)
    group.put_note(seq, note)
    group.ready(lane, note.order)
    group.count(lane.queue, SCHEDULED, -1)
    group.count(lane.queue, READY, 1)
    return lane.queue


# -- expire ----------------------------------------------------------------------------------------------------------


class Slice:
    """One bounded piece of the work that `expire` does."""

    def __init__(self, group: Group, now: Time, limit: int) -> None:
        self.group = group
        self.now = now
        self.left = limit
        self.final: list[JobId] = []
        self.woken: set[str] = set()
        self.lost: list[str] = []

    def end(self, seq: int, state: State, failure: Failure | None = None) -> None:
        """Ends a job that waits, if it still does."""
        store, txn = self.group.store, self.group.txn
        job = store.job(txn, seq)
        if job is not None and end_waiting(self.group, seq, job, store.note(txn, seq), state, self.now, failure):
            self.final.append(job.id)


def needed(store: Store, now: Time) -> bool:
    """Whether `expire` has anything to do: a look without a write."""
    recovering = store.recovering(now)
    if store.suspects or store.book.overdue(now.mono):
        return True
    cursor = store.read().cursor(store.db["agenda"])
    try:
        for kind, when in _horizons(store, now, recovering):
            if cursor.set_range(kind) and (key := AGENDA.unpack(cursor.key()))[0] == kind and key[1] <= when:
                return True
        return False
    finally:
        store.done_reading()


def _horizons(store: Store, now: Time, recovering: bool) -> Iterator[tuple[bytes, int]]:
    """The kinds of agenda rows to look at now, and up to which moment."""
    if not recovering:
        yield MARKS, 0
        yield EXPIRY, now.wall_ms
    yield RETENTION, now.wall_ms
    yield MEMORY, _memory_horizon(store, now)


def _memory_horizon(store: Store, now: Time) -> int:
    """Up to which end of their dedup window ids are forgotten: early, when they take more than their share."""
    if store.remembered * MEMORY_BYTES <= store.config.map_size * store.config.dedup_share:
        return now.wall_ms
    return now.wall_ms + max(0, int(store.config.dedup_window * 1000) - MEMORY_FLOOR_MS)


def expire(group: Group, now: Time, limit: int) -> Expired:
    """One slice: lost workers, damaged or marked jobs, jobs past their expiry, results past their retention, ids."""
    hit("in_expire")
    work = Slice(group, now, limit)
    _lost_workers(work)
    _suspects(work)
    recovering = group.store.recovery_end is not None
    for kind, when in list(_horizons(group.store, now, recovering)):
        _agenda(work, kind, when)
    return Expired(work.final, frozenset(work.woken), work.lost, work.left <= 0)


def _lost_workers(work: Slice) -> None:
    group = work.group
    for holder in group.store.book.overdue(work.now.mono):
        work.lost.append(holder.name)
        for lease in list(holder.leases.values()):
            if lease.token in group.ended:
                continue
            work.woken.add(lease.lane.queue)
            if lose(group, lease, lost_failure(lease, "was lost"), work.now):
                work.final.append(lease.id)
        remove(group, holder)


def _suspects(work: Slice) -> None:
    """Jobs that were passed over when handing out: expired, cancelled, or unreadable."""
    store, txn = work.group.store, work.group.txn
    suspects = dict(store.suspects)
    for seq, (lane, place) in sorted(suspects.items()):
        row = txn.get(U64.pack(seq), db=store.db["jobs"])
        try:
            job = unpack_job(row) if row is not None else None
            marked = store.note(txn, seq).cancel
        except DamagedRecordError:
            _end_damaged(work.group, seq, lane, place, work.now)
            continue
        if job is not None:
            work.end(seq, State.CANCELLED if marked else State.EXPIRED)
    work.group.effects.append(lambda: _cleared(store, suspects))


def _cleared(store: Store, suspects: Iterable[int]) -> None:
    for seq in suspects:
        store.suspects.pop(seq, None)


def _end_damaged(group: Group, seq: int, lane: Lane, place: bytes, now: Time) -> None:
    """Takes a job whose record cannot be read out of its lane; what is left of it is kept for the operator."""
    store, key = group.store, U64.pack(seq)
    if group.txn.delete(place, db=store.db["lanes"]):
        final = Final(State.FAILED, finished_ms=now.wall_ms, value=pack_failure(DAMAGED))
        group.txn.put(key, pack_final(final), db=store.db["final"])
        group.count(lane.queue, READY, -1)
        group.count(lane.queue, FAILED, 1)


def _agenda(work: Slice, kind: bytes, until_ms: int) -> None:
    """Works off the agenda rows of one kind up to a moment, as far as the slice goes."""
    group = work.group
    cursor = group.txn.cursor(group.store.db["agenda"])
    found = cursor.set_range(kind)
    while found and work.left > 0:
        key = cursor.key()
        row_kind, when_ms, _ = AGENDA.unpack(key)
        if row_kind != kind or when_ms > until_ms:
            return
        rest = _HANDLERS[kind](work, cursor.value())
        if rest is None:
            found = cursor.next()
        elif rest:
            group.txn.put(key, rest, db=group.store.db["agenda"])
            return
        else:
            group.txn.delete(key, db=group.store.db["agenda"])
            found = cursor.set_range(kind)


def _seqs(work: Slice, packed: bytes) -> tuple[list[int], bytes]:
    """As many seqs of an agenda row as the slice has room for, and the rest of the row."""
    size = min(len(packed), work.left * U64.size)
    work.left -= size // U64.size
    return [seq for (seq,) in U64.iter_unpack(packed[:size])], packed[size:]


def _handle_marks(work: Slice, packed: bytes) -> bytes | None:
    """A cancel mark whose job is not held by anybody ends it; None keeps the row while somebody does."""
    seq = first_number(packed)
    lease = work.group.store.book.by_seq.get(seq)
    if lease is not None and lease.token not in work.group.ended:
        return None
    work.left -= 1
    work.end(seq, State.CANCELLED)
    return b""


def _handle_expiry(work: Slice, packed: bytes) -> bytes:
    seqs, rest = _seqs(work, packed)
    leases, ended = work.group.store.book.by_seq, work.group.ended
    for seq in seqs:
        lease = leases.get(seq)
        if lease is None or lease.token in ended:
            work.end(seq, State.EXPIRED)
    return rest


def _handle_retention(work: Slice, packed: bytes) -> bytes:
    seqs, rest = _seqs(work, packed)
    for seq in seqs:
        drop_finished(work.group, seq, work.now)
    return rest


def _handle_memory(work: Slice, packed: bytes) -> bytes:
    """One id; the row holds its length and its bytes."""
    work.left -= 1
    work.group.remembered -= work.group.txn.delete(packed[1:], db=work.group.store.db["ids"])
    return b""


_HANDLERS = {
    MARKS: _handle_marks,
    EXPIRY: _handle_expiry,
    RETENTION: _handle_retention,
    MEMORY: _handle_memory,
}
