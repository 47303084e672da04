"""Lease: jobs out. Reads only; what it records is in the book, in memory."""

from __future__ import annotations

from collections.abc import Sequence

from tqbroker_broker.records import Extra, Head, JobId, Leased, Time, Want
from tqbroker_broker.storage.lmdb.annotating import extra_of
from tqbroker_broker.storage.lmdb.book import Holder, Lease
from tqbroker_broker.storage.lmdb.keys import NOTED, ORDER_END, U64, first_number, order_of
from tqbroker_broker.storage.lmdb.lanes import Lane
from tqbroker_broker.storage.lmdb.rows import DamagedRecordError, Note, unpack_job, unpack_note
from tqbroker_broker.storage.lmdb.store import Store
from tqbroker_broker.storage.lmdb.txn import Cursor, Txn

# Jobs read at a time: few at first, because a few large ones may be all that fits into the answer.
FIRST_READ, MOST_READ = 16, 512


class Columns:
    """The answer to one want as it grows."""

    def __init__(self, want: Want, holder: Holder, deliverable: int) -> None:
        self.want = want
        self.holder = holder
        self.deliverable = deliverable
        self.taken = 0
        self.slow = 0
        self.bytes = 0
        self.batches: list[Leased] = []

    def room(self, task: str) -> int:
        """How many more jobs of this task may be taken."""
        if self.bytes >= self.want.max_bytes:
            return 0
        room = min(self.want.window, self.deliverable) - self.taken
        return room if task in self.want.fast else min(room, self.want.slots - self.slow)

    def add(self, head: Head, job: JobId, token: int, args: bytes, note: Note | None) -> None:
        """Adds a job; jobs that share their head share a batch."""
        batch = self.batches[-1] if self.batches else None
        if batch is None or batch.head is not head:
            batch = Leased(head, [], [], [], [], [], {})
            self.batches.append(batch)
        batch.ids.append(job)
        batch.tokens.append(token)
        batch.args.append(args)
        batch.retries.append(note.retries if note else 0)
        batch.lost.append(note.lost if note else 0)
        self.taken += 1
        self.slow += head.task not in self.want.fast
        self.bytes += len(args)

    def beside(self, extra: Extra | None) -> None:
        """Adds what goes with the job added last."""
        if extra is not None:
            batch = self.batches[-1]
            batch.extras[len(batch.ids) - 1] = extra
            self.bytes += len(extra.checkpoint)


def lease(store: Store, wants: Sequence[Want], now: Time) -> list[list[Leased]]:
    """Hands out what each want may have, in turn."""
    store.recovering(now)
    if now.wall_ms < store.passed_over_ms:
        store.passed_over_ms = 0
        store.look_again()
    txn = store.read()
    try:
        return [_lease_one(store, txn, want, now) for want in wants]
    finally:
        store.done_reading()


def _lease_one(store: Store, txn: Txn, want: Want, now: Time) -> list[Leased]:
    holder = store.book.holders.get(want.worker)
    if holder is None or not holder.connected or holder in store.shut:
        return []
    columns = Columns(want, holder, store.deliverable(now.mono))
    lanes = store.lanes.waiting(want.queues, want.tasks)
    cursor = txn.cursor(store.db["lanes"])
    while chosen := _choose(store, cursor, columns, lanes):
        lane, until = chosen
        _take(store, txn, cursor, columns, lane, until, now)
    return columns.batches


def _choose(store: Store, cursor: Cursor, columns: Columns, lanes: list[Lane]) -> tuple[Lane, int | None] | None:
    """The lane whose turn it is (highest priority, then oldest head) and the order at which another's turn comes."""
    best: Lane | None = None
    until: int | None = None
    for lane in lanes:
        if best is not None and best.priority > lane.priority:
            continue
        if columns.room(lane.task) <= 0 or not _settle(store, cursor, lane):
            continue
        assert lane.head is not None
        if best is None or lane.priority > best.priority:
            best, until = lane, None
        elif best.head is not None and lane.head < best.head:
            best, until = lane, best.head
        elif until is None or lane.head < until:
            until = lane.head
    return (best, until) if best is not None else None


def _settle(store: Store, cursor: Cursor, lane: Lane) -> bool:
    """Makes a lane's head exact. False when nothing waits in it."""
    if lane.head is not None and not lane.exact:
        lane.head = store.first_waiting(cursor, lane)
        lane.exact = True
    return lane.head is not None


def _take(store: Store, txn: Txn, cursor: Cursor, columns: Columns, lane: Lane, until: int | None, now: Time) -> None:
    """Takes the run of jobs from the lane's head up to where another lane is older, and moves the head behind it."""
    keys, values, after = _scan(store, cursor, lane, until, columns.room(lane.task))
    lane.head, lane.exact = after, False
    step = FIRST_READ
    while keys:
        for place, value, row in zip(keys, values[:step], _rows(store, txn, values[:step]), strict=False):
            if columns.bytes >= columns.want.max_bytes:
                lane.head = order_of(place)
                return
            _hand_out(store, txn, columns, lane, place, value, row, now)
        keys, values, step = keys[step:], values[step:], min(step * 2, MOST_READ)


def _rows(store: Store, txn: Txn, values: list[bytes]) -> list[bytes]:
    """The stored jobs of these places; empty for one that is missing, which then does not match its checksum."""
    seqs = [value[: U64.size] for value in values]
    found = txn.cursor(store.db["jobs"]).getmulti(seqs)
    if len(found) == len(seqs):
        return [row for _, row in found]
    rows = dict(found)
    return [rows.get(seq, b"") for seq in seqs]


def _scan(
    store: Store, cursor: Cursor, lane: Lane, until: int | None, room: int
) -> tuple[list[bytes], list[bytes], int | None]:
    """Up to `room` waiting places of a lane with their values, and the order at which to go on (None: the end)."""
    assert lane.head is not None
    leased, claimed, damaged = store.book.by_seq, store.claimed, store.damaged
    end = lane.prefix + (U64.pack(until) if until is not None else ORDER_END)
    keys: list[bytes] = []
    values: list[bytes] = []
    if not cursor.set_range(lane.prefix + U64.pack(lane.head)):
        return keys, values, None
    for key, value in cursor:
        if key >= end:
            return keys, values, until
        if len(keys) == room:
            return keys, values, order_of(key)
        seq = first_number(value)
        if seq not in leased and seq not in claimed and seq not in damaged:
            keys.append(key)
            values.append(value)
    return keys, values, until


def _hand_out(
    store: Store, txn: Txn, columns: Columns, lane: Lane, place: bytes, value: bytes, row: bytes, now: Time
) -> None:
    """Leases one job, unless it has expired, was cancelled, or cannot be read: those are for `expire` to end."""
    seq = first_number(value)
    noted = value[8:] == NOTED
    try:
        job = unpack_job(row)
        note = unpack_note(txn.get(value[:8], db=store.db["notes"])) if noted else None
    except DamagedRecordError:
        store.damaged[seq] = lane, place
        return
    if job.expires_ms and job.expires_ms <= now.wall_ms:
        # Should the clock go back before `expire` has ended it, it must be found again.
        store.passed_over_ms = now.wall_ms
        return
    if note is not None and note.cancel:
        return
    book = store.book
    token = book.next_token
    book.next_token = token + 1
    book.add(Lease(token, seq, job.id, job.head, lane, place, noted, columns.holder))
    columns.add(job.head, job.id, token, job.args, note)
    if job.due_ms or job.expires_ms or note is not None:
        columns.beside(extra_of(store, txn, seq, job, note))
