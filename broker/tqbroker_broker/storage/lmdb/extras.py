"""What goes with a delivered job beside its columns."""

from __future__ import annotations

from tqbroker_broker.answers import Job
from tqbroker_broker.attempts import Extra, Place
from tqbroker_broker.records import JobId
from tqbroker_broker.storage.lmdb.annotating import said_of
from tqbroker_broker.storage.lmdb.rows import JobRow, Note, Said
from tqbroker_broker.storage.lmdb.standing import place_of
from tqbroker_broker.storage.lmdb.store import Store
from tqbroker_broker.storage.lmdb.telling import tell
from tqbroker_broker.storage.lmdb.txn import Txn

NOTHING_SAID = Said()


def extra_of(store: Store, txn: Txn, seq: int, job: JobRow, note: Note | None) -> Extra | None:
    """Times, a checkpoint, a place in a workflow; None for most."""
    said = said_of(store, txn, seq) if note is not None and note.annotated else NOTHING_SAID
    due_ms = (note.due_ms if note is not None else 0) or job.due_ms
    place = _place(store, txn, seq, note) if note is not None and note.node else None
    if not (due_ms or job.expires_ms or said.checkpoint or place):
        return None
    return Extra(due_ms, job.expires_ms, said.checkpoint, said.format, place)


def _place(store: Store, txn: Txn, seq: int, note: Note) -> Place | None:
    place, failed = place_of(store, txn, seq, note)
    return place._replace(cause=_failed(store, txn, failed)) if place is not None and failed else place


def _failed(store: Store, txn: Txn, job_id: JobId) -> Job | None:
    """The job that failed, with its arguments; None if it cannot be read any more."""
    seq = store.seq_of(txn, job_id)
    row = store.job(txn, seq) if seq is not None else None
    if seq is None or row is None:
        return None
    return tell(store, txn, seq, row, store.note(txn, seq), store.final(txn, seq), with_args=True)


def size_of(extra: Extra) -> int:
    """Bytes that it adds to an answer, about."""
    size = len(extra.checkpoint)
    if extra.place is not None:
        if extra.place.inputs is not None:
            size += sum(map(len, extra.place.inputs.values))
        if extra.place.cause is not None:
            size += len(extra.place.cause.args)
    return size
