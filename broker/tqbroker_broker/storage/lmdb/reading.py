"""What is known: of single jobs, of queues, of the store."""

from __future__ import annotations

from collections.abc import Sequence

from tqbroker_broker.answers import Job, QueueCounts, Stats
from tqbroker_broker.records import JobId, State
from tqbroker_broker.storage.lmdb.annotating import said_of
from tqbroker_broker.storage.lmdb.history import attempts_of
from tqbroker_broker.storage.lmdb.keys import U64, delayed_key
from tqbroker_broker.storage.lmdb.lanes import key_of
from tqbroker_broker.storage.lmdb.rows import DAMAGED, Final, JobRow, Note, unpack_failure
from tqbroker_broker.storage.lmdb.rulebook import held_by
from tqbroker_broker.storage.lmdb.store import Store
from tqbroker_broker.storage.lmdb.txn import Txn


def get(store: Store, ids: Sequence[JobId], with_args: bool, with_attempts: bool) -> list[Job]:
    """What is known of these ids, in order."""
    txn = store.read()
    try:
        return [_job(store, txn, job, with_args, with_attempts) for job in ids]
    finally:
        store.done_reading()


def _job(store: Store, txn: Txn, job_id: JobId, with_args: bool, with_attempts: bool) -> Job:
    seq = store.seq_of(txn, job_id)
    if seq is None:
        return Job(job_id, State.UNKNOWN)
    row = store.job(txn, seq)
    if row is None:
        stored = txn.get(U64.pack(seq), db=store.db["jobs"]) is not None
        return Job(job_id, State.FAILED, failure=DAMAGED) if stored else Job(job_id, State.UNKNOWN, forgotten=True)
    job = describe(store, txn, seq, row, with_args)
    if with_attempts:
        job.attempts = attempts_of(store, txn, seq)
    return job


def describe(store: Store, txn: Txn, seq: int, row: JobRow, with_args: bool) -> Job:
    """What is known of a stored job, without its history."""
    note = store.note(txn, seq)
    job = Job(
        row.id, State.QUEUED, head=row.head, args=row.args if with_args else b"", submitted_ms=row.submitted_ms,
        due_ms=note.due_ms or row.due_ms, expires_ms=row.expires_ms, retries=note.retries, lost=note.lost,
        cancel_requested=note.cancel > 0,
    )  # fmt: skip
    if note.annotated:
        job.progress = said_of(store, txn, seq).progress
    final = store.final(txn, seq)
    if final is not None:
        _fill_final(job, final)
    else:
        _fill_waiting(store, txn, job, seq, note)
    return job


def _fill_final(job: Job, final: Final) -> None:
    job.state, job.token = final.state, final.token
    job.started_ms, job.finished_ms = final.started_ms, final.finished_ms
    job.retries, job.lost, job.worker = final.retries, final.lost, final.worker
    if final.state is State.SUCCEEDED:
        job.result, job.result_format = final.value, final.format
    else:
        job.failure = unpack_failure(final.value)


def _fill_waiting(store: Store, txn: Txn, job: Job, seq: int, note: Note) -> None:
    lease = store.book.by_seq.get(seq)
    if lease is not None:
        job.state, job.worker, job.token = State.RUNNING, lease.holder.name, lease.token
        job.started_ms = lease.since_ms
    elif job.due_ms and txn.get(delayed_key(job.due_ms, seq), db=store.db["delayed"]) is not None:
        job.state = State.SCHEDULED
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
    used, size = store.fill()
    return Stats(queues, used, int(size * store.config.high_water), size)
