"""Jobs that wait in the parent for a child, in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from tqbroker_worker.credit import AHEAD_US, Credit
from tqbroker_worker.jobs import SUSPECT, Jobs

PATIENCE = 10.0
"""Seconds that a suspect may wait for its turn. Then another worker may get it; this one again if there is no other."""
LATE = 4
"""How many times the planned work may wait in the parent before the rest is returned."""


class Backlog:
    """The jobs, as messages to children: what is first goes first.

    `later(seconds, function)` calls a function after a while, `give_back` gets suspects that have waited too long.
    """

    def __init__(
        self,
        credit: Credit,
        later: Callable[[float, Callable[[], None]], object],
        give_back: Callable[[list[int]], None],
    ) -> None:
        self.suspects: deque[Jobs] = deque()
        """Those of which a child gets one at a time, each by itself; `take` does not give them."""
        self._credit = credit
        self._later = later
        self._give_back = give_back
        self._queue: deque[Jobs] = deque()

    def __bool__(self) -> bool:
        """Whether any job waits."""
        return bool(self._queue or self.suspects)

    def leases(self) -> Iterator[tuple[int, Jobs]]:
        """Every job's token, with the jobs it came with."""
        for jobs in (*self.suspects, *self._queue):
            yield from ((token, jobs) for token in jobs.tokens)

    def set_apart(self, jobs: Jobs) -> Jobs:
        """Lets the suspects among them wait by themselves; gives the others."""
        suspects = [jobs.part(at, at + 1) for at, lost in enumerate(jobs.lost) if lost >= SUSPECT]
        if not suspects:
            return jobs
        self.suspects.extend(suspects)
        self._look_later(suspects)
        return jobs.pick(token for token, lost in zip(jobs.tokens, jobs.lost, strict=True) if lost < SUSPECT)

    def put(self, parts: Iterable[Jobs]) -> None:
        """Jobs that have arrived."""
        self._queue.extend(parts)

    def put_back(self, parts: list[Jobs]) -> None:
        """Jobs that were here before, or were given back by a child, in front of all others."""
        if suspects := [jobs for jobs in parts if jobs.suspect]:
            self.suspects.extendleft(reversed(suspects))
            self._look_later(suspects)
            parts = [jobs for jobs in parts if not jobs.suspect]
        self._queue.extendleft(reversed(parts))

    def take(self) -> Jobs | None:
        """Takes the first ones: of a task that is not fast, one job."""
        if not self._queue:
            return None
        jobs = self._queue.popleft()
        if len(jobs) > 1 and not self._credit.is_fast(jobs.head.task):
            self.put_back([jobs.part(at, at + 1) for at in range(1, len(jobs))])
            return jobs.part(0, 1)
        return jobs

    def take_out(self, tokens: set[int]) -> list[tuple[int, Jobs]]:
        """Takes these out wherever they stand."""
        out: list[tuple[int, Jobs]] = []
        self._queue = _without(self._queue, tokens, out)
        self.suspects = _without(self.suspects, tokens, out)
        return out

    def take_all(self) -> list[int]:
        """Empties it, and gives the tokens of what was in it."""
        tokens = [token for token, _ in self.leases()]
        self._queue.clear()
        self.suspects.clear()
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

    def _look_later(self, suspects: list[Jobs]) -> None:
        self._later(PATIENCE, partial(self._too_long, {jobs.tokens[0] for jobs in suspects}))

    def _too_long(self, suspects: set[int]) -> None:
        self._give_back([token for token, _ in self.take_out(suspects)])


def _without(queue: deque[Jobs], tokens: set[int], out: list[tuple[int, Jobs]]) -> deque[Jobs]:
    """The queue without these, which go into `out` with the jobs they came with."""
    before = len(out)
    for at, jobs in enumerate(queue):
        if hit := tokens.intersection(jobs.tokens):
            out += ((token, jobs) for token in hit)
            queue[at] = jobs.pick(token for token in jobs.tokens if token not in hit)
    return deque(jobs for jobs in queue if len(jobs)) if len(out) > before else queue
