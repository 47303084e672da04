"""Who gets what: the verb `lease`."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from tqbroker_broker.questions import EventKind
from tqbroker_broker.records import Extra, HandedOut, Head, Leased, State, Time, Want
from tqbroker_broker.storage.memory.admission import Admission
from tqbroker_broker.storage.memory.book import Book, Lease
from tqbroker_broker.storage.memory.log import EventLog
from tqbroker_broker.storage.memory.recovery import Recovery
from tqbroker_broker.storage.memory.store import MemoryStore, Row
from tqbroker_broker.turns import Turns

Lanes = dict[object, deque[Row]]


class Handout:
    """Hands ready jobs to workers: highest priority first, then the tenant whose turn it is, then the oldest place."""

    def __init__(self, store: MemoryStore, book: Book, recovery: Recovery, admission: Admission, log: EventLog) -> None:
        self._store = store
        self._book = book
        self._recovery = recovery
        self._admission = admission
        self._log = log
        self._turns: dict[tuple[str, int], Turns] = {}

    def lease(self, wants: Sequence[Want], now: Time) -> HandedOut:
        """What each want gets, and when a rate that is in the way admits more."""
        self._admission.now = now
        self._recovery.left(now.mono)
        self._refresh_turns()
        picks = [Pick(want) for want in wants]
        for pick in picks:
            if self._book.is_connected(pick.want.worker):
                self._fill(pick, now)
        wait_ms = min((pick.wait_ms for pick in picks if pick.wait_ms), default=0)
        return HandedOut([pick.batches() for pick in picks], wait_ms / 1000)

    def _fill(self, pick: Pick, now: Time) -> None:
        lanes = self._lanes(pick.want, now)
        while row := self._choose(pick, lanes):
            lanes[_lane(row.head)].popleft()
            pick.add(row, self._book.grant(row.id, pick.want.worker), rated=self._admission.is_rated(row.head))
            self._admission.spend(row.head)
            self._log.job(EventKind.STARTED, row.id, row.head, pick.want.worker)

    def _choose(self, pick: Pick, lanes: Lanes) -> Row | None:
        """The next job for this worker, and a turn of its tenant is used."""
        pick.wait_ms = 0
        heads = [lane[0] for lane in lanes.values() if lane and self._admits(pick, lane[0])]
        top = max((row.head.priority for row in heads), default=0)
        queues = {row.head.queue for row in heads if row.head.priority == top}
        firsts = [self._first(queue, top, heads) for queue in queues]
        if not firsts:
            return None
        row = min(firsts, key=lambda row: row.order)
        rule = self._store.rules.get(row.head.queue)
        tenant = row.head.traits.tenant
        self._turns[row.head.queue, top].took(tenant, rule.weights.get(tenant, 1) if rule else 1)
        return row

    def _admits(self, pick: Pick, row: Row) -> bool:
        if not pick.has_room(row.head, rated=self._admission.is_rated(row.head)):
            return False
        obstacle = self._admission.obstacle(row.head)
        if obstacle and obstacle.wait_ms:
            pick.wait_ms = min(pick.wait_ms or obstacle.wait_ms, obstacle.wait_ms)
        return obstacle is None

    def _first(self, queue: str, priority: int, heads: list[Row]) -> Row:
        """The oldest head of the tenant whose turn it is in this queue."""
        rows = [row for row in heads if (row.head.queue, row.head.priority) == (queue, priority)]
        tenant = self._turns[queue, priority].first({row.head.traits.tenant for row in rows})
        return min((row for row in rows if row.head.traits.tenant == tenant), key=lambda row: row.order)

    def _refresh_turns(self) -> None:
        """Tenants that have got a waiting job join the round, the oldest job first; those without any leave it."""
        waiting = sorted(self._waiting(), key=lambda row: row.order)
        rounds: dict[tuple[str, int], dict[str, None]] = {}
        for row in waiting:
            rounds.setdefault((row.head.queue, row.head.priority), {})[row.head.traits.tenant] = None
        self._turns = {place: self._turns.get(place, Turns()) for place in rounds}
        for place, turns in self._turns.items():
            for tenant in [each for each in turns if each not in rounds[place]]:
                turns.leave(tenant)
            for tenant in rounds[place]:
                turns.join(tenant)

    def _waiting(self) -> Iterable[Row]:
        return (row for row in self._store.rows(State.QUEUED) if row.id not in self._book.by_job)

    def _lanes(self, want: Want, now: Time) -> Lanes:
        """What this worker may run, by lane in order."""
        lanes: Lanes = {}
        for row in sorted(self._waiting(), key=lambda row: row.order):
            if _may_have(want, row.head) and self._is_free(row, now):
                lanes.setdefault(_lane(row.head), deque()).append(row)
        return lanes

    def _is_free(self, row: Row, now: Time) -> bool:
        if row.marked or self._recovery.withholds(row, now.mono):
            return False
        return not 0 < row.expires_ms <= now.wall_ms


class Taken(NamedTuple):
    """A job for a worker, and whether a rate limit holds for it."""

    row: Row
    lease: Lease
    rated: bool


class Pick:
    """What one want has got so far."""

    def __init__(self, want: Want) -> None:
        self.want = want
        self.taken: list[Taken] = []
        self.slow = 0
        self.size = 0
        self.wait_ms = 0

    def has_room(self, head: Head, *, rated: bool) -> bool:
        """Whether one more job with this head may be taken."""
        if len(self.taken) >= self.want.window or self.size >= self.want.max_bytes:
            return False
        return self.slow < self.want.slots or not self._is_slow(head, rated)

    def add(self, row: Row, lease: Lease, *, rated: bool) -> None:
        """Takes a job."""
        self.taken.append(Taken(row, lease, rated))
        self.slow += self._is_slow(row.head, rated)
        self.size += len(row.args) + len(row.checkpoint)

    def batches(self) -> list[Leased]:
        """The jobs in their order; neighbours that share their head share a batch."""
        return [_leased(list(run)) for _, run in groupby(self.taken, key=lambda taken: taken.row.head)]

    def _is_slow(self, head: Head, rated: bool) -> bool:
        return rated or head.task not in self.want.fast


def _may_have(want: Want, head: Head) -> bool:
    return head.queue in want.queues and head.task in want.tasks and want.labels.issuperset(head.traits.requires)


def _lane(head: Head) -> object:
    traits = head.traits
    return (
        (head.queue, head.priority, head.task),
        (traits.tenant, traits.ordering_key, traits.limits, traits.requires),
    )


def _leased(run: list[Taken]) -> Leased:
    rows = [taken.row for taken in run]
    return Leased(
        rows[0].head,
        [row.id for row in rows],
        [taken.lease.token for taken in run],
        [row.args for row in rows],
        [row.retries for row in rows],
        [row.lost for row in rows],
        {index: extra for index, row in enumerate(rows) if (extra := _extra(row)) != Extra()},
        slow=run[0].rated,
    )


def _extra(row: Row) -> Extra:
    return Extra(row.due_ms, row.expires_ms, row.checkpoint, row.checkpoint_format)
