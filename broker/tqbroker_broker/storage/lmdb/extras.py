"""What goes with delivered jobs beside their columns."""

from __future__ import annotations

from tqbroker_broker.answers import Job
from tqbroker_broker.attempts import Extra, Place
from tqbroker_broker.records import JobId
from tqbroker_broker.storage.lmdb.annotating import said_of
from tqbroker_broker.storage.lmdb.rows import JobRow, Note
from tqbroker_broker.storage.lmdb.standing import Standing, handed_to, standing_of
from tqbroker_broker.storage.lmdb.store import Store
from tqbroker_broker.storage.lmdb.telling import tell
from tqbroker_broker.storage.lmdb.txn import Txn


class Extras:
    """The extras of the jobs of one hand-out. What jobs in a row have in common is looked up once."""

    def __init__(self, store: Store, txn: Txn) -> None:
        self._store = store
        self._txn = txn
        self._standing: Standing | None = None
        self._place: Place | None = None

    def of(self, seq: int, job: JobRow, note: Note | None) -> Extra | None:
        """Times, a checkpoint, a place in a workflow; None for most."""
        if note is None:
            return Extra(job.due_ms, job.expires_ms) if job.due_ms or job.expires_ms else None
        place = self._place_of(seq, note) if note.node else None
        due_ms = note.due_ms or job.due_ms
        if not note.annotated:
            return Extra(due_ms, job.expires_ms, place=place) if due_ms or job.expires_ms or place else None
        said = said_of(self._store, self._txn, seq)
        if not (due_ms or job.expires_ms or said.checkpoint or place):
            return None
        return Extra(due_ms, job.expires_ms, said.checkpoint, said.format, place)

    def _place_of(self, seq: int, note: Note) -> Place | None:
        """The place of a job: that of the one before it, but for the index, if they stand together."""
        stands = self._standing
        if stands is None or not stands.first <= seq < stands.end:
            stands = self._standing = standing_of(self._store.workflows(self._txn), seq)
            self._place = self._find_place(stands) if stands is not None else None
        place = self._place
        if place is None or stands is None:
            return None
        inputs, cause = (place.inputs, place.cause) if not note.bare else (None, None)
        index = stands.index + seq - stands.first if place.group else 0
        return Place(place.workflow, place.root, place.parent, place.group, index, place.in_chord, inputs, cause)

    def _find_place(self, stands: Standing) -> Place:
        group, _, in_chord = stands.group(stands.first)
        inputs = handed_to(self._store, self._txn, stands)
        cause = self._failed(stands.failed) if stands.failed else None
        return Place(stands.workflow.id, stands.workflow.root, stands.parent, group, 0, in_chord, inputs, cause)

    def _failed(self, job_id: JobId) -> Job | None:
        """The job that failed, with its arguments; None if it cannot be read any more."""
        store, txn = self._store, self._txn
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
