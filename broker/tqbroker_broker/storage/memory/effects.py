"""What a verb did, gathered for its answer."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from tqbroker_broker.records import JobId
from tqbroker_broker.storage.memory.store import Row


@dataclass(slots=True)
class Effects:
    """What a verb did. `due_ms` are times of what it scheduled, `limit` is how many jobs it may still handle.

    `ended` are jobs whose followers are still to be seen to.
    """

    final: list[JobId] = field(default_factory=list)
    woken: set[str] = field(default_factory=set)
    due_ms: list[int] = field(default_factory=list)
    lost_workers: list[str] = field(default_factory=list)
    limit: int = 0
    ended: deque[Row] = field(default_factory=deque)

    @property
    def next_due_ms(self) -> int:
        """The earliest time of what was scheduled; 0: nothing was."""
        return min(self.due_ms, default=0)
