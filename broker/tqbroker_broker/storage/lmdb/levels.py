"""The hand-out order: queues, their priorities, the tenants whose turn it is, and the lanes of each, oldest first.

Everything stands in heaps under what is known of it: a lane may stand too early, never too late, and is put right when
it comes to the top. Lanes that nothing waits in, and those that wait at a gate or for their ordering key, do not stand.
"""

from __future__ import annotations

from collections.abc import Iterable

from tqbroker_broker.rules import QueueRule
from tqbroker_broker.shares import Shares
from tqbroker_broker.storage.lmdb.gates import Gates
from tqbroker_broker.storage.lmdb.heaps import Heap
from tqbroker_broker.storage.lmdb.lanes import Child, Kind, Lane, LaneKey, Lanes, bundle_of

SHARES_KEPT = 10_000
"""Queues and priorities whose tenants' shares are remembered while nothing waits there."""


class Tenant(Heap[int, Child]):
    """The lanes of one tenant in one queue and priority. Standing under its name, or its rank when not its turn yet."""

    __slots__ = ("name", "standing")

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.standing: str | int | None = None

    def __lt__(self, other: Tenant) -> bool:
        return self.name < other.name


class Level:
    """One priority of a queue."""

    __slots__ = ("_later", "_now", "priority", "queue", "shares", "tenants")

    def __init__(self, queue: str, priority: int, shares: Shares) -> None:
        self.queue = queue
        self.priority = priority
        self.shares = shares
        self.tenants: dict[str, Tenant] = {}
        self._now: Heap[str, Tenant] = Heap()
        self._later: Heap[int, Tenant] = Heap()

    def put(self, child: Child, order: int) -> None:
        """Nothing of this lane waits before this order."""
        tenant = self.tenants.get(child.tenant)
        if tenant is None:
            tenant = self.tenants[child.tenant] = Tenant(child.tenant)
        if child.standing is None or order < child.standing:
            tenant.put(child, order)
        self.seat(tenant)

    def take_out(self, child: Child) -> None:
        """This lane does not stand any more."""
        tenant = self.tenants.get(child.tenant)
        if tenant is not None:
            tenant.take_out(child)
            if not tenant.count:
                self.unseat(tenant)

    def first(self) -> Tenant | None:
        """Whose turn it is. One that was alone here for a while may stand too early, and is put right first."""
        while (tenant := self._now.top() or self._later.top()) is not None and self.is_shared():
            rank = self.shares.rank(tenant.name)
            if tenant.standing == (rank if rank > self.shares.clock else tenant.name):
                break
            self.unseat(tenant)
            self.seat(tenant)
        return tenant

    def is_shared(self) -> bool:
        """Whether several tenants take turns."""
        return self._now.count + self._later.count > 1

    def seat(self, tenant: Tenant) -> None:
        """The tenant takes part, if it has lanes."""
        if tenant.standing is not None:
            return
        if not tenant.count:
            self.tenants.pop(tenant.name, None)
            return
        alone = self.first() if not self.is_shared() else None
        if alone is not None:
            self.unseat(alone)
            self._place(alone)
        self._place(tenant)

    def _place(self, tenant: Tenant) -> None:
        """Among those whose turn it is, or those that had more than their share."""
        if not tenant.count:
            return
        rank = self.shares.rank(tenant.name)
        if rank <= self.shares.clock:
            self._now.put(tenant, tenant.name)
        else:
            self._later.put(tenant, rank)

    def unseat(self, tenant: Tenant) -> None:
        """The tenant does not take part for the time being."""
        if isinstance(tenant.standing, int):
            self._later.take_out(tenant)
        else:
            self._now.take_out(tenant)
        if not tenant.count:
            self.tenants.pop(tenant.name, None)

    def took(self, tenant: Tenant, weight: int, jobs: int) -> None:
        """The tenant took so many turns."""
        if not jobs:
            return
        if not self.is_shared() and tenant.count:
            # Its seat tells its rank no more; that matters when another comes.
            self.shares.took(tenant.name, weight, jobs)
            return
        self.unseat(tenant)
        self.shares.took(tenant.name, weight, jobs)
        self._advance()
        if tenant.count:
            self.seat(tenant)

    def restore(self, shares: Shares) -> None:
        """Takes back the turns since a copy was made."""
        self.shares.go_back(shares)
        for tenant in list(self.tenants.values()):
            self.unseat(tenant)
            self.seat(tenant)

    def _advance(self) -> None:
        """It is the turn of all whose rank the clock has reached."""
        while (tenant := self._later.top()) is not None and tenant.standing is not None:
            if int(tenant.standing) > self.shares.clock:
                return
            self._later.take_out(tenant)
            self._now.put(tenant, tenant.name)


class Hold:
    """An ordering key whose job runs: the lanes that wait for its end."""

    __slots__ = ("count", "waiting")

    def __init__(self) -> None:
        self.count = 0
        self.waiting: dict[Lane, None] = {}


class Levels:
    """All lanes in their hand-out order, and what keeps some of them out of it."""

    def __init__(self) -> None:
        self.lanes = Lanes()
        self.gates = Gates()
        self.rules: dict[str, QueueRule] = {}
        self.holds: dict[tuple[str, str], Hold] = {}
        self.recovering = False
        self._queues: dict[str, dict[int, Level]] = {}
        self._shares: dict[tuple[str, int], Shares] = {}

    def of(self, queues: Iterable[str]) -> list[Level]:
        """The levels of these queues that lanes stand in, but for paused queues."""
        found: list[Level] = []
        for queue in dict.fromkeys(queues):
            levels = self._queues.get(queue)
            rule = self.rules.get(queue) if self.rules else None
            if levels and (rule is None or not rule.paused):
                found += [level for level in levels.values() if level.tenants]
        return found

    def weight(self, queue: str, tenant: str) -> int:
        """How many turns a tenant has for each one of another's."""
        rule = self.rules.get(queue)
        return rule.weights.get(tenant, 1) if rule is not None else 1

    # -- lanes -------------------------------------------------------------------------------------------------------

    def kind(self, key: LaneKey) -> Kind:
        """The kind of such lanes, with its gates."""
        kind = self.lanes.find_kind(key)
        if kind is None:
            kind = self.lanes.add_kind(key)
            self.gates.refresh(kind)
        return kind

    def remove(self, lane: Lane) -> None:
        """Forgets a lane that has no job left."""
        child: Child = bundle_of(lane) if lane.ordering_key else lane
        if lane is not child:
            bundle_of(lane).heap.take_out(lane)
            hold = self.holds.get((lane.queue, lane.ordering_key))
            if hold is not None:
                hold.waiting.pop(lane, None)
        self.lanes.remove(lane)
        if child.lowest() is not None and lane is not child:
            return
        if child.gate is not None:
            child.gate.parked.pop(child, None)
            child.gate = None
        levels = self._queues.get(lane.queue, {})
        level = levels.get(lane.kind.priority)
        if level is not None:
            level.take_out(child)
            if not level.tenants:
                del levels[level.priority]
                if not levels:
                    del self._queues[lane.queue]

    def stand(self, lane: Lane) -> None:
        """Puts a lane where it belongs by what is known of it."""
        order = lane.lowest()
        if order is None:
            return
        child: Child = lane
        if lane.ordering_key:
            hold = self.holds.get((lane.queue, lane.ordering_key))
            if hold is not None:
                hold.waiting[lane] = None
                return
            bundle = bundle_of(lane)
            if lane.standing is None or order < lane.standing:
                bundle.heap.put(lane, order)
            child = bundle
        self.stand_child(child)

    def stand_child(self, child: Child) -> None:
        """Puts a lane without an ordering key, or a bundle of those with one, where it belongs."""
        order = child.lowest()
        if order is not None and child.gate is None:
            self._level(child.kind).put(child, order)

    def _level(self, kind: Kind) -> Level:
        levels = self._queues.get(kind.queue)
        if levels is None:
            levels = self._queues[kind.queue] = {}
        level = levels.get(kind.priority)
        if level is None:
            level = levels[kind.priority] = Level(kind.queue, kind.priority, self._shares_of(kind))
        return level

    def _shares_of(self, kind: Kind) -> Shares:
        place = kind.queue, kind.priority
        shares = self._shares.pop(place, None) or Shares()
        self._shares[place] = shares
        if len(self._shares) > SHARES_KEPT:
            del self._shares[next(iter(self._shares))]
        return shares

    def look_again(self, first: int) -> None:
        """Jobs may wait anywhere from this order on."""
        self.gates.all_parked()
        for lane in self.lanes:
            lane.look_again(first)
            self.stand(lane)

    # -- leases ------------------------------------------------------------------------------------------------------

    def started(self, lane: Lane) -> None:
        """A job of a lane that is under limits or an ordering key runs."""
        self.gates.started(lane.kind)
        if lane.ordering_key:
            hold = self.holds.get((lane.queue, lane.ordering_key))
            if hold is None:
                hold = self.holds[lane.queue, lane.ordering_key] = Hold()
            hold.count += 1
            hold.waiting[lane] = None

    def ended(self, lane: Lane) -> None:
        """A job of such a lane runs no more."""
        self.gates.ended(lane.kind)
        if lane.ordering_key:
            hold = self.holds[lane.queue, lane.ordering_key]
            hold.count -= 1
            if not hold.count:
                del self.holds[lane.queue, lane.ordering_key]
                for waiting in hold.waiting:
                    self.stand(waiting)

    def is_taken(self, lane: Lane) -> bool:
        """Whether the leases there are leave no room for one of this lane: by its ordering key, or a limit."""
        if lane.ordering_key and (lane.queue, lane.ordering_key) in self.holds:
            return True
        return self.gates.are_full(lane.kind)

    def open_gates(self, now_ms: int) -> None:
        """The lanes at gates that have opened take part again."""
        for child in self.gates.leaving(now_ms):
            self.stand_child(child)
