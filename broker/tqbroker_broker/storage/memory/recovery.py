"""The time after a start in which jobs from before it wait for the workers that may still be running them."""

from __future__ import annotations

from dataclasses import dataclass, field

from tqbroker_broker.records import State
from tqbroker_broker.storage.memory.store import Row


@dataclass(slots=True)
class Recovery:
    """Workers awaited, the end of the wait (monotonic seconds), and the last number given before the start.

    `listed` are all that were on the list then, with their instances: only they resume what they had.

    The wait is over when nobody is awaited any more: who has not come back at its end is so until it is off the list.
    """

    awaited: set[str] = field(default_factory=set)
    listed: dict[str, bytes] = field(default_factory=dict)
    ends: float = 0.0
    last_number: int = 0

    def left(self, mono: float) -> float:
        """Seconds until workers are given up; 0.0 also when nobody is awaited any more."""
        return max(0.0, self.ends - mono) if self.awaited else 0.0

    def withholds(self, row: Row) -> bool:
        """Whether this job, which is not leased, may be in the hands of an awaited worker, and must not be touched."""
        return bool(self.awaited) and row.state is State.QUEUED and row.order <= self.last_number
