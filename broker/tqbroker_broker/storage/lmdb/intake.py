"""Enqueue: jobs in, as columns, each once."""

from __future__ import annotations

from collections.abc import Sequence

from tqbroker_broker.answers import Enqueued, Stored
from tqbroker_broker.lifecycle import expiry
from tqbroker_broker.questions import EventKind
from tqbroker_broker.records import JobId, NewJobs, State, Time
from tqbroker_broker.rules import QueueRule, Unique, UniqueConflict
from tqbroker_broker.storage.lmdb import uniques
from tqbroker_broker.storage.lmdb.endings import end_waiting
from tqbroker_broker.storage.lmdb.following import follow
from tqbroker_broker.storage.lmdb.group import READY, SCHEDULED, Group
from tqbroker_broker.storage.lmdb.keys import EXPIRY, PLAIN, TOKEN_AT, U64, first_number
from tqbroker_broker.storage.lmdb.rooms import Room
from tqbroker_broker.storage.lmdb.rows import Holding, JobRow, Note, pack_jobs

NO_RULE = QueueRule()


def enqueue(group: Group, batches: Sequence[NewJobs], now: Time) -> list[Enqueued]:
    """Writes every job whose id was not used before."""
    return [_enqueue_batch(group, batch, now) for batch in batches]


def _enqueue_batch(group: Group, batch: NewJobs, now: Time) -> Enqueued:
    rule = group.store.queue_rules.get(batch.head.queue, NO_RULE)
    if rule.ttl_ms:
        batch = batch._replace(expires_ms=expiry(batch.expires_ms, batch.due_ms, now.wall_ms, rule.ttl_ms))
    if rule.max_length or batch.head.traits.unique is not None:
        return OneByOne(group, batch, rule, now).enqueue()
    count = len(batch.ids)
    first = group.take_numbers(count)
    keys = [U64.pack(seq) for seq in range(first, first + count)]
    exceptions = _claim_ids(group, batch, keys)
    wanted = range(count) if not exceptions else [i for i in range(count) if i not in exceptions]
    if exceptions:
        keys = [keys[i] for i in wanted]
    if keys:
        _put_jobs(group, batch, wanted, keys, now)
        _plan_expiry(group, batch, keys)
    return Enqueued(len(keys), exceptions)


def _claim_ids(group: Group, batch: NewJobs, keys: list[bytes]) -> dict[int, Stored]:
    """Takes the ids that are free. Whatever then stands under an id of ours says whether it was ours to take."""
    rows = [(job, key + digest) for job, key, digest in zip(batch.ids, keys, batch.digests, strict=True)]
    cursor = group.txn.cursor(group.store.db["ids"])
    _, added = cursor.putmulti(rows, overwrite=False)
    if added == len(rows):
        return {}
    taken = dict(cursor.getmulti(batch.ids))
    return {
        i: Stored.DUPLICATE if taken[job][8:TOKEN_AT] == row[8:] else Stored.CONFLICT
        for i, (job, row) in enumerate(rows)
        if taken[job][:8] != row[:8]
    }


def _put_jobs(group: Group, batch: NewJobs, wanted: Sequence[int], keys: list[bytes], now: Time) -> None:
    db, txn = group.store.db, group.txn
    rows = pack_jobs(batch, now.wall_ms, wanted)
    txn.cursor(db["jobs"]).putmulti(list(zip(keys, rows, strict=True)), append=True)
    lane = group.lane(batch.head)
    if batch.due_ms > now.wall_ms:
        txn.cursor(db["delayed"]).putmulti([(U64.pack(batch.due_ms) + key, b"") for key in keys])
        group.count(lane.queue, SCHEDULED, len(keys))
    else:
        prefix = lane.prefix
        txn.cursor(db["lanes"]).putmulti([(prefix + key, key + PLAIN) for key in keys])
        group.count(lane.queue, READY, len(keys))
        group.ready(lane, first_number(keys[0]))
    ids = batch.ids if len(keys) == len(batch.ids) else [batch.ids[i] for i in wanted]
    group.event(EventKind.SENT, now, ids, batch.head)


def _plan_expiry(group: Group, batch: NewJobs, keys: list[bytes]) -> None:
    if batch.expires_ms:
        group.plan(EXPIRY, batch.expires_ms, b"".join(keys))


class OneByOne:
    """A batch whose jobs may be in each other's way: unique keys, or a queue that may hold only so many."""

    def __init__(self, group: Group, batch: NewJobs, rule: QueueRule, now: Time) -> None:
        self._group = group
        self._batch = batch
        self._now = now
        self._room = Room(group, batch.head.queue, rule, now)
        self._exceptions: dict[int, Stored] = {}
        self._holders: dict[int, JobId] = {}
        self._final: list[JobId] = []
        self._woken: set[str] = set()

    def enqueue(self) -> Enqueued:
        """Stores one job after the other, each seeing what those before it have left."""
        batch, group = self._batch, self._group
        first = group.take_numbers(len(batch.ids))
        keys: list[bytes] = []
        for i in range(len(batch.ids)):
            refusal = self._refusal(i)
            if refusal is not None:
                self._exceptions[i] = refusal
            else:
                keys.append(U64.pack(first + i))
                self._store(i, first + i)
            self._follow()
        if keys:
            _plan_expiry(group, batch, keys)
        return Enqueued(len(keys), self._exceptions, self._holders, tuple(self._final), frozenset(self._woken))

    def _follow(self) -> None:
        """What follows if jobs of workflows had to go."""
        followed = follow(self._group, self._now)
        self._final += followed.final
        self._woken |= followed.woken

    def _refusal(self, i: int) -> Stored | None:
        """Why a job is not stored; if it is, room was made for it."""
        batch, group = self._batch, self._group
        row = group.txn.get(batch.ids[i], db=group.store.db["ids"])
        if row is not None:
            return Stored.DUPLICATE if row[8:TOKEN_AT] == batch.digests[i] else Stored.CONFLICT
        unique = batch.head.traits.unique
        holder = uniques.holder(group, batch.unique[i], self._now) if unique is not None else None
        if unique is None or holder is None:
            return None if self._make_room() else Stored.QUEUE_FULL
        return self._replace(i, unique, holder)

    def _replace(self, i: int, unique: Unique, holder: Holding) -> Stored | None:
        """Puts a job in the place of the one that holds its key, if that only waits and this one wants it so."""
        found = self._waiting(holder) if unique.conflict is UniqueConflict.REPLACE else None
        if found is None:
            self._holders[i] = holder.id
            return Stored.KEPT if unique.conflict is UniqueConflict.KEEP else Stored.NOT_UNIQUE
        job, note = found
        if job.head.queue != self._batch.head.queue and not self._make_room():
            return Stored.QUEUE_FULL
        end_waiting(self._group, holder.seq, job, note, State.CANCELLED, self._now)
        self._final.append(job.id)
        return None

    def _waiting(self, holder: Holding) -> tuple[JobRow, Note] | None:
        """The holder of a key, if it waits and nobody may be running it."""
        store, txn = self._group.store, self._group.txn
        state = uniques.state_of(self._group, holder.seq)
        job = store.job(txn, holder.seq)
        if job is None or state not in (State.SCHEDULED, State.QUEUED):
            return None
        note = store.note(txn, holder.seq)
        if state is State.QUEUED and store.withheld(note.order or holder.seq):
            return None
        return job, note

    def _make_room(self) -> bool:
        if not self._room.make():
            return False
        self._final += self._room.dropped
        self._room.dropped.clear()
        return True

    def _store(self, i: int, seq: int) -> None:
        batch, group, key = self._batch, self._group, U64.pack(seq)
        group.txn.put(batch.ids[i], key + batch.digests[i], db=group.store.db["ids"])
        _put_jobs(group, batch, [i], [key], self._now)
        if batch.head.traits.unique is not None:
            uniques.take(group, batch.unique[i], seq, batch.ids[i], batch.head.traits.unique, self._now)
