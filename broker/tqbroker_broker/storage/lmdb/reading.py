"""What is known: of single jobs, of queues, of the store."""

from __future__ import annotations

from collections.abc import Sequence

from tqbroker_broker.answers import Job, QueueCounts, Stats
from tqbroker_broker.records import JobId, State
from tqbroker_broker.storage.lmdb.history import attempts_of
from tqbroker_broker.storage.lmdb.keys import U64, delayed_key
from tqbroker_broker.storage.lmdb.lanes import key_of
from tqbroker_broker.storage.lmdb.rows import DAMAGED, JobRow, Note, is_sound
from tqbroker_broker.storage.lmdb.rulebook import held_by
from tqbroker_broker.storage.lmdb.standing import children_of, inputs_of
from tqbroker_broker.storage.lmdb.store import Store
from tqbroker_broker.storage.lmdb.telling import tell
from tqbroker_broker.storage.lmdb.txn import Txn
from tqbroker_broker.workflows import Inputs


def get(store: Store, ids: Sequence[JobId], with_args: bool, with_attempts: bool, with_children: bool) -> list[Job]:
    """What is known of these ids, in order."""
    txn = store.read()
    try:
        return [
            look(store, txn, job, with_args=with_args, with_attempts=with_attempts, with_children=with_children)
            for job in ids
        ]
    finally:
        store.done_reading()


def ended(store: Store, ids: Sequence[JobId]) -> list[Job]:
    """What is known of those that have ended, or are not known, in order."""
    txn = store.read()
    try:
        seqs = [(job, store.seq_of(txn, job)) for job in ids]
        return [look_at(store, txn, job, seq) for job, seq in seqs if seq is None or _has_ended(store, txn, seq)]
    finally:
        store.done_reading()


def _has_ended(store: Store, txn: Txn, seq: int) -> bool:
    """Whether a job has an outcome, or was dropped, or cannot be read, which counts as failed."""
    key = U64.pack(seq)
    return txn.get(key, db=store.db["final"]) is not None or not is_sound(txn.get(key, db=store.db["jobs"]))


def look(
    store: Store,
    txn: Txn,
    job_id: JobId,
    *,
    with_args: bool = False,
    with_attempts: bool = False,
    with_children: bool = False,
) -> Job:
    """What is known of one id."""
    seq = store.seq_of(txn, job_id)
    job = look_at(store, txn, job_id, seq, with_args=with_args)
    if seq is None or job.head is None:
        return job
    if with_attempts:
        job.attempts = attempts_of(store, txn, seq)
    if with_children:
        job.children = children_of(store, txn, seq)
    return job


def look_at(store: Store, txn: Txn, job_id: JobId, seq: int | None, *, with_args: bool = False) -> Job:
    """What is known of the id of this number, without its history."""
    if seq is None:
        return Job(job_id, State.UNKNOWN)
    row = store.job(txn, seq)
    if row is None or row.id != job_id:
        stored = txn.get(U64.pack(seq), db=store.db["jobs"]) is not None
        return Job(job_id, State.FAILED, failure=DAMAGED) if stored else Job(job_id, State.UNKNOWN, forgotten=True)
    return describe(store, txn, seq, row, with_args)


def inputs(store: Store, job: JobId, first: int) -> Inputs | None:
    """Values that a job is handed, from an index on."""
    txn = store.read()
    try:
        seq = store.seq_of(txn, job)
        return inputs_of(store, txn, seq, first) if seq is not None else None
    finally:
        store.done_reading()


def describe(store: Store, txn: Txn, seq: int, row: JobRow, with_args: bool) -> Job:
    """What is known of a stored job, without its history."""
    note, final = store.note(txn, seq), store.final(txn, seq)
    job = tell(store, txn, seq, row, note, final, with_args=with_args)
    if final is None:
        _fill_waiting(store, txn, job, seq, note)
    return job


def _fill_waiting(store: Store, txn: Txn, job: Job, seq: int, note: Note) -> None:
    lease = store.book.by_seq.get(seq)
    if lease is not None:
        job.state, job.worker, job.token = State.RUNNING, lease.holder.name, lease.token
        job.started_ms = lease.since_ms
    elif job.due_ms and txn.get(delayed_key(job.due_ms, seq), db=store.db["delayed"]) is not None:
        job.state = State.SCHEDULED
    elif note.node and store.workflows(txn).waits(seq):
        job.state = State.WAITING
    else:
        job.recovering = store.withheld(note.order or seq)
        lane = store.levels.lanes.get(key_of(job.head)) if job.head is not None else None
        if lane is not None and not job.recovering:
            job.held_by = held_by(store, lane)


def stats(store: Store) -> Stats:
    """Counts by queue, and the fill of the store. Running jobs still stand in their lane, so they are taken off."""
    queues = {}
    for name, (ready, scheduled, *ended) in store.counts.items():
        running = store.book.running.get(name, 0)
        counts = QueueCounts(ready - running, running, scheduled, *ended)
        if any((ready, scheduled, *ended)):
            queues[name] = counts
    used, size = store.capacity.fill()
    return Stats(queues, used, int(size * store.config.high_water), size)
