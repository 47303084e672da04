"""How a job ends without a worker's outcome, and what is kept of it: cancel, expiry, quarantine, forget."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from tqbroker_broker.attempts import Ending, Failure, Verdict
from tqbroker_broker.lifecycle import Attempt, after_attempt, events_of, keep_until, past_attempt
from tqbroker_broker.questions import EventKind
from tqbroker_broker.records import Head, JobId, State, Time
from tqbroker_broker.rules import PLAIN
from tqbroker_broker.storage.lmdb import annotating, history, uniques
from tqbroker_broker.storage.lmdb.book import Lease
from tqbroker_broker.storage.lmdb.group import COLUMN, READY, SCHEDULED, WAITING, Group
from tqbroker_broker.storage.lmdb.keys import MEMORY, NOTED, TOKEN_AT, U64, delayed_key, first_number, order_of
from tqbroker_broker.storage.lmdb.rows import DAMAGED, Final, JobRow, Note, pack_failure, pack_final, pack_trail
from tqbroker_broker.storage.lmdb.workflow_writer import Ended

log = logging.getLogger("tqbroker.storage")


def put_final(
    group: Group, seq: int, head: Head, note: Note, final: Final, *, job: JobId = b"", spared: bool = False
) -> None:
    """Writes how a job ended without success, and plans when it is dropped. The caller has removed it from its place.

    What follows for the workflow of a job that has one is for the caller to see to (following.py).
    """
    if note.annotated:
        annotating.drop_checkpoint(group, seq)
    if head.traits is not PLAIN:
        uniques.free(group, seq, head)
    key = U64.pack(seq)
    write_final(group, key, final)
    group.count(head.queue, COLUMN[final.state], 1)
    keep_ms = keep_until(final.state, final.finished_ms, head.result_ttl_ms, group.store.config)
    if note.node:
        group.workflows.ended.append(Ended(seq, final.state, keep_ms, 0, job, spared, final.value))
    else:
        group.retaining(keep_ms).append(key)


def write_final(group: Group, key: bytes, final: Final) -> None:
    """Writes how the job with this seq as key ended; dead letters are listed in a database of their own."""
    group.txn.put(key, pack_final(final, first_number(key)), db=group.store.db["final"])
    if final.state is State.FAILED:
        group.txn.put(key, b"", db=group.store.db["dead"])


def put_children(group: Group, seq: int, children: Sequence[JobId]) -> None:
    """Stores which jobs the body of a job that ends has submitted, if any."""
    if children:
        group.txn.put(U64.pack(seq), pack_trail(children), db=group.store.db["trails"])


def take_waiting(group: Group, seq: int, job: JobRow, note: Note) -> bool:
    """Removes a job from where it waits. False when it waits nowhere."""
    lane = group.lane(job.head)
    if group.txn.delete(group.store.place(seq, lane, note), db=group.store.db["lanes"]):
        group.count(lane.queue, READY, -1)
        return True
    due_ms = note.due_ms or job.due_ms
    if due_ms and group.txn.delete(delayed_key(due_ms, seq), db=group.store.db["delayed"]):
        group.count(lane.queue, SCHEDULED, -1)
        return True
    return False


def end_waiting(
    group: Group, seq: int, job: JobRow, note: Note, state: State, now: Time, failure: Failure | None = None
) -> bool:
    """Ends a job that no worker holds. False when it waits nowhere."""
    if note.node and not note.alone and group.workflows.waits(seq):
        note.alone = True
        group.put_note(seq, note)
        group.count(job.head.queue, WAITING, -1)
    elif take_waiting(group, seq, job, note):
        group.claim(seq, group.lane(job.head), note.order or seq)
    else:
        return False
    value = pack_failure(failure)
    put_final(group, seq, job.head, note, Final(state, 0, 0, now.wall_ms, note.retries, note.lost, value=value))
    kind = EventKind.FAILED if state is State.FAILED else EventKind.REVOKED
    group.event(kind, now, [job.id], job.head, failure=failure)
    return True


def lose(group: Group, lease: Lease, failure: Failure, now: Time, ending: Ending | None = None) -> bool:
    """Ends a lease as lost, durably: the job keeps its place, or is final. Returns whether it is final.

    Without an `ending` no outcome ended the attempt, so one that comes late is stale.
    """
    ending = ending or Ending(0, Verdict.LOST, None)
    if not ending.started_ms:
        ending = ending._replace(started_ms=lease.since_ms)
    group.end(lease)
    note = group.note(lease.seq)
    after = after_attempt(
        Attempt(Verdict.LOST, 0, note.retries, note.lost, note.cancel > 0), group.store.config.max_lost_leases
    )
    note.floor, note.lost = lease.token, after.lost
    past = past_attempt(lease.holder.name, lease.token, ending, failure, after, now.wall_ms)
    history.record(group, lease.seq, note, past)
    for kind in events_of(Verdict.LOST, after.state):
        group.event(kind, now, [lease.id], lease.head, worker=lease.holder.name, failure=failure)
    group.put_note(lease.seq, note)
    if after.state is State.QUEUED:
        group.txn.put(lease.key, U64.pack(lease.seq) + NOTED, db=group.store.db["lanes"])
        group.ready(lease.lane, order_of(lease.key))
        return False
    group.txn.delete(lease.key, db=group.store.db["lanes"])
    group.count(lease.lane.queue, READY, -1)
    value = pack_failure(failure) if after.state is State.FAILED else b""
    final = Final(
        after.state, ending.token, ending.started_ms, now.wall_ms, after.retries, after.lost,
        worker=lease.holder.name, value=value,
    )  # fmt: skip
    put_final(group, lease.seq, lease.head, note, final)
    put_children(group, lease.seq, ending.children)
    return True


def forget(group: Group, ids: Sequence[JobId], now: Time) -> int:
    """Drops what is kept of finished jobs."""
    dropped = 0
    for job_id in ids:
        seq = group.store.seq_of(group.txn, job_id)
        if seq is None or is_held(group, seq):
            continue
        job = group.store.job(group.txn, seq)
        if job is not None and job.id == job_id and drop_finished(group, seq, now):
            dropped += 1
    return dropped


def is_held(group: Group, seq: int) -> bool:
    """Whether a job belongs to a workflow of which some jobs have not ended: they are dropped together."""
    return group.look_at_note(seq).node and not group.workflows.is_over(seq)


def drop_finished(group: Group, seq: int, now: Time, *, early: bool = True, alone: bool = True) -> bool:
    """Drops a finished job; its id stays remembered until the dedup window ends. False: nothing to drop.

    Not `early`: one whose time has not come, because it was redriven and finished again, is planned for then. `alone`:
    if it belongs to a workflow that stays, the id is kept for its lists.
    """
    store, txn, key = group.store, group.txn, U64.pack(seq)
    final, job = store.final(txn, seq), store.job(txn, seq)
    if final is None or job is None:
        return False
    aged_ms = store.aging.wall_ms(now)
    keep_ms = keep_until(final.state, final.finished_ms, job.head.result_ttl_ms, store.config)
    if not early and keep_ms > aged_ms:
        group.retaining(keep_ms).append(key)
        return False
    if alone and group.look_at_note(seq).node:
        txn.put(key, job.id, db=store.db["forgotten"])
    for name in ("final", "jobs"):
        txn.delete(key, db=store.db[name])
    if final.state is State.FAILED:
        txn.delete(key, db=store.db["dead"])
    if txn.delete(key, db=store.db["notes"]):
        history.drop(group, seq)
        annotating.drop(group, seq)
    txn.delete(key, db=store.db["trails"])
    group.count(job.head.queue, COLUMN[final.state], -1)
    until_ms = job.submitted_ms + int(store.config.dedup_window * 1000)
    if until_ms <= aged_ms:
        txn.delete(job.id, db=store.db["ids"])
    else:
        _remember(group, seq, job.id, final.token, until_ms)
    return True


def _remember(group: Group, seq: int, job: JobId, token: int, until_ms: int) -> None:
    """The id of a job that was dropped is known until its time has come, with the token that ended the job."""
    row = group.txn.get(job, db=group.store.db["ids"])
    if row is None or first_number(row) != seq:
        log.error("job number %s was not known under its id: tqbroker verify says what is damaged", seq)
        return
    group.txn.put(job, row[:TOKEN_AT] + U64.pack(token), db=group.store.db["ids"])
    group.remembered += 1
    group.plan(MEMORY, until_ms, job)


def put_damaged(group: Group, seq: int, now: Time) -> JobId | None:
    """Ends a job that cannot be read; what is left of it is kept for the operator. Returns its id if that is known."""
    final = Final(State.FAILED, finished_ms=now.wall_ms, value=pack_failure(DAMAGED))
    write_final(group, U64.pack(seq), final)
    job = group.store.damaged_id(group.txn, seq)
    if group.note(seq).node:
        keep_ms = keep_until(final.state, now.wall_ms, 0, group.store.config)
        group.workflows.ended.append(Ended(seq, final.state, keep_ms, 0, job or b"", False, final.value))
    if job is not None:
        group.event(EventKind.FAILED, now, [job], Head("", "", 0, ""), failure=DAMAGED)
    return job
