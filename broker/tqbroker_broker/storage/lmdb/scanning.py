"""Jobs by filter, a page at a time.

A page looks at a bounded number of keys of one database, the smallest that holds all jobs of the wanted states: dead
letters are found without passing millions of queued jobs, and the queued jobs of a small queue without passing those of
large ones. The cursor is the key at which to go on, so that nothing is kept between two pages and no change in between
can break it.
"""

from __future__ import annotations

from heapq import nsmallest

from tqbroker_broker.answers import Job
from tqbroker_broker.lifecycle import FINAL
from tqbroker_broker.questions import Filter, Page
from tqbroker_broker.records import State
from tqbroker_broker.selection import fate_matches, submit_matches
from tqbroker_broker.storage.lmdb.keys import U64, first_number
from tqbroker_broker.storage.lmdb.reading import describe
from tqbroker_broker.storage.lmdb.rows import DAMAGED
from tqbroker_broker.storage.lmdb.store import Store
from tqbroker_broker.storage.lmdb.txn import Txn

LOOKS = 2000
"""Keys a page looks at: the loop stands still for some 10 ms at most."""

PAGE_BYTES = 1 << 20
"""Arguments and results after which a page is full, so that it fits into a message."""

IN_LANES = frozenset({State.QUEUED, State.RUNNING})
"""States whose jobs stand in the lanes of their queue."""

KEY_SIZE = 16
"""No key of the databases that are walked is longer."""

# The databases whose keys end with the seqs of the jobs of one state.
BY_STATE = {State.FAILED: "dead", State.SCHEDULED: "delayed"}


def scan(store: Store, wanted: Filter, cursor: bytes, limit: int, with_args: bool) -> Page:
    """A page of the jobs that match."""
    txn = store.read()
    try:
        places, rest = _places(store, txn, wanted, cursor)
        jobs: list[Job] = []
        size = 0
        for place, seq in places:
            if len(jobs) >= limit or size >= PAGE_BYTES:
                return Page(jobs, place)
            job = _look(store, txn, seq, wanted, with_args)
            if job is not None:
                jobs.append(job)
                size += len(job.args) + len(job.result)
        return Page(jobs, rest)
    finally:
        store.done_reading()


def _places(store: Store, txn: Txn, wanted: Filter, cursor: bytes) -> tuple[list[tuple[bytes, int]], bytes]:
    """The jobs to look at, each with the cursor that leads to it, and the one that leads behind (empty: no more)."""
    if wanted.queue and State.QUEUED in wanted.states <= IN_LANES:
        return _in_lanes(store, txn, wanted.queue, cursor[:KEY_SIZE], cursor[KEY_SIZE:])
    keys, rest = _keys(store, txn, wanted.states, cursor[:KEY_SIZE])
    return [(key, first_number(key[-U64.size :])) for key in keys], rest


def _in_lanes(store: Store, txn: Txn, queue: str, start: bytes, end: bytes) -> tuple[list[tuple[bytes, int]], bytes]:
    """The jobs in the lanes of a queue, lane after lane, without those that came there after the first page.

    So a job that goes to the end of its lane, or to another lane, does not come again, and the list has an end.
    """
    end = end or U64.pack(store.next_seq)
    first = first_number(start) if len(start) == KEY_SIZE else 0
    lanes = nsmallest(LOOKS, (lane.number for lane in store.levels.lanes.of(queue) if lane.number >= first))
    cursor = txn.cursor(store.db["lanes"])
    places: list[tuple[bytes, int]] = []
    for prefix in map(U64.pack, lanes):
        found = cursor.set_range(max(prefix, start))
        while found and (key := cursor.key()).startswith(prefix) and key[U64.size :] < end:
            if len(places) == LOOKS:
                return places, key + end
            places.append((key + end, first_number(cursor.value())))
            found = cursor.next()
    return places, U64.pack(lanes[-1] + 1) + bytes(U64.size) + end if len(lanes) == LOOKS else b""


def _keys(store: Store, txn: Txn, states: frozenset[State], start: bytes) -> tuple[list[bytes], bytes]:
    """The keys to look at, and the one at which to go on after them (empty: no more)."""
    if states == {State.RUNNING}:
        keys = nsmallest(LOOKS + 1, (key for key in map(U64.pack, store.book.by_seq) if key >= start))
        return _cut(keys)
    database = _database(states)
    keys, rest = _cut(_walk(store, txn, database, start))
    if database == "jobs" and states and not states & FINAL and keys:
        ended = frozenset(_walk(store, txn, "final", keys[0], keys[-1]))
        keys = [key for key in keys if key not in ended]
    return keys, rest


def _cut(keys: list[bytes]) -> tuple[list[bytes], bytes]:
    """The keys of one page, and the first of the next."""
    return (keys[:LOOKS], keys[LOOKS]) if len(keys) > LOOKS else (keys, b"")


def _database(states: frozenset[State]) -> str:
    """The smallest database that holds every job of these states."""
    if len(states) == 1:
        return BY_STATE.get(next(iter(states)), "final" if states <= FINAL else "jobs")
    return "final" if states and states <= FINAL else "jobs"


def _walk(store: Store, txn: Txn, database: str, start: bytes, end: bytes = b"\xff" * KEY_SIZE) -> list[bytes]:
    """The keys from one up to another, one more than a page looks at."""
    cursor = txn.cursor(store.db[database])
    keys: list[bytes] = []
    found = cursor.set_range(start)
    while found and len(keys) <= LOOKS and (key := cursor.key()) <= end:
        keys.append(key)
        found = cursor.next()
    return keys


def _look(store: Store, txn: Txn, seq: int, wanted: Filter, with_args: bool) -> Job | None:
    """The job with this number, if it is there and matches."""
    row = store.job(txn, seq)
    if row is None:
        return _damaged(store, txn, seq, wanted)
    if not submit_matches(wanted, row.head, row.submitted_ms):
        return None
    job = describe(store, txn, seq, row, with_args)
    return job if fate_matches(wanted, job) else None


def _damaged(store: Store, txn: Txn, seq: int, wanted: Filter) -> Job | None:
    """A job that cannot be read is a dead letter of which only the id is known, and that not always."""
    job_id = store.damaged_id(txn, seq)
    if job_id is None or wanted._replace(states=frozenset(), worker="", error="") != Filter():
        return None
    job = Job(job_id, State.FAILED, failure=DAMAGED)
    return job if fate_matches(wanted, job) else None
