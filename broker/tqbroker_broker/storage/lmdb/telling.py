"""What is known of a job that is stored, without what only the moment decides: who holds it, why it waits."""

from __future__ import annotations

from tqbroker_broker.answers import Job
from tqbroker_broker.records import State
from tqbroker_broker.storage.lmdb import standing
from tqbroker_broker.storage.lmdb.annotating import said_of
from tqbroker_broker.storage.lmdb.rows import Final, JobRow, Note, unpack_failure
from tqbroker_broker.storage.lmdb.store import Store
from tqbroker_broker.storage.lmdb.txn import Txn


def tell(
    store: Store, txn: Txn, seq: int, row: JobRow, note: Note, final: Final | None, *, with_args: bool = False
) -> Job:
    """A job as it was submitted, what happened to it, and how it ended; QUEUED if it has not."""
    job = Job(
        row.id, State.QUEUED, head=row.head, args=row.args if with_args else b"", submitted_ms=row.submitted_ms,
        due_ms=note.due_ms or row.due_ms, expires_ms=row.expires_ms, retries=note.retries, lost=note.lost,
        cancel_requested=note.cancel > 0,
    )  # fmt: skip
    if note.annotated:
        job.progress = said_of(store, txn, seq).progress
    if note.node:
        standing.describe(store, txn, job, seq, note, final)
    if final is not None:
        _fill_final(job, final)
    return job


def _fill_final(job: Job, final: Final) -> None:
    job.state, job.token = final.state, final.token
    job.started_ms, job.finished_ms = final.started_ms, final.finished_ms
    job.retries, job.lost, job.worker = final.retries, final.lost, final.worker
    if final.state is State.SUCCEEDED:
        job.result, job.result_format = final.value, final.format
    else:
        job.failure = unpack_failure(final.value)
