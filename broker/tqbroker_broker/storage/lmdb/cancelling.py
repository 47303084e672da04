"""Cancel: what waits ends, what runs is marked."""

from __future__ import annotations

from collections.abc import Sequence

from tqbroker_broker.answers import CancelAnswer, Cancelled, Mark
from tqbroker_broker.records import JobId, State, Time
from tqbroker_broker.storage.lmdb.endings import end_waiting
from tqbroker_broker.storage.lmdb.following import follow
from tqbroker_broker.storage.lmdb.group import Group
from tqbroker_broker.storage.lmdb.keys import MARKS, NOTED, U64
from tqbroker_broker.storage.lmdb.rows import Note


def cancel(group: Group, ids: Sequence[JobId], mark: Mark, now: Time) -> CancelAnswer:
    """Cancels what waits; marks what runs, or may run because its worker has not come back yet."""
    tokens: dict[str, list[int]] = {}
    effects: list[Cancelled] = []
    final: list[JobId] = []
    for job in ids:
        effects.append(_cancel_one(group, job, mark, tokens, now))
        final += follow(group, now).final
    return CancelAnswer(effects, tokens, tuple(final))


def _cancel_one(group: Group, job_id: JobId, mark: Mark, tokens: dict[str, list[int]], now: Time) -> Cancelled:
    store, txn = group.store, group.txn
    seq = store.seq_of(txn, job_id)
    if seq is None:
        return Cancelled.UNKNOWN
    job = store.job(txn, seq)
    if job is None or job.id != job_id or txn.get(U64.pack(seq), db=store.db["final"]) is not None:
        return Cancelled.FINAL
    lease = store.book.by_seq.get(seq) or group.adopted.get(seq)
    note = store.note(txn, seq)
    if lease is not None and lease.token not in group.ended:
        tokens.setdefault(lease.holder.name, []).append(lease.token)
        _mark(group, seq, note, mark, lease.key)
        group.effects.append(lambda: setattr(lease, "mark", note.cancel))
        return Cancelled.RUNNING
    if note.node and group.workflows.is_staged(seq):
        _mark(group, seq, note, mark, None)
        return Cancelled.PENDING
    place = store.place(seq, group.lane(job.head), note)
    if store.withheld(note.order or seq) and txn.get(place, db=store.db["lanes"]) is not None:
        _mark(group, seq, note, mark, place)
        return Cancelled.PENDING
    end_waiting(group, seq, job, note, State.CANCELLED, now)
    return Cancelled.CANCELLED


def _mark(group: Group, seq: int, note: Note, mark: Mark, place: bytes | None) -> None:
    """Stores a cancel mark unless as strong a one is there. The first goes on the agenda: the worker may not return."""
    first = not note.cancel
    if note.cancel >= mark:
        return
    note.cancel = mark
    group.put_note(seq, note)
    if not first:
        return
    if place is not None:
        group.txn.put(place, U64.pack(seq) + NOTED, db=group.store.db["lanes"])
    group.plan(MARKS, 0, U64.pack(seq))
