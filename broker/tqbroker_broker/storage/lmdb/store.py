"""What all verbs share: the environment, the counters, the lanes, the book of leases."""

from __future__ import annotations

import logging
from pathlib import Path

import lmdb
import msgspec

from tqbroker_broker.aging import Aging
from tqbroker_broker.config import StorageConfig
from tqbroker_broker.records import JobId, State, Time
from tqbroker_broker.schedules import ScheduleState
from tqbroker_broker.storage.lmdb import holding
from tqbroker_broker.storage.lmdb.book import Book, Holder
from tqbroker_broker.storage.lmdb.bounds import Bounds
from tqbroker_broker.storage.lmdb.capacity import Capacity
from tqbroker_broker.storage.lmdb.events import EventLog
from tqbroker_broker.storage.lmdb.keys import (
    COLUMNS,
    DATABASES,
    HELD_BACK,
    NEXT_EVENT,
    NEXT_SEQ,
    REMEMBERED,
    TOKEN_AT,
    U64,
    first_number,
    order_of,
)
from tqbroker_broker.storage.lmdb.lanes import Lane, LaneKey
from tqbroker_broker.storage.lmdb.levels import Levels
from tqbroker_broker.storage.lmdb.rows import (
    DAMAGED,
    DamagedRecordError,
    Final,
    JobRow,
    Note,
    id_of,
    pack_failure,
    unpack_final,
    unpack_job,
    unpack_note,
)
from tqbroker_broker.storage.lmdb.txn import Txn, begin
from tqbroker_broker.storage.lmdb.workflow_reader import WorkflowReader

WAITING = COLUMNS - 1
"""The last column of a row in `counts`."""

MAX_TOKEN = (1 << 64) - 1
MAX_ID = 511
"""Bytes a key of LMDB may have; no id has as many."""

log = logging.getLogger("tqbroker.storage")


class Store:
    """The state of one open environment. Only the event loop and, while it waits, the writer thread touch it."""

    def __init__(self, env: lmdb.Environment, directory: Path, config: StorageConfig) -> None:
        self.env = env
        self.directory = directory
        self.config = config
        with env.begin(write=True) as txn:
            self.db = {name: env.open_db(name.encode(), txn=txn) for name in DATABASES}
        self.levels = Levels()
        self.queue_rules = self.levels.rules
        self.book = Book(self.levels)
        self.log = EventLog()
        self.aging = Aging(max(config.result_ttl, config.dedup_window))
        self.stored_held = self.aging.held
        """What is on the disk of `aging`."""
        self.bounds: dict[str, Bounds[Lane]] = {}
        """Where the lanes of a queue begin, if it is full and the oldest job goes for a new one."""
        self.schedules: dict[str, ScheduleState] = {}
        self.counts: dict[str, list[int]] = {}
        self.waiting = 0
        """Jobs that wait for others: all of them may end in one step."""
        self.next_seq = 1
        self.remembered = 0
        self.boot_order = 1
        self.recovery_end: float | None = None
        self.listed: dict[str, bytes] = {}
        """The workers on the list when the store was opened, with their instances: only they resume what they had."""
        self.claimed: set[int] = set()
        self.resume: dict[bytes, bytes] = {}
        """Where on the agenda the next slice of each kind goes on, when the last one could not look at everything."""
        self.shut: set[Holder] = set()
        """Holders whose removal is on its way to the disk."""
        self.passed_over_ms = 0
        self.now_ms = 0
        self.damaged: dict[int, tuple[Lane, bytes]] = {}
        self._reader: Txn | None = None
        self._workflows: WorkflowReader | None = None
        self.commits = 0
        self.capacity = Capacity(self)

    def load(self, now: Time) -> None:
        """Reads what a start needs: counters, lane names, the workers to wait for. Nothing grows with the backlog."""
        read = self.read()
        for key, value in read.cursor(self.db["counts"]):
            if key == NEXT_SEQ:
                self.next_seq = U64.unpack(value)[0]
            elif key == NEXT_EVENT:
                self.log.next = U64.unpack(value)[0]
            elif key == REMEMBERED:
                self.remembered = U64.unpack(value)[0]
            else:
                row = msgspec.msgpack.decode(value, type=list[int])
                row += [0] * (COLUMNS - len(row))
                self.counts[key.decode()] = row
                self.waiting += row[WAITING]
        self.boot_order = self.next_seq
        self.stored_held = self.aging.held = holding.unpack(read.get(HELD_BACK, db=self.db["meta"]))
        self.aging.see(now)
        for name, instance in read.cursor(self.db["workers"]):
            deadline = now.mono + self.config.lease_ttl
            self.book.holders[name.decode()] = Holder(name.decode(), instance, deadline, awaited=True)
            self.listed[name.decode()] = instance
        self.recovery_end = now.mono + self.config.lease_ttl if self.book.holders else None
        self.now_ms = int(now.mono * 1000)
        self._load_lanes(read)
        self.look_again()

    def _load_lanes(self, read: Txn) -> None:
        """The names of all lanes, and where those of which there may be many begin, so that the oldest is found."""
        decode = msgspec.msgpack.Decoder(LaneKey).decode
        cursor = read.cursor(self.db["lanes"])
        for prefix, name in read.cursor(self.db["names"]):
            key = decode(name)
            lane = Lane(first_number(prefix), key, self.levels.kind(key))
            lane.first = 0
            if lane.passing and cursor.set_range(prefix) and (place := cursor.key()).startswith(prefix):
                lane.first = order_of(place)
            self.levels.lanes.add(lane)

    def tick(self, now: Time) -> int:
        """Keeps the time (milliseconds) for those who ask without one."""
        self.now_ms = int(now.mono * 1000)
        return self.now_ms

    # -- reading: every call sees the newest commit ------------------------------------------------------------------

    def read(self) -> Txn:
        """The loop's read transaction, renewed: it is never held over an await, so it never keeps old pages alive."""
        if self._reader is not None:
            self._reader.abort()
        self._reader = begin(self.env)
        self._workflows = None
        return self._reader

    def done_reading(self) -> None:
        """Lets go of the snapshot."""
        if self._reader is not None:
            self._reader.abort()
            self._reader = self._workflows = None

    def workflows(self, txn: Txn) -> WorkflowReader:
        """What a transaction that only reads has seen of workflows."""
        if txn is not self._reader:
            return WorkflowReader(self, txn)
        if self._workflows is None:
            self._workflows = WorkflowReader(self, txn)
        return self._workflows

    def seq_of(self, txn: Txn, job: JobId) -> int | None:
        """The number of the job with this id, or None if the id was never seen."""
        row = txn.get(job, db=self.db["ids"])
        return first_number(row) if row is not None else None

    def job(self, txn: Txn, seq: int) -> JobRow | None:
        """The job as submitted, unless it was dropped or cannot be read any more."""
        row = txn.get(U64.pack(seq), db=self.db["jobs"])
        try:
            return unpack_job(row) if row is not None else None
        except DamagedRecordError:
            log.error("job number %s does not match its checksum", seq)
            return None

    def node_id(self, txn: Txn, seq: int) -> JobId:
        """The id of a job of a workflow, also if the job was dropped or cannot be read; empty of what is none."""
        job = self.job(txn, seq)
        if job is not None:
            return job.id
        return txn.get(U64.pack(seq), db=self.db["forgotten"]) or self.damaged_id(txn, seq) or b""

    def damaged_id(self, txn: Txn, seq: int) -> JobId | None:
        """The id of a job that cannot be read, if what stands in its place is an id and leads back to the job."""
        job = id_of(txn.get(U64.pack(seq), db=self.db["jobs"]) or b"")
        known = 0 < len(job) <= MAX_ID and self.seq_of(txn, job) == seq
        return job if known else None

    def final(self, txn: Txn, seq: int) -> Final | None:
        """How the job ended, if it has. What cannot be read any more counts as a failure that says so."""
        row = txn.get(U64.pack(seq), db=self.db["final"])
        try:
            return unpack_final(row, seq) if row is not None else None
        except DamagedRecordError:
            log.error("the outcome of job number %s does not match its checksum", seq)
            return Final(State.FAILED, value=pack_failure(DAMAGED))

    def note(self, txn: Txn, seq: int) -> Note:
        """What happened to the job since it was submitted. If that cannot be read, no earlier lease is trusted."""
        try:
            return unpack_note(txn.get(U64.pack(seq), db=self.db["notes"]))
        except DamagedRecordError:
            log.error("what happened to job number %s does not match its checksum", seq)
            return Note(floor=MAX_TOKEN, node=WorkflowReader(self, txn).run(seq) is not None)

    def is_free(self, seq: int) -> bool:
        """Whether a job in a lane waits there: nobody has it, and nobody is about to end it."""
        return seq not in self.book.by_seq and seq not in self.claimed and seq not in self.damaged

    def final_token(self, txn: Txn, job: JobId) -> int:
        """The token whose outcome ended the job with this id; 0 when none has. Survives the job's dropping."""
        row = txn.get(job, db=self.db["ids"])
        if row is None:
            return 0
        final = self.final(txn, first_number(row))
        return final.token if final is not None else first_number(row[TOKEN_AT:]) if len(row) > TOKEN_AT else 0

    def place(self, seq: int, lane: Lane, note: Note) -> bytes:
        """The key of a ready job in `lanes`."""
        return lane.prefix + U64.pack(note.order or seq)

    # -- recovery ----------------------------------------------------------------------------------------------------

    def settle_recovery(self) -> None:
        """Ends the recovery if nobody is awaited any more: what was withheld can be had.

        Who does not come back is awaited until it is off the durable list. Otherwise a broker that dies in between
        would wait for it once more, and believe it about a job that somebody else has had since.
        """
        if self.recovery_end is not None and not any(h.awaited for h in self.book.holders.values()):
            self.recovery_end = None
            self.look_again()

    def look_again(self) -> None:
        """Moves every head back to where its lane begins, or as far as a recovery lets it."""
        self.levels.recovering = self.recovery_end is not None
        self.levels.look_again(self.boot_order if self.levels.recovering else 0)
        self.bounds.clear()

    def wake(self, lane: Lane, order: int) -> None:
        """A job became ready at this order. One that is withheld is found when the recovery ends."""
        if self.withheld(order):
            lane.first = min(lane.first, order)
            return
        self.lower(lane, order)
        if lane.standing is None or lane.empty or order < lane.head:
            lane.wake(order)
            self.levels.stand(lane)

    def lower(self, lane: Lane, order: int) -> None:
        """A job waits here, or may when this commit is done: it may be the next to go for a new one."""
        if self.bounds and (bounds := self.bounds.get(lane.queue)) is not None and not self.withheld(order):
            bounds.lower(lane, order)

    def remove(self, lane: Lane) -> None:
        """Forgets a lane that has no job left."""
        self.levels.remove(lane)
        self.forget_bound(lane)

    def forget_bound(self, lane: Lane) -> None:
        """Nothing can go from this lane: it has no job left, or never was."""
        if self.bounds and (bounds := self.bounds.get(lane.queue)) is not None:
            bounds.forget(lane)

    def withheld(self, order: int) -> bool:
        """Whether a place in a lane is from before the start, during a recovery."""
        return self.recovery_end is not None and order < self.boot_order
