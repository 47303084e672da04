"""Lane heads: where in each lane the next job stands.

A lane's jobs are keys on disk. All that is kept in memory is `head`, the lowest order that may still be waiting, so the
memory does not grow with the backlog and nothing is rebuilt at start.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class Lane:
    """The sub-order of a queue in which jobs are strictly FIFO. `head` None: nothing is waiting."""

    prefix: bytes
    queue: str
    priority: int
    task: str
    head: int | None = None
    exact: bool = False
    """Whether a job is known to wait at `head`, as opposed to at `head` or later."""


LaneKey = tuple[str, int, str]


class Lanes:
    """All lanes ever used, by their key and by queue."""

    def __init__(self) -> None:
        self.by_key: dict[LaneKey, Lane] = {}
        self.by_queue: dict[str, list[Lane]] = {}

    def add(self, lane: Lane) -> None:
        """Makes a lane known; within a queue the higher priority comes first."""
        self.by_key[lane.queue, lane.priority, lane.task] = lane
        lanes = self.by_queue.setdefault(lane.queue, [])
        lanes.append(lane)
        lanes.sort(key=lambda each: -each.priority)

    def __iter__(self) -> Iterator[Lane]:
        return iter(self.by_key.values())

    def waiting(self, queues: Iterable[str], tasks: frozenset[str]) -> list[Lane]:
        """The lanes of these queues and tasks that may have a job."""
        return [
            lane
            for queue in queues
            for lane in self.by_queue.get(queue, ())
            if lane.head is not None and lane.task in tasks
        ]


def wake(lane: Lane, order: int) -> None:
    """A job became ready at this order: a head that is already past it moves back."""
    if lane.head is None or order < lane.head:
        lane.head = order
        lane.exact = False
