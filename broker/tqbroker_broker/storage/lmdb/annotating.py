"""Annotate: what a running attempt says of itself. Progress to look at, and a checkpoint for the attempt after it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from tqbroker_broker.attempts import Annotation, Refusal
from tqbroker_broker.storage.lmdb.book import Lease
from tqbroker_broker.storage.lmdb.group import Group
from tqbroker_broker.storage.lmdb.keys import U64
from tqbroker_broker.storage.lmdb.rows import DamagedRecordError, Said, pack_said, unpack_said
from tqbroker_broker.storage.lmdb.store import Store
from tqbroker_broker.storage.lmdb.txn import Txn

ROW_SPACE = 4096
"""Bytes an annotation may take besides what is in it: at worst a page of its own."""

log = logging.getLogger("tqbroker.storage")


def annotate(group: Group, worker: str, annotations: Sequence[Annotation]) -> dict[int, Refusal]:
    """Replaces what is stored; a token that is not the worker's is stale."""
    refused: dict[int, Refusal] = {}
    for annotation in annotations:
        lease = group.live(worker, annotation.token)
        if lease is None:
            refused[annotation.token] = Refusal.STALE
        else:
            _say(group, lease, annotation)
    return refused


def _say(group: Group, lease: Lease, annotation: Annotation) -> None:
    """One put, and at the first word of a job two more, so that whoever sees the job knows that there is something."""
    said = said_of(group.store, group.txn, lease.seq)
    if annotation.progress is not None:
        said = Said(annotation.progress, said.checkpoint, said.format)
    if annotation.checkpoint is not None:
        kind = annotation.checkpoint_format if annotation.checkpoint else ""
        said = Said(said.progress, annotation.checkpoint, kind)
    _put(group, lease.seq, said)
    note = group.note(lease.seq)
    if not note.annotated:
        note.annotated = True
        group.put_note(lease.seq, note)
        group.mark_noted(lease)


def size_of(annotation: Annotation) -> int:
    """Bytes on disk, roughly."""
    meta = annotation.progress.meta if annotation.progress is not None else b""
    return len(meta) + len(annotation.checkpoint or b"") + ROW_SPACE


def _put(group: Group, seq: int, said: Said) -> None:
    group.txn.put(U64.pack(seq), pack_said(said), db=group.store.db["progress"])


def said_of(store: Store, txn: Txn, seq: int) -> Said:
    """What was said of a job; nothing, if it cannot be read any more."""
    try:
        return unpack_said(txn.get(U64.pack(seq), db=store.db["progress"]))
    except DamagedRecordError:
        log.error("the progress of job number %s does not match its checksum", seq)
        return Said()


def drop_checkpoint(group: Group, seq: int) -> None:
    """The job is final: no attempt will need the checkpoint. Its progress stays to be looked at."""
    said = said_of(group.store, group.txn, seq)
    if said.checkpoint:
        _put(group, seq, Said(said.progress))


def drop(group: Group, seq: int) -> None:
    """Drops all that was said of a job."""
    group.txn.delete(U64.pack(seq), db=group.store.db["progress"])
