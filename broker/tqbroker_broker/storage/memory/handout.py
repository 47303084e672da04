"""Who gets what: the verb `lease`."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from tqbroker_broker.attempts import HandedOut, Want
from tqbroker_broker.questions import EventKind
from tqbroker_broker.records import Head, State, Time
from tqbroker_broker.shares import Shares
from tqbroker_broker.storage.memory.admission import Admission
from tqbroker_broker.storage.memory.book import Book
from tqbroker_broker.storage.memory.log import EventLog
from tqbroker_broker.storage.memory.pick import Pick
from tqbroker_broker.storage.memory.places import Places
from tqbroker_broker.storage.memory.recovery import Recovery
from tqbroker_broker.storage.memory.store import MemoryStore, Row

Lanes = dict[object, deque[Row]]


class Handout:
    """Hands ready jobs to workers: highest priority first, then the tenant whose turn it is, then the oldest place."""

    def __init__(
        self,
        store: MemoryStore,
        book: Book,
        recovery: Recovery,
        admission: Admission,
        places: Places,
        log: EventLog,
    ) -> None:
        self._store = store
        self._book = book
        self._recovery = recovery
        self._admission = admission
        self._places = places
        self._log = log
        self._shares: dict[tuple[str, int], Shares] = {}

    def lease(self, wants: Sequence[Want], now: Time) -> HandedOut:
        """What each want gets, and when a rate that is in the way admits more."""
        self._admission.now = now
        picks = [Pick(want) for want in wants]
        away = frozenset(want.worker for want in wants if not self._book.is_connected(want.worker))
        for pick in picks:
            if pick.want.worker not in away:
                self._fill(pick, now)
        wait_ms = min((pick.wait_ms for pick in picks if pick.wait_ms), default=0)
        return HandedOut([pick.batches() for pick in picks], wait_ms / 1000, away)

    def has_ready(self, queues: Sequence[str]) -> bool:
        """Whether a job of these queues waits, whatever stands in its way."""
        return any(row.head.queue in queues for row in self._waiting())

    def _fill(self, pick: Pick, now: Time) -> None:
        lanes = self._lanes(pick.want, now)
        while row := self._choose(pick, lanes):
            lanes[_lane(row.head)].popleft()
            lease = self._book.grant(row.id, pick.want.worker, now.wall_ms)
            pick.add(row, lease, self._places.place(row), rated=self._admission.is_rated(row.head))
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
        self._shares[row.head.queue, top].took(tenant, rule.weights.get(tenant, 1) if rule else 1)
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
        shares = self._shares.setdefault((queue, priority), Shares())
        tenant = shares.first({row.head.traits.tenant for row in rows})
        return min((row for row in rows if row.head.traits.tenant == tenant), key=lambda row: row.order)

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
        if row.marked or self._recovery.withholds(row):
            return False
        return not 0 < row.expires_ms <= now.wall_ms


def _may_have(want: Want, head: Head) -> bool:
    return head.queue in want.queues and head.task in want.tasks and want.labels.issuperset(head.traits.requires)


def _lane(head: Head) -> object:
    traits = head.traits
    return (
        (head.queue, head.priority, head.task),
        (traits.tenant, traits.ordering_key, traits.limits, traits.requires),
    )
