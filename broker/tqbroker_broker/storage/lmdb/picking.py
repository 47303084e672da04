"""Which jobs one worker gets: priority, turn, age, and what stands in the way."""

from __future__ import annotations

from itertools import groupby
from typing import NamedTuple

from tqbroker_broker.answers import Mark
from tqbroker_broker.records import Time
from tqbroker_broker.shares import Shares
from tqbroker_broker.storage.lmdb import places
from tqbroker_broker.storage.lmdb.book import Lease
from tqbroker_broker.storage.lmdb.columns import Columns, is_rated
from tqbroker_broker.storage.lmdb.extras import Extras
from tqbroker_broker.storage.lmdb.gates import Gate
from tqbroker_broker.storage.lmdb.keys import NOTED, first_number, order_of
from tqbroker_broker.storage.lmdb.lanes import Bundle, Child, Kind, Lane
from tqbroker_broker.storage.lmdb.levels import Level, Tenant
from tqbroker_broker.storage.lmdb.places import Places
from tqbroker_broker.storage.lmdb.rows import DamagedRecordError, look_at_note, unpack_job
from tqbroker_broker.storage.lmdb.store import Store
from tqbroker_broker.storage.lmdb.txn import Txn

# Jobs read at a time: few at first, because a few large ones may be all that fits into the answer.
FIRST_READ, MOST_READ = 16, 512


class Offer(NamedTuple):
    """The job whose turn it is in one level."""

    order: int
    level: Level
    tenant: Tenant
    child: Child
    lane: Lane


class Pick:
    """The choice of jobs for one want."""

    def __init__(self, store: Store, txn: Txn, columns: Columns, now: Time, paid_only: bool) -> None:
        self.columns = columns
        self.unpaid = False
        self._store = store
        self._levels = store.levels
        self._txn = txn
        self._cursor = txn.cursor(store.db["lanes"])
        self._extras = Extras(store, txn)
        self._now = now
        self._now_ms = int(now.mono * 1000)
        self._paid_only = paid_only
        self._aside: list[tuple[Level, Child, int]] = []
        """Lanes that this worker cannot have, with where they stood."""
        self._shares: dict[Level, Shares] = {}
        """As they were before, as long as this may be taken back."""

    def fill(self) -> None:
        """Takes jobs while there is room: of the highest priority first, over all queues."""
        levels = self._levels.of(self.columns.want.queues)
        if len(levels) == 1:
            self._fill_from(levels)
        else:
            levels.sort(key=lambda level: -level.priority)
            for _, same in groupby(levels, key=lambda level: level.priority):
                self._fill_from(list(same))
        for level, child, order in self._aside:
            level.put(child, order)

    def _fill_from(self, levels: list[Level]) -> None:
        """Takes jobs from levels of one priority: of those whose turn it is in each, the oldest."""
        while not self.columns.full:
            best: Offer | None = None
            until: int | None = None
            for level in levels:
                offer = self._offer(level)
                if offer is None:
                    continue
                if best is None or offer.order < best.order:
                    best, until = offer, best.order if best is not None else None
                elif until is None or offer.order < until:
                    until = offer.order
            if best is None:
                return
            self._take(best, until)

    def _offer(self, level: Level) -> Offer | None:
        """The job whose turn it is in a level, among those that this worker may have."""
        while (tenant := level.first()) is not None:
            while (child := tenant.top()) is not None:
                order = child.standing
                assert order is not None
                self._levels.gates.refresh(child.kind)
                if not self._may_have(child):
                    self._aside.append((level, child, order))
                    tenant.take_out(child)
                elif (gate := self._closed(child.kind)) is not None:
                    tenant.take_out(child)
                    self._wait_at(gate, level, child, order)
                elif (found := self._settled(child)) is None:
                    tenant.take_out(child)
                elif found[0] > order:
                    tenant.replace_top(child, found[0])
                else:
                    return Offer(order, level, tenant, child, found[1])
            level.unseat(tenant)
        return None

    def _may_have(self, child: Child) -> bool:
        kind, want = child.kind, self.columns.want
        if kind.task not in want.tasks or self.columns.room(kind) <= 0:
            return False
        if kind.requires and not want.labels.issuperset(kind.requires):
            return False
        return not (self._levels.recovering and (isinstance(child, Bundle) or kind.exclusive))

    def _closed(self, kind: Kind) -> Gate | None:
        """The first gate that does not let a job pass."""
        for gate in kind.gates:
            if gate.room(self._now_ms, paid_only=self._paid_only) <= 0:
                return gate
        return None

    def _wait_at(self, gate: Gate, level: Level, child: Child, order: int) -> None:
        if gate.room(self._now_ms, paid_only=False) <= 0:
            self._levels.gates.park(gate, child, self._now_ms)
        else:
            self.unpaid = True
            self._aside.append((level, child, order))

    def _settled(self, child: Child) -> tuple[int, Lane] | None:
        """The first job that waits in a lane or bundle: its order and its lane."""
        if isinstance(child, Lane):
            order = places.settle(self._store, self._cursor, child)
            return (order, child) if order is not None else None
        while (lane := child.heap.top()) is not None:
            hold = self._levels.holds.get((lane.queue, lane.ordering_key))
            order = places.settle(self._store, self._cursor, lane) if hold is None else None
            if order is None:
                child.heap.take_out(lane)
                if hold is not None:
                    hold.waiting[lane] = None
            elif lane.standing is not None and order > lane.standing:
                child.heap.replace_top(lane, order)
            else:
                return order, lane
        return None

    # -- taking ------------------------------------------------------------------------------------------------------

    def _take(self, offer: Offer, until: int | None) -> None:
        """Takes the run of jobs from where an offer stands up to where it is another's turn."""
        order, level, tenant, child, lane = offer
        kind = child.kind
        room = self.columns.room(kind)
        if lane.ordering_key or level.is_shared():
            room = 1
        for gate in kind.gates:
            room = min(room, gate.room(self._now_ms, paid_only=self._paid_only))
        other = tenant.behind_top()
        if other is not None and (until is None or other < until):
            until = other
        if until is not None and until <= order:
            until = order + 1
        if self._levels.gates.rules and level not in self._shares:
            self._shares[level] = level.shares.copy()
        before = self.columns.taken
        self.columns.rated = is_rated(kind)
        self._hand_out_run(lane, places.take(self._store, self._cursor, lane, until, room))
        taken = self.columns.taken - before
        if self.columns.is_slow(kind):
            self.columns.slow += taken
        self._stand_again(tenant, child, lane)
        level.took(tenant, self._levels.weight(level.queue, tenant.name), taken)

    def _stand_again(self, tenant: Tenant, child: Child, lane: Lane) -> None:
        """Puts the lane that was taken from, which is on top, where it belongs now."""
        if isinstance(child, Bundle):
            order = lane.lowest() if (lane.queue, lane.ordering_key) not in self._levels.holds else None
            if order is None:
                child.heap.take_out(lane)
            else:
                child.heap.replace_top(lane, order)
        order = child.lowest()
        if order is None:
            tenant.take_out(child)
        else:
            tenant.replace_top(child, order)

    def _hand_out_run(self, lane: Lane, run: Places) -> None:
        columns, most_bytes = self.columns, self.columns.want.max_bytes
        keys, values, step = run.keys, run.values, FIRST_READ
        at = 0
        while at < len(keys):
            several = values[at : at + step]
            for place, value, row in zip(
                keys[at:], several, places.rows(self._store, self._txn, several), strict=False
            ):
                if columns.bytes >= most_bytes:
                    places.put_back(lane, run, at)
                    return
                self._hand_out(columns, lane, place, value, row)
                at += 1
            step = min(step * 2, MOST_READ)

    def _hand_out(self, columns: Columns, lane: Lane, place: bytes, value: bytes, row: bytes) -> None:
        """Leases one job, unless it has expired, was cancelled, or cannot be read: those are for `expire` to end."""
        store = self._store
        seq = first_number(value)
        noted = value[8:] == NOTED
        try:
            job = unpack_job(row)
            note = look_at_note(self._txn.get(value[:8], db=store.db["notes"])) if noted else None
        except DamagedRecordError:
            store.damaged[seq] = lane, place
            return
        if job.expires_ms and job.expires_ms <= self._now.wall_ms:
            # Should the clock go back before `expire` has ended it, it must be found again.
            store.passed_over_ms = self._now.wall_ms
            return
        if note is not None and note.cancel:
            return
        book, head = store.book, job.head
        token = book.next_token
        book.next_token = token + 1
        book.add(Lease(token, seq, job.id, head, lane, place, noted, columns.holder, Mark.NONE, self._now.wall_ms))
        if lane.kind.gates:
            self._levels.gates.spend(lane.kind)
        columns.add(head, job.id, token, job.args, note)
        if job.due_ms or job.expires_ms or note is not None:
            columns.beside(self._extras.of(seq, job, note))

    def take_back(self) -> None:
        """Undoes everything, as if this want had not been asked."""
        book, leases = self._store.book, self.columns.holder.leases
        for batch in self.columns.batches:
            for token in batch.tokens:
                lease = leases[token]
                book.drop(lease)
                self._store.wake(lease.lane, order_of(lease.key))
        for level, shares in self._shares.items():
            level.restore(shares)
