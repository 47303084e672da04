"""Which child gets which job, and when.

A job of a task that is not fast gets a slot of its own. Fast ones are handed over in chunks, as many as a slot is
expected to run in some milliseconds.

A suspect, a job that has lost two leases, gets a slot of its own in a child that has no other suspect: if that child
dies too, it is known who it was, and the jobs that ran beside it lose nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from tqbroker_worker.backlog import Backlog
from tqbroker_worker.credit import Credit
from tqbroker_worker.jobs import Jobs
from tqbroker_worker.seats import Seat, roomiest

AT_HAND_US = 10_000.0
"""Work of fast tasks to keep in a child for each slot: covers the way to the parent and back."""
CHUNK = 128
"""Most jobs in one message to a child."""


class Feeder:
    """Hands jobs that wait in the backlog to these seats."""

    def __init__(self, seats: list[Seat], backlog: Backlog, credit: Credit) -> None:
        self.backlog = backlog
        self.on_full: Callable[[Seat], None] = lambda _seat: None
        """Called when a seat has had as many jobs as its child may get."""
        self.watch: Callable[[Seat, Jobs], None] | None = None
        """Called for all jobs that a child is given, where some of them may not run for as long as they like."""
        self._credit = credit
        self._seats = seats

    def put(self, jobs: Jobs) -> None:
        """Jobs have arrived."""
        if jobs.lost:
            jobs = self.backlog.set_apart(jobs)
        size = self._chunk(jobs.head.task, len(jobs))
        self.backlog.put(jobs.part(at, at + size) for at in range(0, len(jobs), size))

    def feed(self) -> list[int]:
        """Hands over whatever fits. Takes out what would wait for too long, and gives its tokens."""
        backlog = self.backlog
        if backlog.suspects:
            self._feed_suspects()
        while (jobs := backlog.take()) is not None:
            fast = self._credit.is_fast(jobs.head.task)
            seat = roomiest(self._seats, self._at_hand(jobs.head.task) if fast else 0)
            if seat is None:
                backlog.put_back([jobs])
                return backlog.take_late(sum(seat.free for seat in self._seats))
            if 0 < seat.left < len(jobs):
                backlog.put_back([jobs.part(seat.left, len(jobs))])
                jobs = jobs.part(0, seat.left)
            self._hand(seat, jobs, slow=not fast)
        return []

    def _feed_suspects(self) -> None:
        waiting = self.backlog.suspects
        while waiting and (seat := roomiest([s for s in self._seats if s.suspect not in s.jobs], 0)) is not None:
            seat.suspect = waiting[0].tokens[0]
            self._hand(seat, waiting.popleft(), slow=True)

    def _hand(self, seat: Seat, jobs: Jobs, slow: bool) -> None:
        seat.hand(jobs, slow)
        if self.watch is not None:
            self.watch(seat, jobs)
        if seat.left == 0:
            seat.leaving = True
            self.on_full(seat)

    def _chunk(self, task: str, count: int) -> int:
        if not self._credit.is_fast(task):
            return 1
        seats = sum(seat.free > 0 for seat in self._seats)
        return max(1, min(CHUNK, self._at_hand(task) // 2, -(-count // max(1, seats))))

    def _at_hand(self, task: str) -> int:
        return int(max(1.0, AT_HAND_US / self._credit.cost_us(task)))
