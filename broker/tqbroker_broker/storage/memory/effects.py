"""What a verb did, gathered for its answer."""

from __future__ import annotations

from dataclasses import dataclass, field

from tqbroker_broker.records import JobId


@dataclass(slots=True)
class Effects:
    """What a verb did. `due_ms` are times of what it scheduled, `limit` is how many jobs it may still handle."""

    final: list[JobId] = field(default_factory=list)
    woken: set[str] = field(default_factory=set)
    due_ms: list[int] = field(default_factory=list)
    lost_workers: list[str] = field(default_factory=list)
    limit: int = 0

    @property
    def next_due_ms(self) -> int:
        """The earliest time of what was scheduled; 0: nothing was."""
        return min(self.due_ms, default=0)
