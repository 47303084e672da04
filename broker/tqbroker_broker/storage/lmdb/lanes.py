"""Lanes: where in each the next job stands.

A lane's jobs are keys on disk. All that is kept in memory is `head`, the lowest order from which on jobs may wait, and
the orders before it that became ready again, so the memory does not grow with the backlog and nothing is rebuilt at
start.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappush
from sys import intern
from typing import TYPE_CHECKING, NamedTuple

from tqbroker_broker.records import Head
from tqbroker_broker.rules import PLAIN
from tqbroker_broker.storage.lmdb.heaps import Heap
from tqbroker_broker.storage.lmdb.keys import U64

if TYPE_CHECKING:
    from tqbroker_broker.storage.lmdb.gates import Gate


class LaneKey(NamedTuple):
    """What the jobs of a lane have in common, as it stands in `names`."""

    queue: str
    priority: int
    task: str
    tenant: str = ""
    ordering_key: str = ""
    limits: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()

    @property
    def passing(self) -> bool:
        """Whether the lane goes with its last job: there may be any number of such."""
        return bool(self.tenant or self.ordering_key or self.limits or self.requires)


def key_of(head: Head) -> LaneKey:
    """The lane of jobs with this head."""
    traits = head.traits
    if traits is PLAIN:
        return LaneKey(head.queue, head.priority, head.task)
    return LaneKey(
        head.queue, head.priority, head.task, traits.tenant, traits.ordering_key, traits.limits, traits.requires
    )


BEHIND_ALL = (1 << 64) - 1
"""An order that no job has."""

NO_LANES: dict[str, Lane] = {}
NO_BUNDLES: dict[str, Bundle] = {}
"""Never filled: what kinds have that need none of their own."""

KindKey = tuple[str, int, str, tuple[str, ...], tuple[str, ...]]


class Kind:
    """Lanes that differ in tenant or ordering key only. `gates`: the limits that hold for them, by rules of a version.

    `lane` is the one with neither, `lanes` are those with a tenant only, `bundles` those with a key, each by tenant.
    Most kinds have lanes of one sort, and there may be many kinds: the dicts are made at their first use.
    """

    __slots__ = ("bundles", "gates", "lane", "lanes", "limits", "priority", "queue", "requires", "task", "version")

    def __init__(self, key: LaneKey) -> None:
        self.queue = intern(key.queue)
        self.priority = key.priority
        self.task = intern(key.task)
        self.limits = key.limits
        self.requires = key.requires
        self.gates: tuple[Gate, ...] = ()
        self.version = -1
        self.lane: Lane | None = None
        self.lanes: dict[str, Lane] = NO_LANES
        self.bundles: dict[str, Bundle] = NO_BUNDLES

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return self is other or self.key == other

    def __iter__(self) -> Iterator[Lane]:
        if self.lane is not None:
            yield self.lane
        yield from self.lanes.values()
        for bundle in self.bundles.values():
            yield from bundle.lanes.values()

    def get(self, tenant: str, ordering_key: str) -> Lane | None:
        """The lane of such jobs, if there is one."""
        if ordering_key:
            bundle = self.bundles.get(tenant)
            return bundle.lanes.get(ordering_key) if bundle is not None else None
        return self.lanes.get(tenant) if tenant else self.lane

    @property
    def key(self) -> KindKey:
        """What its lanes have in common. A kind equals its key, so that a dict of kinds needs no keys beside them."""
        return self.queue, self.priority, self.task, self.limits, self.requires

    @property
    def rated(self) -> bool:
        """Whether a rate counts the starts of its jobs."""
        return any(gate.budget is not None for gate in self.gates)

    @property
    def exclusive(self) -> bool:
        """Whether its jobs must not run beside too many others."""
        return any(gate.rule.concurrency for gate in self.gates)


class Lane:
    """The sub-order of a queue in which jobs are strictly FIFO.

    `number` is its key on disk. `first`: no job of the lane was ever before it. `empty`: nothing waits at `head` or
    behind, as far as is known. `exact`: a job is known to wait at `head`, as opposed to at `head` or later. `back`:
    orders before `head` that became ready again, as a heap. `gate`: the closed one it waits at.
    """

    __slots__ = (
        "back", "empty", "exact", "first", "gate", "head", "kind", "number", "ordering_key", "standing", "tenant",
    )  # fmt: skip

    def __init__(self, number: int, key: LaneKey, kind: Kind) -> None:
        self.number = number
        self.kind = kind
        self.tenant = intern(key.tenant)
        self.ordering_key = key.ordering_key
        self.first = BEHIND_ALL
        self.head = 0
        self.empty = True
        self.exact = False
        self.back: list[int] | None = None
        self.standing: int | None = None
        self.gate: Gate | None = None

    def __lt__(self, other: Lane | Bundle) -> bool:
        return self.number < other.number

    @property
    def passing(self) -> bool:
        """Whether the lane goes with its last job; see `LaneKey.passing`."""
        return bool(self.tenant or self.ordering_key or self.kind.limits or self.kind.requires)

    @property
    def prefix(self) -> bytes:
        """How its keys in `lanes` begin."""
        return U64.pack(self.number)

    @property
    def queue(self) -> str:
        return self.kind.queue

    @property
    def key(self) -> LaneKey:
        """What its jobs have in common."""
        kind = self.kind
        return LaneKey(kind.queue, kind.priority, kind.task, self.tenant, self.ordering_key, kind.limits, kind.requires)

    def lowest(self) -> int | None:
        """An order that no waiting job is before; None when nothing waits."""
        if self.back:
            return self.back[0]
        return None if self.empty else self.head

    def wake(self, order: int) -> None:
        """A job became ready at this order."""
        if order < self.first:
            self.first = order
        if order < self.head:
            if self.back is None:
                self.back = []
            heappush(self.back, order)
        elif self.empty:
            self.head, self.empty, self.exact = order, False, False

    def leave(self, order: int) -> None:
        """The job at this order does not wait any more, and nobody was handed it."""
        if order == self.head:
            self.exact = False

    def look_again(self, first: int) -> None:
        """Jobs may wait anywhere from this order on."""
        if self.first < BEHIND_ALL:
            self.head, self.empty, self.exact, self.back = max(first, self.first), False, False, None


class Bundle:
    """The lanes of one kind and tenant that have an ordering key, by it. It stands in hand-out order like one lane."""

    __slots__ = ("gate", "heap", "kind", "lanes", "number", "standing", "tenant")

    def __init__(self, first: Lane) -> None:
        self.kind = first.kind
        self.tenant = first.tenant
        self.number = first.number
        self.lanes: dict[str, Lane] = {}
        self.heap: Heap[int, Lane] = Heap()
        self.standing: int | None = None
        self.gate: Gate | None = None

    def __lt__(self, other: Lane | Bundle) -> bool:
        return self.number < other.number

    def lowest(self) -> int | None:
        """An order that no waiting job of its lanes is before; None when nothing waits."""
        lane = self.heap.top()
        return lane.standing if lane is not None else None


Child = Lane | Bundle
"""What stands in the order of one tenant."""


def bundle_of(lane: Lane) -> Bundle:
    """The bundle that a lane with an ordering key is in."""
    return lane.kind.bundles[lane.tenant]


class Lanes:
    """All lanes, by what their jobs have in common. A kind is known as long as it has lanes."""

    def __init__(self) -> None:
        self._kinds: dict[Kind | KindKey, Kind] = {}

    def __iter__(self) -> Iterator[Lane]:
        for kind in self._kinds.values():
            yield from kind

    def of(self, queue: str) -> Iterator[Lane]:
        """The lanes of one queue."""
        for kind in self._kinds.values():
            if kind.queue == queue:
                yield from kind

    def find_kind(self, key: LaneKey) -> Kind | None:
        """The kind of such lanes, if there is one."""
        return self._kinds.get((key.queue, key.priority, key.task, key.limits, key.requires))

    def add_kind(self, key: LaneKey) -> Kind:
        """A new kind."""
        kind = Kind(key)
        self._kinds[kind] = kind
        return kind

    def get(self, key: LaneKey) -> Lane | None:
        """The lane of such jobs, if there is one."""
        kind = self.find_kind(key)
        return kind.get(key.tenant, key.ordering_key) if kind is not None else None

    def add(self, lane: Lane) -> None:
        """Makes a lane known, and its kind."""
        kind = lane.kind
        self._kinds[kind] = kind
        if lane.ordering_key:
            kind.bundles = kind.bundles or {}
            bundle = kind.bundles.get(lane.tenant)
            if bundle is None:
                bundle = kind.bundles[lane.tenant] = Bundle(lane)
            bundle.lanes[lane.ordering_key] = lane
        elif lane.tenant:
            kind.lanes = kind.lanes or {}
            kind.lanes[lane.tenant] = lane
        else:
            kind.lane = lane

    def remove(self, lane: Lane) -> None:
        """Forgets a lane; the caller has taken it out of the hand-out order."""
        kind = lane.kind
        if lane.ordering_key:
            bundle = kind.bundles[lane.tenant]
            del bundle.lanes[lane.ordering_key]
            if not bundle.lanes:
                del kind.bundles[lane.tenant]
        elif lane.tenant:
            del kind.lanes[lane.tenant]
        else:
            kind.lane = None
        self.forget_unused(kind)

    def forget_unused(self, kind: Kind) -> None:
        """Forgets a kind if it has no lanes."""
        if kind.lane is None and not kind.lanes and not kind.bundles:
            self._kinds.pop(kind, None)
