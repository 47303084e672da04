"""The history of a job: its earlier attempts, the first and the newest, one row each."""

from __future__ import annotations

import logging

from tqbroker_broker.attempts import PastAttempt
from tqbroker_broker.storage.lmdb.group import Group
from tqbroker_broker.storage.lmdb.keys import PAIR, U64
from tqbroker_broker.storage.lmdb.rows import DamagedRecordError, Note, pack_attempt, unpack_attempt
from tqbroker_broker.storage.lmdb.store import Store
from tqbroker_broker.storage.lmdb.txn import Txn

log = logging.getLogger("tqbroker.storage")


def record(group: Group, seq: int, note: Note, attempt: PastAttempt | None) -> None:
    """Adds an attempt, if there is one to keep, and counts it in the note, which the caller stores."""
    if attempt is None:
        return
    group.txn.put(PAIR.pack(seq, attempt.token), pack_attempt(attempt), db=group.store.db["attempts"])
    note.attempts += 1
    while note.attempts > group.store.config.max_attempts_kept:
        _drop_second(group, seq)
        note.attempts -= 1


def _drop_second(group: Group, seq: int) -> None:
    """Drops the oldest attempt but the first, which is what `lifecycle.kept_attempts` does to a list."""
    cursor = group.txn.cursor(group.store.db["attempts"])
    if cursor.set_range(U64.pack(seq)) and cursor.next() and cursor.key().startswith(U64.pack(seq)):
        cursor.delete()


def drop(group: Group, seq: int) -> None:
    """Drops the history of a job."""
    prefix = U64.pack(seq)
    cursor = group.txn.cursor(group.store.db["attempts"])
    found = cursor.set_range(prefix)
    while found and cursor.key().startswith(prefix):
        found = cursor.delete() and bool(cursor.key())


def attempts_of(store: Store, txn: Txn, seq: int) -> tuple[PastAttempt, ...]:
    """The attempts that are kept of a job, the oldest first. One that cannot be read any more is left out."""
    prefix = U64.pack(seq)
    cursor = txn.cursor(store.db["attempts"])
    found = cursor.set_range(prefix)
    attempts: list[PastAttempt] = []
    while found and cursor.key().startswith(prefix):
        try:
            attempts.append(unpack_attempt(cursor.value()))
        except DamagedRecordError:
            log.error("an attempt of job number %s does not match its checksum", seq)
        found = cursor.next()
    return tuple(attempts)
