"""Unique keys: who holds which. The row of a key is written and removed in the commits of its job."""

from __future__ import annotations

import logging

from tqbroker_broker.lifecycle import holds_key
from tqbroker_broker.records import Head, JobId, State, Time
from tqbroker_broker.rules import Unique, UniqueUntil
from tqbroker_broker.storage.lmdb.group import Group
from tqbroker_broker.storage.lmdb.keys import KEYS, U64, delayed_key
from tqbroker_broker.storage.lmdb.rows import DamagedRecordError, Holding, pack_holding, unpack_holding

log = logging.getLogger("tqbroker.storage")


def take(group: Group, key: bytes, seq: int, job: JobId, unique: Unique, now: Time) -> None:
    """A job that is stored now takes the key. One that outlives its job is put on the agenda."""
    group.txn.put(key, pack_holding(Holding(seq, job, unique, now.wall_ms)), db=group.store.db["uniques"])
    if unique.until is UniqueUntil.TIME:
        group.plan(KEYS, now.wall_ms + unique.for_ms, key + U64.pack(seq))


def holder(group: Group, key: bytes, now: Time) -> Holding | None:
    """The job that holds the key now, if any does."""
    holding = _holding(group, key)
    if holding is None:
        return None
    state = state_of(group, holding.seq)
    return holding if holds_key(holding.unique, state, holding.submitted_ms, now.wall_ms) else None


def free(group: Group, seq: int, head: Head) -> None:
    """A job is final: its key is free, unless it is held for a time or another job has taken it."""
    if head.traits.unique is None or head.traits.unique.until is UniqueUntil.TIME:
        return
    job = group.store.job(group.txn, seq)
    if job is not None and job.unique:
        remove(group, job.unique, seq)


def remove(group: Group, key: bytes, seq: int) -> bool:
    """Removes the row of a key if it is this job's. Returns whether it was."""
    holding = _holding(group, key)
    if holding is None or holding.seq != seq:
        return False
    return group.txn.delete(key, db=group.store.db["uniques"])


def _holding(group: Group, key: bytes) -> Holding | None:
    row = group.txn.get(key, db=group.store.db["uniques"])
    try:
        return unpack_holding(row) if row is not None else None
    except DamagedRecordError:
        log.error("the row of a unique key does not match its checksum; the key counts as free")
        return None


def state_of(group: Group, seq: int) -> State:
    """The state of a job as this commit sees it; UNKNOWN when it was dropped or cannot be read any more."""
    store, txn = group.store, group.txn
    lease = store.book.by_seq.get(seq) or group.adopted.get(seq)
    if lease is not None and lease.token not in group.ended:
        return State.RUNNING
    final = store.final(txn, seq)
    if final is not None:
        return final.state
    job = store.job(txn, seq)
    if job is None:
        return State.UNKNOWN
    note = store.note(txn, seq)
    if note.node and group.workflows.waits(seq):
        return State.WAITING
    due_ms = note.due_ms or job.due_ms
    scheduled = due_ms and txn.get(delayed_key(due_ms, seq), db=store.db["delayed"]) is not None
    return State.SCHEDULED if scheduled else State.QUEUED
