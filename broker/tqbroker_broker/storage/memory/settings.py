"""Rules of queues and limits: the verbs `put_queue`, `queue_rules`, `put_limits` and `limits`."""

from __future__ import annotations

from collections.abc import Sequence

from tqbroker_broker.lifecycle import FINAL
from tqbroker_broker.rules import LimitRule, QueueRule
from tqbroker_broker.storage import QueueInUse
from tqbroker_broker.storage.memory.store import MemoryStore, StoredLimit


class Settings:
    """Rules over one store."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def put_queue(self, queue: str, rule: QueueRule | None) -> None:
        """Sets or removes a rule. Raises QueueInUse."""
        rows = (row for row in self._store.jobs.values() if row.head.queue == queue)
        if rule is None and any(row.state not in FINAL for row in rows):
            raise QueueInUse(f"queue {queue!r} has jobs that are not finished: let them finish, move or cancel them")
        if rule is None or rule == QueueRule():
            self._store.rules.pop(queue, None)
        else:
            self._store.rules[queue] = rule

    def put_limits(self, rules: Sequence[LimitRule], remove: Sequence[str], *, operator: bool) -> None:
        """Removes, then sets; what an operator has set only an operator changes."""
        for name in remove:
            if self._may_change(name, operator):
                self._store.limits.pop(name, None)
        for rule in rules:
            if self._may_change(rule.name, operator):
                self._store.limits[rule.name] = StoredLimit(rule, operator)

    def _may_change(self, name: str, operator: bool) -> bool:
        limit = self._store.limits.get(name)
        return operator or limit is None or not limit.operator
