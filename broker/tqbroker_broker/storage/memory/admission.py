"""What stands in a job's way: pauses, ordering keys, limits, and the time after a start."""

from __future__ import annotations

from typing import NamedTuple

from tqbroker_broker.limits import limit_names, rule_for
from tqbroker_broker.records import Head, Time
from tqbroker_broker.rules import LimitRule, LimitState
from tqbroker_broker.storage.memory.book import Book
from tqbroker_broker.storage.memory.recovery import Recovery
from tqbroker_broker.storage.memory.store import MemoryStore
from tqbroker_broker.windows import Budget


class Obstacle(NamedTuple):
    """Why a job is not handed out, in the words of `Job.held_by`; `wait_ms`: how long, if only a rate is to blame."""

    word: str
    wait_ms: int = 0


class Admission:
    """Judges lanes over one store and one book. `now` is the time of the last beat or lease."""

    def __init__(self, store: MemoryStore, book: Book, recovery: Recovery) -> None:
        self._store = store
        self._book = book
        self._recovery = recovery
        self._budgets: dict[str, Budget] = {}
        """What started under a rate, by name; of other names nothing is remembered."""
        self.now = Time(0, 0.0)

    def open(self, now: Time) -> None:
        """Takes over the starts from before: how long ago they were is all that the wall clock is asked."""
        self.now = now
        for name, starts in list(self._store.starts.items()):
            rule = rule_for(name, self._rules)
            if not rule or not rule.rates:
                del self._store.starts[name]
            else:
                ages = ((max(now.wall_ms - at, 0), count) for at, count in starts)
                self._budgets[name] = Budget(rule.rates, [(self._mono_ms - age, count) for age, count in ages])

    @property
    def _mono_ms(self) -> int:
        return int(self.now.mono * 1000)

    def obstacle(self, head: Head) -> Obstacle | None:
        """The first thing in the way of this job, whoever asks for it."""
        rule = self._store.rules.get(head.queue)
        if rule and rule.paused:
            return Obstacle("paused")
        if self._recovery.awaited and self._is_guarded(head):
            return Obstacle("recovering")
        if taken := self.taken(head):
            return Obstacle(taken)
        waits = [(self._wait_ms(name, limit), name) for name, limit in self._limits(head) if limit.rates]
        wait_ms, name = max(waits, default=(0, ""))
        return Obstacle(f"limit {name}", wait_ms) if wait_ms else None

    def taken(self, head: Head) -> str:
        """What is in the way of this job because of the leases there are: its ordering key, or a limit."""
        if head.traits.ordering_key and self._is_leased(head.queue, head.traits.ordering_key):
            return f"ordering key {head.traits.ordering_key}"
        full = (name for name, limit in self._limits(head) if 0 < limit.concurrency <= self._running(name))
        return next((f"limit {name}" for name in full), "")

    def is_rated(self, head: Head) -> bool:
        """Whether a rate counts the starts of this job."""
        return any(limit.rates for _, limit in self._limits(head))

    def spend(self, head: Head) -> None:
        """A job with this head starts now."""
        for name, limit in self._limits(head):
            if limit.rates:
                budget = self._budget(name, limit)
                budget.add(self._mono_ms, 1)
                self._budgets[name] = budget
                starts = [(self.now.wall_ms - (self._mono_ms - at), count) for at, count in budget.starts()]
                self._store.starts[name] = starts

    def forget(self) -> None:
        """Forgets names whose starts no rate looks back to."""
        for name, budget in list(self._budgets.items()):
            limit = rule_for(name, self._rules)
            if not limit or not limit.rates or budget.is_quiet(self._mono_ms):
                del self._budgets[name], self._store.starts[name]

    def states(self) -> list[LimitState]:
        """Every limit, and how many leases count against it."""
        counts = dict.fromkeys(self._rules, 0)
        for lease in self._book.by_job:
            for _, limit in self._limits(self._store.jobs[lease].head):
                counts[limit.name] += bool(limit.concurrency or limit.rates)
        limits = sorted(self._store.limits.items())
        return [LimitState(limit.rule, limit.operator, counts[name]) for name, limit in limits]

    @property
    def _rules(self) -> dict[str, LimitRule]:
        return {name: limit.rule for name, limit in self._store.limits.items()}

    def _limits(self, head: Head) -> list[tuple[str, LimitRule]]:
        """The names this job counts against that have a rule."""
        found = ((name, rule_for(name, self._rules)) for name in limit_names(head))
        return [(name, limit) for name, limit in found if limit]

    def _is_guarded(self, head: Head) -> bool:
        """Whether awaited workers may hold what this job must not run beside."""
        return bool(head.traits.ordering_key) or any(limit.concurrency for _, limit in self._limits(head))

    def _is_leased(self, queue: str, ordering_key: str) -> bool:
        heads = (self._store.jobs[job].head for job in self._book.by_job)
        return any((head.queue, head.traits.ordering_key) == (queue, ordering_key) for head in heads)

    def _running(self, name: str) -> int:
        return sum(name in limit_names(self._store.jobs[job].head) for job in self._book.by_job)

    def _wait_ms(self, name: str, limit: LimitRule) -> int:
        return self._budget(name, limit).opens_at(self._mono_ms) - self._mono_ms

    def _budget(self, name: str, limit: LimitRule) -> Budget:
        """What a name may spend by the rule that holds now; what started under another still counts."""
        budget = self._budgets.get(name)
        if budget is None or budget.rates != limit.rates:
            budget = Budget(limit.rates, budget.starts() if budget else ())
        return budget
