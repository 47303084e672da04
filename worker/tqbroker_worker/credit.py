"""How much work to ask for: enough to keep the slots busy for some tens of milliseconds, and no more.

A task is fast once it was measured to be. Fast tasks may fill the window; every other job gets a slot of its own. The
window follows from what the delivered jobs are expected to take, so that a change of mix is seen at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

FAST_US = 20_000.0
"""A task with a longer mean run time is not fast."""
MIN_RUNS = 3
"""Runs to measure before a task may be called fast."""
AHEAD_US = 30_000.0
"""Work to have at hand for each slot."""
MAX_WINDOW = 4096
"""Most leases to hold, but for suspects; what the parent keeps in memory is bounded by it."""
MAX_APART = 100
"""Most suspects that wait for their turn without taking the place of other jobs: more than most children have slots."""
MAX_BYTES = 32 << 20
"""Bytes of arguments to hold, as far as they can be foreseen."""
OVERHEAD_US = 8.0
"""What a job costs besides its body."""
_MEMORY = 64.0
"""Runs after which new measurements have half of the weight."""
_RAMP = 4
"""How many more jobs to ask for than have been measured: a wrong first impression stays cheap."""


class Offer(NamedTuple):
    """What the wire calls Credit: `slots` jobs at once, `window` leases in all, the latter only for tasks in `fast`."""

    slots: int
    window: int
    fast: frozenset[str]

    def differs(self, other: Offer | None) -> bool:
        """Whether the change is worth telling. Measurements waver: a smaller window only when it is half."""
        if other is None or self.slots != other.slots or self.fast != other.fast:
            return True
        grown, shrunk = self.window * 4 >= other.window * 5, self.window * 2 <= other.window
        return self.window != other.window and (grown or shrunk)


NOTHING = Offer(0, 0, frozenset())


@dataclass(slots=True)
class _Measure:
    mean_us: float = 0.0
    runs: int = 0
    received: int = 0
    weight: float = 0.0  # share in what was delivered lately
    bytes: float = 0.0  # of the arguments, mean


class Credit:
    """Run times by task, and the credit that follows from them.

    `ahead` is the most jobs to hold for each slot, 0 for as many as are planned.
    """

    def __init__(self, ahead: int = 0) -> None:
        self.ahead = ahead
        self._tasks: dict[str, _Measure] = {}
        self._fast: frozenset[str] = frozenset()

    def delivered(self, task: str, count: int, size: int) -> None:
        """`count` jobs of one task arrived, with `size` bytes of arguments."""
        keep = _MEMORY / (_MEMORY + count)
        for measure in self._tasks.values():
            measure.weight *= keep
        measure = self._measure(task)
        measure.received += count
        measure.weight += 1 - keep
        measure.bytes += (size / count - measure.bytes) * (1 - keep if measure.bytes else 1)

    def measured(self, task: str, count: int, total_us: float) -> None:
        """`count` jobs of one task ran for `total_us` microseconds together."""
        measure = self._measure(task)
        measure.mean_us += (total_us / count - measure.mean_us) * count / (count + min(measure.runs, _MEMORY))
        measure.runs += count
        fast = measure.runs >= MIN_RUNS and measure.mean_us < FAST_US
        if fast != (task in self._fast):
            self._fast = self._fast | {task} if fast else self._fast - {task}

    def is_fast(self, task: str) -> bool:
        """Whether several jobs of this task may wait behind each other in one slot."""
        return task in self._fast

    def cost_us(self, task: str) -> float:
        """What one job of a fast task is expected to take."""
        return self._tasks[task].mean_us + OVERHEAD_US

    def totals(self) -> dict[str, int]:
        """How many jobs of each task have arrived."""
        return {task: measure.received for task, measure in self._tasks.items() if measure.received}

    def offer(self, slots: int, blocked: int, apart: Sequence[str] = ()) -> Offer:
        """The credit for `slots` slots, `blocked` of which are taken by jobs that are not fast.

        `apart` are the tasks of jobs that wait for something else than a slot, and so take the place of no others.
        """
        if slots <= 0:
            return NOTHING
        ahead = self._ahead(slots) if self._fast else 1.0
        if self.ahead:
            ahead = min(ahead, self.ahead)
        window = min(MAX_WINDOW, blocked + max(0, slots - blocked) * ahead)
        window = max(slots, int(window)) + min(MAX_APART, len(apart))
        slow = sum(task not in self._fast for task in apart) if apart else 0
        return Offer(slots + min(MAX_APART, slow), window, self._fast)

    def _ahead(self, slots: int) -> float:
        """Jobs to have at hand for a free slot, by the mix of fast tasks that was delivered lately."""
        weight = cost = size = 0.0
        runs = 0
        for name in self._fast:
            measure = self._tasks[name]
            weight += measure.weight
            cost += measure.weight * (measure.mean_us + OVERHEAD_US)
            size += measure.weight * measure.bytes
            runs = max(runs, measure.runs if measure.weight > 0.01 else 0)
        if not weight or not runs:
            return 1.0
        by_memory = MAX_BYTES / max(1.0, slots * size / weight)
        return max(1.0, min(AHEAD_US * weight / cost, by_memory, _RAMP * runs))

    def _measure(self, task: str) -> _Measure:
        return self._tasks.setdefault(task, _Measure())
