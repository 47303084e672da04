"""Enqueue: jobs in, as columns, each once."""

from __future__ import annotations

from collections.abc import Sequence

from tqbroker_broker.questions import EventKind
from tqbroker_broker.records import Enqueued, NewJobs, Stored, Time
from tqbroker_broker.storage.lmdb.group import READY, SCHEDULED, Group
from tqbroker_broker.storage.lmdb.keys import EXPIRY, PLAIN, TOKEN_AT, U64, first_number
from tqbroker_broker.storage.lmdb.rows import pack_jobs


def enqueue(group: Group, batches: Sequence[NewJobs], now: Time) -> list[Enqueued]:
    """Writes every job whose id was not used before."""
    return [_enqueue_batch(group, batch, now) for batch in batches]


def _enqueue_batch(group: Group, batch: NewJobs, now: Time) -> Enqueued:
    count = len(batch.ids)
    first = group.take_numbers(count)
    keys = [U64.pack(seq) for seq in range(first, first + count)]
    exceptions = _claim_ids(group, batch, keys)
    wanted = range(count) if not exceptions else [i for i in range(count) if i not in exceptions]
    if exceptions:
        keys = [keys[i] for i in wanted]
    if keys:
        _put_jobs(group, batch, wanted, keys, now)
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
    if batch.expires_ms:
        group.plan(EXPIRY, batch.expires_ms, b"".join(keys))
    ids = batch.ids if len(keys) == len(batch.ids) else [batch.ids[i] for i in wanted]
    group.event(EventKind.SENT, now, ids, batch.head)
