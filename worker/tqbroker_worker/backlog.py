"""Jobs that wait in the parent for a child, in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from tqbroker_worker.credit import AHEAD_US, Credit
from tqbroker_worker.jobs import Jobs

LATE = 4
"""How many times the planned work may wait in the parent before the rest is returned."""


class Backlog:
    """The jobs, as messages to children: what is first goes first."""

    def __init__(self, credit: Credit) -> None:
        self._credit = credit
        self._queue: deque[Jobs] = deque()

    def __bool__(self) -> bool:
        """Whether any job waits."""
        return bool(self._queue)

    def leases(self) -> Iterator[tuple[int, Jobs]]:
        """Every job's token, with the jobs it came with."""
        for jobs in self._queue:
            yield from ((token, jobs) for token in jobs.tokens)

    def put(self, parts: Iterable[Jobs]) -> None:
        """Jobs that have arrived."""
        self._queue.extend(parts)

    def put_back(self, parts: list[Jobs]) -> None:
        """Jobs that were here before, or were given back by a child, in front of all others."""
        self._queue.extendleft(reversed(parts))

    def take(self) -> Jobs:
        """Takes the first ones: of a task that is not fast, one job."""
        jobs = self._queue.popleft()
        if len(jobs) > 1 and not self._credit.is_fast(jobs.head.task):
            self.put_back([jobs.part(at, at + 1) for at in range(1, len(jobs))])
            return jobs.part(0, 1)
        return jobs

    def take_out(self, tokens: set[int]) -> list[tuple[int, Jobs]]:
        """Takes these out wherever they stand."""
        out: list[tuple[int, Jobs]] = []
        for at, jobs in enumerate(self._queue):
            if hit := tokens.intersection(jobs.tokens):
                out += ((token, jobs) for token in hit)
                self._queue[at] = jobs.pick(token for token in jobs.tokens if token not in hit)
        if out:
            self._queue = deque(jobs for jobs in self._queue if len(jobs))
        return out

    def take_all(self) -> list[int]:
        """Empties it, and gives the tokens of what was in it."""
        tokens = [token for jobs in self._queue for token in jobs.tokens]
        self._queue.clear()
        return tokens

    def take_late(self, free: int) -> list[int]:
        """Takes out what could not start soon in so many free slots, and gives its tokens."""
        left, at = LATE * AHEAD_US * free, 0
        for jobs in self._queue:
            if left <= 0:
                break
            left -= len(jobs) * (self._credit.cost_us(jobs.head.task) if free else 0)
            at += 1
        late = [self._queue.pop() for _ in range(len(self._queue) - at)]
        return [token for jobs in reversed(late) for token in jobs.tokens]
