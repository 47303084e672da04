"""Limits at work: a gate for each concrete name under a rule, which counts what runs and what started."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from heapq import heappop, heappush
from itertools import count, islice
from weakref import WeakValueDictionary

from tqbroker_broker.limits import limit_names, rule_for
from tqbroker_broker.records import Head
from tqbroker_broker.rules import LimitRule, Traits
from tqbroker_broker.storage.lmdb.lanes import Child, Kind
from tqbroker_broker.windows import Budget

ANY = 1 << 62
"""Room where nothing limits."""

SLICE = 1000
"""Most lanes that leave an opened gate in one hand-out; the others leave in the next."""

Starts = list[tuple[int, int]]
"""Moments (milliseconds) and how many jobs started then."""


class Gate:
    """One concrete name: how many jobs may pass now.

    `parked` are the lanes that wait here, out of the hand-out order. Starts under a rate are paid from `reserved`,
    which is on disk already and valid until `valid_ms`; `taken` are those of the hand-out under way.
    """

    __slots__ = (
        "__weakref__", "budget", "name", "parked", "reserved", "rule", "running", "taken", "timed", "valid_ms",
    )  # fmt: skip

    def __init__(self, name: str, rule: LimitRule) -> None:
        self.name = name
        self.rule = rule
        self.running = 0
        self.parked: dict[Child, None] = {}
        self.budget = Budget(rule.rates) if rule.rates else None
        self.reserved = 0
        self.valid_ms = 0
        self.taken = 0
        self.timed = False

    def follow(self, rule: LimitRule) -> None:
        """Another rule holds from now on; what started lately still counts."""
        if rule.rates != self.rule.rates:
            starts = self.starts()
            self.budget = Budget(rule.rates, starts) if rule.rates else None
            self.reserved = 0
        self.rule = rule

    def starts(self) -> Starts:
        """What is remembered of the longest period."""
        return self.budget.starts() if self.budget is not None else []

    def left(self, now_ms: int) -> int:
        """How many starts the rates admit from now on, so that they can be paid for."""
        return (self.budget.left(now_ms) if self.budget is not None else ANY) - self.taken

    def paid(self, now_ms: int) -> int:
        """How many starts are reserved and not taken yet."""
        return self.reserved - self.taken if now_ms < self.valid_ms else -self.taken

    def room(self, now_ms: int, *, paid_only: bool) -> int:
        """How many jobs may pass now."""
        room = self.rule.concurrency - self.running if self.rule.concurrency else ANY
        if self.budget is not None:
            room = min(room, self.budget.room(now_ms) - self.taken)
            if paid_only:
                room = min(room, self.paid(now_ms))
        return room

    def opens_ms(self, now_ms: int) -> int:
        """When the rates admit one more."""
        return self.budget.opens_at(now_ms) if self.budget is not None else now_ms

    def is_quiet(self, now_ms: int) -> bool:
        """Whether no start matters any more."""
        return self.budget is None or self.budget.is_quiet(now_ms)

    def release(self, most: int) -> list[Child]:
        """Lets so many lanes go on that wait here."""
        left = list(islice(self.parked, most))
        for child in left:
            del self.parked[child]
            child.gate = None
        return left

    def settle(self, now_ms: int) -> None:
        """What was taken has started."""
        if self.budget is not None:
            self.budget.add(now_ms, self.taken)
        self.reserved -= self.taken
        self.taken = 0


class Gates:
    """All limits: the rules, and the gates of the names that jobs count against."""

    def __init__(self) -> None:
        self.rules: dict[str, LimitRule] = {}
        self.by_operator: set[str] = set()
        self._gates: WeakValueDictionary[str, Gate] = WeakValueDictionary()
        self.paying: dict[str, Gate] = {}
        """Gates with starts on disk, by name; the one that paid last comes last."""
        self.spending: dict[Gate, None] = {}
        """Gates whose starts the hand-out under way has taken."""
        self.version = 0
        """Of the rules. The gates of a kind that knows an older one have to be found anew."""
        self._opened: dict[Gate, None] = {}
        self._outdated: list[Gate] = []
        """Gates whose lanes waited under older rules, and are to be looked at again."""
        self._timers: list[tuple[int, int, Gate]] = []
        self._numbers = count()

    def __iter__(self) -> Iterator[Gate]:
        return iter(list(self._gates.values()))

    def restore(self, name: str, starts: Starts) -> None:
        """What started before the restart still counts."""
        gate = self._gate(name) or Gate(name, LimitRule(name))
        if gate.budget is not None:
            gate.budget = Budget(gate.rule.rates, starts)
        self.paying[name] = gate

    @property
    def in_use(self) -> bool:
        """Whether a hand-out has anything to do with limits."""
        return bool(self.rules or self._outdated)

    def refresh(self, kind: Kind) -> None:
        """Finds the gates of a kind by the rules that hold now."""
        if kind.version == self.version:
            return
        kind.version = self.version
        if not self.rules:
            kind.gates = ()
            return
        head = Head(kind.task, kind.queue, kind.priority, "", traits=Traits(limits=kind.limits))
        gates = (self._gate(name) for name in limit_names(head))
        kind.gates = tuple(gate for gate in gates if gate is not None)

    def _gate(self, name: str) -> Gate | None:
        rule = rule_for(name, self.rules)
        if rule is None or not (rule.concurrency or rule.rates):
            return None
        gate = self._gates.get(name)
        if gate is None:
            gate = self._gates[name] = Gate(name, rule)
        else:
            gate.follow(rule)
        return gate

    # -- the course of a hand-out ------------------------------------------------------------------------------------

    def park(self, gate: Gate, child: Child, now_ms: int) -> None:
        """A lane waits here until the gate opens."""
        child.gate = gate
        gate.parked[child] = None
        self._time(gate, now_ms)

    def started(self, kind: Kind) -> None:
        """A job of this kind runs."""
        for gate in kind.gates:
            gate.running += 1

    def spend(self, kind: Kind) -> None:
        """The hand-out under way has taken a job of this kind."""
        for gate in kind.gates:
            if gate.budget is not None:
                gate.taken += 1
                self.spending[gate] = None

    def unspend(self) -> dict[Gate, int]:
        """The hand-out under way is undone. Returns what it had taken."""
        taken = {gate: gate.taken for gate in self.spending}
        for gate in taken:
            gate.taken = 0
        self.spending.clear()
        return taken

    def settle(self, now_ms: int) -> None:
        """What the hand-out took has started."""
        for gate in self.spending:
            gate.settle(now_ms)
            self._time(gate, now_ms)  # its lanes were parked before these starts counted
        self.spending.clear()

    def next_ms(self) -> int | None:
        """When the next gate with lanes opens, if that is known."""
        if self._outdated or self._opened:
            return 0
        return self._timers[0][0] if self._timers else None

    def are_full(self, kind: Kind) -> bool:
        """Whether as many jobs run as a limit of this kind allows."""
        self.refresh(kind)
        return any(0 < gate.rule.concurrency <= gate.running for gate in kind.gates)

    def ended(self, kind: Kind) -> None:
        """A job of this kind runs no more."""
        for gate in kind.gates:
            gate.running -= 1
            if gate.parked:
                self._opened[gate] = None

    def leaving(self, now_ms: int) -> list[Child]:
        """The lanes that need not wait any more."""
        while self._timers and self._timers[0][0] <= now_ms:
            gate = heappop(self._timers)[2]
            gate.timed = False
            self._opened[gate] = None
        left: list[Child] = []
        while self._outdated and len(left) < SLICE:
            gate = self._outdated.pop()
            left += gate.release(SLICE - len(left))
            if gate.parked:
                self._outdated.append(gate)
        for gate in list(self._opened):
            if len(left) < SLICE and gate.room(now_ms, paid_only=False) > 0:
                left += gate.release(SLICE - len(left))
            if len(left) < SLICE:
                del self._opened[gate]
                self._time(gate, now_ms)
        return left

    def _time(self, gate: Gate, now_ms: int) -> None:
        """Comes back to a gate with lanes when its rates admit more."""
        opens_ms = gate.opens_ms(now_ms)
        if gate.parked and opens_ms > now_ms and not gate.timed:
            gate.timed = True
            heappush(self._timers, (opens_ms, next(self._numbers), gate))

    def all_parked(self) -> list[Child]:
        """Empties every gate."""
        left: list[Child] = []
        for gate in list(self._gates.values()):
            left += gate.release(len(gate.parked))
        return left

    # -- rules -------------------------------------------------------------------------------------------------------

    def follow(self, rules: Mapping[str, LimitRule], running: Sequence[Kind]) -> None:
        """Other rules hold from now on; `running` is the kind of each lease.

        There may be any number of kinds: those of which nothing runs find their gates when it is their turn.
        """
        for kind in running:
            for gate in kind.gates:
                gate.running = 0
        self.rules = dict(rules)
        self.version += 1
        for _, _, gate in self._timers:
            gate.timed = False
        self._timers.clear()
        self._outdated = [gate for gate in self._gates.values() if gate.parked]
        for kind in running:
            self.refresh(kind)
            for gate in kind.gates:
                gate.running += 1
