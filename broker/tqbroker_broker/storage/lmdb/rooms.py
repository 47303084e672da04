"""Room in queues that may hold only so many jobs: how many wait, and which has to go for a new one."""

from __future__ import annotations

from tqbroker_broker.lifecycle import overflow_failure
from tqbroker_broker.records import JobId, State, Time
from tqbroker_broker.rules import Overflow, QueueRule
from tqbroker_broker.storage.lmdb.bounds import Bounds
from tqbroker_broker.storage.lmdb.endings import end_waiting
from tqbroker_broker.storage.lmdb.group import READY, SCHEDULED, Group
from tqbroker_broker.storage.lmdb.keys import U64, first_number, order_of
from tqbroker_broker.storage.lmdb.lanes import Lane


class Room:
    """The room in one queue while one `enqueue` fills it. `dropped` are the jobs that had to go."""

    def __init__(self, group: Group, queue: str, rule: QueueRule, now: Time) -> None:
        self._group = group
        self._queue = queue
        self._rule = rule
        self._now = now
        self._out = _leases(group, queue) if rule.max_length else 0
        self.dropped: list[JobId] = []

    def make(self) -> bool:
        """Whether one more job may wait; the oldest that waits may have to go for it."""
        if not self._rule.max_length or self.length() < self._rule.max_length:
            return True
        return self._rule.overflow is Overflow.DROP_OLDEST and self._drop_oldest()

    def length(self) -> int:
        """Jobs that wait or are scheduled. A leased job still stands in its lane."""
        group = self._group
        counts, deltas = group.store.counts.get(self._queue), group.deltas.get(self._queue)
        return sum(row[column] for row in (counts, deltas) if row for column in (READY, SCHEDULED)) - self._out

    def _drop_oldest(self) -> bool:
        """Ends the job with the oldest place, over all lanes; one that may be running stays. False: there is none."""
        bounds = self._bounds()
        while (top := bounds.top()) is not None:
            order, lane = top
            place = self._first(lane, order) if self._is_there(lane) else None
            if place is None:
                bounds.forget(lane)
            elif order_of(place[0]) > order:
                bounds.lift(lane, order_of(place[0]))
            else:
                bounds.lift(lane, order + 1)
                if self._drop(lane, *place):
                    return True
        return False

    def _is_there(self, lane: Lane) -> bool:
        """Whether this is still the lane with its number: what stands under it would else be jobs of another."""
        group = self._group
        return (group.store.levels.lanes.get(lane.key) or group.new_lanes.get(lane.key)) is lane

    def _bounds(self) -> Bounds[Lane]:
        """For each lane of the queue an order below which nothing waits that may be touched.

        Found once, by a look at every lane; the store keeps it from then on. Jobs that have expired may stand before
        the head of their lane: they wait until `expire` ends them.
        """
        known = self._group.store.bounds.get(self._queue)
        if known is None:
            known = self._group.store.bounds[self._queue] = self._look()
        return known

    def _look(self) -> Bounds[Lane]:
        group, store = self._group, self._group.store
        least = store.boot_order if store.recovery_end is not None else 0
        lanes = store.levels.lanes.of(self._queue)
        bounds = ((lane, lane.first if store.passed_over_ms else lane.lowest()) for lane in lanes)
        lowest = {lane: order for lane, order in bounds if order is not None}
        for lane, order in group.woken:
            if lane.queue == self._queue:
                lowest[lane] = min(order, lowest.get(lane, order))
        return Bounds({lane: max(order, least) for lane, order in lowest.items()})

    def _first(self, lane: Lane, order: int) -> tuple[bytes, int] | None:
        """The first place from this order on whose job nobody has or is changing, and its seq."""
        store = self._group.store
        leased, claimed, damaged = store.book.by_seq, store.claimed, store.damaged
        cursor = self._group.txn.cursor(store.db["lanes"])
        found = cursor.set_range(lane.prefix + U64.pack(order))
        while found:
            key, value = cursor.item()
            if not key.startswith(lane.prefix):
                return None
            seq = first_number(value)
            if seq not in leased and seq not in claimed and seq not in damaged:
                return key, seq
            found = cursor.next()
        return None

    def _drop(self, lane: Lane, place: bytes, seq: int) -> bool:
        """Ends one job; one that is to be cancelled anyway, or cannot be read any more, is left to `expire`."""
        group, store = self._group, self._group.store
        job, note = store.job(group.txn, seq), group.note(seq)
        if job is None:
            store.damaged[seq] = lane, place
            lane.leave(order_of(place))
            return False
        if note.cancel:
            return False
        failure = overflow_failure(self._queue, self._rule.max_length)
        if not end_waiting(group, seq, job, note, State.FAILED, self._now, failure):
            return False
        self.dropped.append(job.id)
        return True


def _leases(group: Group, queue: str) -> int:
    """How many jobs of a queue are leased, as this commit sees it."""
    ended = sum(lease.lane.queue == queue for lease in group.ended.values())
    adopted = sum(lease.lane.queue == queue for lease in group.adopted.values())
    return group.store.book.running.get(queue, 0) - ended + adopted
