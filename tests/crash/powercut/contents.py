"""What stands in a store's data file, as far as claims speak of it, read without the broker."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import lmdb
import msgspec

from tqbroker_broker.schedules import ScheduleState
from tqbroker_broker.storage.lmdb.keys import DATABASES, first_number
from tqbroker_broker.storage.lmdb.rows import (
    JOB_AT,
    check,
    unpack_final,
    unpack_holding,
    unpack_job,
    unpack_note,
    unpack_said,
)
from tqbroker_broker.storage.lmdb.txn import Database, Txn, begin

MAP_SIZE = 1 << 28
"""Far more than a recording of some seconds writes."""

CACHED = 1 << 15
"""Rows that are not unpacked again: from one commit to the next hardly any change."""


class Job(NamedTuple):
    """A stored job. `state` is 0 while it has not ended; `value` is its result."""

    task: str
    queue: str
    args: bytes
    state: int
    value: bytes
    retries: int
    cancel: bool
    checkpoint: bytes


class Contents(NamedTuple):
    """All jobs and keys by their bytes, and the intervals of schedules (ms) by name."""

    jobs: dict[bytes, Job]
    keys: dict[bytes, bytes]
    schedules: dict[str, int]


@contextmanager
def opened(path: Path) -> Iterator[lmdb.Environment]:
    """The environment, without locks and flushes: nobody else has this file, and it is thrown away."""
    env = lmdb.open(str(path), subdir=False, lock=False, sync=False, max_dbs=len(DATABASES), map_size=MAP_SIZE)
    try:
        yield env
    finally:
        env.close()


def databases(env: Any, txn: Txn) -> dict[str, Database]:
    """Those that are there."""
    found = {}
    for name in DATABASES:
        try:
            found[name] = env.open_db(name.encode(), txn=txn, create=False)
        except lmdb.NotFoundError:
            continue
    return found


def digest(env: lmdb.Environment) -> str:
    """What two files have in common when all of their rows are equal. Reads every page that is in use.

    Of this process and its forks only: nothing is faster than Python's own hash, which is seeded.
    """
    txn = begin(env)
    try:
        rows = (hash(b"".join(chain.from_iterable(txn.cursor(db)))) for db in databases(env, txn).values())
        return " ".join(map(str, rows))
    finally:
        txn.abort()


def contents(env: lmdb.Environment) -> Contents:
    """Everything. Raises DamagedRecordError where a row does not match its checksum."""
    txn = begin(env)
    try:
        rows = {name: dict(txn.cursor(db)) for name, db in databases(env, txn).items()}
    finally:
        txn.abort()
    jobs = dict(_jobs(rows)) if "jobs" in rows else {}
    keys = {key: unpack_holding(row).id for key, row in rows.get("uniques", {}).items()}
    schedules = [_schedule(row) for row in rows.get("schedules", {}).values()]
    return Contents(jobs, keys, {each.schedule.name: each.schedule.every_ms for each in schedules})


def _jobs(rows: dict[str, dict[bytes, bytes]]) -> Iterator[tuple[bytes, Job]]:
    for key, row in rows["jobs"].items():
        seq = first_number(key)
        name, job = _job(seq, row, rows["notes"].get(key), rows["final"].get(key), rows["progress"].get(key))
        if first_number(rows["ids"].get(name, b"\0" * 8)) == seq:
            yield name, job  # else the id does not lead to the job: as good as lost


@functools.lru_cache(CACHED)
def _job(
    seq: int, row: bytes, note_row: bytes | None, final_row: bytes | None, said: bytes | None
) -> tuple[bytes, Job]:
    job, note = unpack_job(row), unpack_note(note_row)
    final = unpack_final(final_row, seq) if final_row is not None else None
    state, value = (int(final.state), final.value) if final is not None else (0, b"")
    retries = max(note.retries, final.retries if final is not None else 0)
    checkpoint = unpack_said(said).checkpoint
    return job.id, Job(job.head.task, job.head.queue, job.args, state, value, retries, bool(note.cancel), checkpoint)


def _schedule(row: bytes) -> ScheduleState:
    return msgspec.msgpack.decode(check(row)[JOB_AT:], type=ScheduleState)
