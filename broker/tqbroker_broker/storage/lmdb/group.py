"""One transaction under way: many verbs write into it, and what follows in memory waits until it is durable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from tqbroker_broker.attempts import Failure
from tqbroker_broker.questions import EventKind
from tqbroker_broker.records import Head, JobId, State, Time
from tqbroker_broker.storage.lmdb import events
from tqbroker_broker.storage.lmdb.keys import (
    AGENDA,
    COLUMNS,
    NEXT_EVENT,
    NEXT_SEQ,
    NOTED,
    REMEMBERED,
    RETENTION,
    U64,
    WORKFLOWS,
    WRECKS,
)
from tqbroker_broker.storage.lmdb.lanes import Lane, LaneKey, key_of
from tqbroker_broker.storage.lmdb.rows import DamagedRecordError, Note, look_at_note, pack_note
from tqbroker_broker.storage.lmdb.txn import Txn
from tqbroker_broker.storage.lmdb.workflow_writer import WorkflowWriter

if TYPE_CHECKING:
    from tqbroker_broker.storage.lmdb.book import Holder, Lease
    from tqbroker_broker.storage.lmdb.store import Store

# Columns of a row in `counts`.
READY, SCHEDULED, SUCCEEDED, FAILED, CANCELLED, EXPIRED, WAITING = range(COLUMNS)
COLUMN = {
    State.SUCCEEDED: SUCCEEDED,
    State.FAILED: FAILED,
    State.CANCELLED: CANCELLED,
    State.EXPIRED: EXPIRED,
}


class Group:
    """What the verbs of one commit share. Nothing in the store's memory changes before `committed`."""

    def __init__(self, store: Store, txn: Txn) -> None:
        self.store = store
        self.txn = txn
        self.next_seq = store.next_seq
        self.remembered = store.remembered
        self.deltas: dict[str, list[int]] = {}
        self.new_lanes: dict[LaneKey, Lane] = {}
        self.touched: dict[Lane, None] = {}
        """Lanes that may have lost their last job."""
        self.removed: list[Lane] = []
        self.woken: list[tuple[Lane, int]] = []
        self.ended: dict[int, Lease] = {}
        self.claimed: list[tuple[int, Lane, int]] = []
        self.adopted: dict[int, Lease] = {}
        """Leases from before the start that become live with this commit, by seq."""
        self.counted: list[Lane] = []
        """Lanes of those leases, counted against limits and ordering keys while the commit is under way."""
        self.joined: set[str] = set()
        """Workers that join with this commit."""
        self.shut: list[Holder] = []
        """Holders that are removed with this commit and get nothing meanwhile."""
        self.noted: set[int] = set()
        """Leased jobs that get their first note with this commit, by seq."""
        self.paid: set[str] = set()
        """Names under a rate whose starts this commit has written, or dropped."""
        self.retained: dict[int, list[bytes]] = {}
        self.workflows = WorkflowWriter(store, txn)
        self.effects: list[Callable[[], None]] = []
        self.next_event = store.log.next
        self._events = events.Gathered()
        self._started: list[events.Column] = []

    def take_numbers(self, count: int) -> int:
        """Reserves `count` consecutive numbers (seq or order) and returns the first."""
        first = self.next_seq
        self.next_seq += count
        return first

    def lane(self, head: Head) -> Lane:
        """The lane of a job, made known on disk at its first use."""
        key = key_of(head)
        lane = self.store.levels.lanes.get(key) or self.new_lanes.get(key)
        if lane is None:
            lane = self.new_lanes[key] = Lane(self.take_numbers(1), key, self.store.levels.kind(key))
            self.txn.put(lane.prefix, msgspec.msgpack.encode(key), db=self.store.db["names"])
        self.touch(lane)
        return lane

    def touch(self, lane: Lane) -> None:
        """Notes that a lane may lose its last job with this commit."""
        if lane.passing:
            self.touched[lane] = None

    def _remove_lanes(self) -> None:
        """Lanes of which there may be any number go with their last job."""
        store, txn = self.store, self.txn
        for lease in self.ended.values():
            if lease.lane.passing:
                self.touched[lease.lane] = None
        cursor = txn.cursor(store.db["lanes"]) if self.touched else None
        passed: set[Lane] = set()
        for lane in self.touched:
            prefix = lane.prefix
            if cursor is None or (cursor.set_range(prefix) and cursor.key().startswith(prefix)):
                continue
            txn.delete(prefix, db=store.db["names"])
            if self.new_lanes.pop(lane.key, None) is None:
                self.removed.append(lane)
            else:
                passed.add(lane)
                self._never_was(lane)
        if passed:
            self.woken = [(lane, order) for lane, order in self.woken if lane not in passed]

    def count(self, queue: str, column: int, change: int) -> None:
        """Notes that a queue's count changes."""
        if queue not in self.deltas:
            self.deltas[queue] = [0] * COLUMNS
        self.deltas[queue][column] += change

    def ready(self, lane: Lane, order: int) -> None:
        """Notes that a job waits at this place, once this is durable. Of new jobs in a row the first is enough."""
        self.woken.append((lane, order))
        self.store.lower(lane, order)

    def live(self, worker: str, token: int) -> Lease | None:
        """The worker's lease with this token, unless it has ended."""
        holder = self.store.book.holders.get(worker)
        lease = holder.leases.get(token) if holder is not None else None
        return lease if lease is not None and token not in self.ended else None

    def mark_noted(self, lease: Lease) -> None:
        """Says at the place of a leased job that it has a note now."""
        self.txn.put(lease.key, U64.pack(lease.seq) + NOTED, db=self.store.db["lanes"])
        self.noted.add(lease.seq)
        self.effects.append(lambda: setattr(lease, "noted", True))

    def end(self, lease: Lease) -> None:
        """Notes that a lease is over, once this is durable; in this group it is over at once."""
        self.ended[lease.token] = lease

    def claim(self, seq: int, lane: Lane, order: int) -> None:
        """Keeps a waiting job from being handed out while this commit is under way."""
        self.store.claimed.add(seq)
        self.claimed.append((seq, lane, order))
        lane.leave(order)

    def adopt(self, lease: Lease, order: int) -> None:
        """A lease from before the start becomes live with this commit: nothing is to run in its place meanwhile."""
        lane = lease.lane
        self.claim(lease.seq, lane, order)
        self.adopted[lease.seq] = lease
        self.store.levels.gates.refresh(lane.kind)
        if lane.kind.gates or lane.ordering_key:
            self.store.levels.started(lane)
            self.counted.append(lane)

    def note(self, seq: int) -> Note:
        """What is noted of a job."""
        return self.store.note(self.txn, seq)

    def look_at_note(self, seq: int) -> Note:
        """What is noted of a job, for somebody who changes nothing, and does not ask for its place."""
        try:
            return look_at_note(self.txn.get(U64.pack(seq), db=self.store.db["notes"]))
        except DamagedRecordError:
            return self.note(seq)

    def put_note(self, seq: int, note: Note) -> None:
        """Writes what is noted of a job."""
        self.txn.put(U64.pack(seq), pack_note(note), db=self.store.db["notes"])

    def plan(self, kind: bytes, when_ms: int, packed: bytes) -> None:
        """Puts something on the agenda; the number only keeps the key unique."""
        self.txn.put(AGENDA.pack(kind, when_ms, self.take_numbers(1)), packed, db=self.store.db["agenda"])

    def retaining(self, until_ms: int) -> list[bytes]:
        """The finished jobs (their seqs as keys) that are dropped at a moment: they share a row of the agenda."""
        return self.retained.setdefault(until_ms, [])

    def event(
        self,
        kind: EventKind,
        now: Time,
        ids: Sequence[JobId],
        head: Head,
        *,
        worker: str = "",
        failure: Failure | None = None,
    ) -> None:
        """Tells of jobs in the event log. One call for many jobs that share their head is much cheaper than many."""
        error = failure.type if failure is not None else ""
        self._events.add(events.Column(kind, now.wall_ms, list(ids), head.task, head.queue, worker, error))

    def worker_event(self, kind: EventKind, now: Time, worker: str) -> None:
        """Tells of a worker in the event log."""
        self._events.add(events.Column(kind, now.wall_ms, [], worker=worker))

    def _write_events(self) -> None:
        """Starts come first: what became of those jobs may be in this very commit."""
        store, self._started = self.store, self.store.log.take_started()
        if columns := self._started + self._events.columns:
            self.next_event = events.write(self.txn, store.db["events"], self.next_event, columns)
            self.txn.put(NEXT_EVENT, U64.pack(self.next_event), db=store.db["counts"])

    def _counted(self, queue: str) -> list[int]:
        """What a queue counts after this commit. One that counts nothing has no row, or there would be ever more."""
        old = self.store.counts.get(queue, [0] * COLUMNS)
        return [a + b for a, b in zip(old, self.deltas[queue], strict=True)]

    def complete(self) -> None:
        """Writes what the verbs of the group share: the last thing before the commit."""
        self._write_events()
        self._remove_lanes()
        self.workflows.write()
        for number, workflow in self.workflows.settled():
            self.plan(WORKFLOWS, workflow.keep_ms, U64.pack(number))
        for wreck in self.workflows.wrecks:
            self.plan(WRECKS, 0, wreck)
        for until_ms, keys in self.retained.items():
            if keys:
                self.plan(RETENTION, until_ms, b"".join(keys))
        db = self.store.db["counts"]
        for queue in self.deltas:
            row = self._counted(queue)
            if any(row):
                self.txn.put(queue.encode(), msgspec.msgpack.encode(row), db=db)
            else:
                self.txn.delete(queue.encode(), db=db)
        if self.remembered != self.store.remembered:
            self.txn.put(REMEMBERED, U64.pack(self.remembered), db=db)
        if self.next_seq != self.store.next_seq:
            self.txn.put(NEXT_SEQ, U64.pack(self.next_seq), db=db)

    def committed(self) -> None:
        """Everything written is durable: the store's memory follows."""
        store = self.store
        store.commits += 1
        store.next_seq = self.next_seq
        store.remembered = self.remembered
        for queue, delta in self.deltas.items():
            row = self._counted(queue)
            if any(row):
                store.counts[queue] = row
            else:
                store.counts.pop(queue, None)
            store.waiting += delta[WAITING]
        for lane in self.new_lanes.values():
            store.levels.lanes.add(lane)
        for lease in self.ended.values():
            store.book.drop(lease)
        for lane, order in self.woken:
            store.wake(lane, order)
        for lane in self.removed:
            store.remove(lane)
        self._let_go()
        for effect in self.effects:
            effect()
        if self.next_event != store.log.next:
            store.log.next = self.next_event
            store.log.tell()

    def abandoned(self) -> None:
        """Nothing was written: what was claimed waits again, also where a head has passed it meanwhile."""
        self._let_go()
        for lane in self.new_lanes.values():
            self._never_was(lane)
        self.store.log.put_back(self._started)
        for _, lane, order in self.claimed:
            if self.store.levels.lanes.get(lane.key) is lane:
                self.store.wake(lane, order)

    def _never_was(self, lane: Lane) -> None:
        """A lane of this group that is not there after it. Its number may be given to another."""
        self.store.levels.lanes.forget_unused(lane.kind)
        self.store.forget_bound(lane)

    def _let_go(self) -> None:
        self.store.claimed.difference_update([seq for seq, _, _ in self.claimed])
        self.store.shut.difference_update(self.shut)
        for lane in self.counted:
            self.store.levels.ended(lane)
