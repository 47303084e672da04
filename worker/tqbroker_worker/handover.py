"""Which child gets which job: the decisions, free of processes and sockets.

A job of a task that is not fast gets a slot of its own. Fast ones are handed over in chunks, as many as a slot is
expected to run in some milliseconds. What cannot be started soon goes back to the broker, where others may take it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from tqbroker.failures import FailureData
from tqbroker_worker.credit import AHEAD_US, Credit
from tqbroker_worker.joblog import JobLog
from tqbroker_worker.ledger import Ending, Ledger, Outcome, Successes
from tqbroker_worker.protocol import Cancel, Done, Down, Ended, HandBack, Jobs, Unstarted, Verdict

AT_HAND_US = 10_000.0
"""Work of fast tasks to keep in a child for each slot: covers the way to the parent and back."""
CHUNK = 128
"""Most jobs in one message to a child."""
LATE = 4
"""How many times the planned work may wait in the parent before the rest is returned."""

_NONE: set[int] = set()


@dataclass(slots=True, eq=False)
class Seat:
    """A child as the hand-over sees it: its slots, and the jobs it has, in the order they were handed over.

    `slow` are those jobs that block a slot: of a task that is not fast, or running for too long. `started` reads how
    many jobs the child has ever started, `finished` counts those it reported.
    """

    slots: int
    send: Callable[[Down], None]
    started: Callable[[], int]
    jobs: dict[int, Jobs] = field(default_factory=dict)
    slow: set[int] = field(default_factory=set)
    finished: int = 0

    @property
    def free(self) -> int:
        """Slots that no slow job blocks."""
        return self.slots - len(self.slow)

    @property
    def running(self) -> int:
        """Jobs that were started and not reported yet."""
        return min(len(self.jobs), max(0, self.started() - self.finished))


class Handover:
    """Jobs from the broker to the seats, outcomes from the seats to the ledger. `wake` is called when there is news."""

    def __init__(self, credit: Credit, ledger: Ledger, log: JobLog, wake: Callable[[], None]) -> None:
        self.seats: list[Seat] = []
        self.closed = False
        self._credit = credit
        self._ledger = ledger
        self._log = log
        self._wake = wake
        self._queue: deque[Jobs] = deque()
        self._dead: set[int] = set()  # leases that are not ours any more, of jobs that a child still has
        self._cancelled: set[int] = set()

    @property
    def slots(self) -> int:
        """Slots of the children that are up, but for those in which lost jobs still run."""
        return sum(seat.slots - len(self._lost_in(seat)) for seat in self.seats)

    @property
    def blocked(self) -> int:
        """How many of these are taken by slow jobs."""
        return sum(len(seat.slow) - len(self._lost_in(seat)) for seat in self.seats)

    @property
    def running(self) -> int:
        """Jobs that were started and have no outcome yet."""
        return sum(seat.running for seat in self.seats)

    @property
    def idle(self) -> bool:
        """Whether no child has a job, and none waits for one."""
        return not self._queue and not any(seat.jobs for seat in self.seats)

    def leases(self) -> Iterator[tuple[int, Jobs]]:
        """Every lease of a job that has no outcome yet, with the jobs it came with."""
        for jobs in self._queue:
            yield from ((token, jobs) for token in jobs.tokens)
        for seat in self.seats:
            yield from (lease for lease in seat.jobs.items() if lease[0] not in self._dead)

    def add(self, seat: Seat) -> None:
        """A child is ready."""
        self.seats.append(seat)
        self._feed()
        self._wake()

    def offer(self, jobs: Jobs) -> None:
        """Jobs arrived from the broker."""
        if self.closed:
            self._give_back(jobs.tokens)
            return
        task = jobs.head.task
        self._credit.delivered(task, len(jobs), sum(map(len, jobs.args)))
        size = self._chunk(task, len(jobs))
        self._queue.extend(jobs.part(at, at + size) for at in range(0, len(jobs), size))
        self._feed()
        self._log.received(jobs)

    def done(self, seat: Seat, done: Done) -> None:
        """Jobs of this seat succeeded."""
        sources = [seat.jobs.pop(token) for token in done.tokens]
        self._finished(seat, done.tokens)
        self._measure(sources, done.runtime_us)
        self._settle(Successes(done, sources))
        self._feed()
        self._log.succeeded(done, sources)

    def ended(self, seat: Seat, ended: Ended) -> None:
        """A started job of this seat ended otherwise."""
        source = seat.jobs.pop(ended.token)
        self._finished(seat, [ended.token])
        self._credit.measured(source.head.task, 1, ended.runtime_us)
        self._end(ended, source)
        self._feed()

    def unstarted(self, seat: Seat, message: Unstarted) -> None:
        """A child gives back jobs that it did not start."""
        back = [(token, seat.jobs.pop(token)) for token in message.tokens]
        seat.slow.difference_update(message.tokens)
        if message.overdue:
            seat.slow.update(islice(seat.jobs, seat.running))
        self._requeue(back)

    def crashed(self, seat: Seat, why: str) -> None:
        """A child died: what it had started is lost, the rest is handed to others."""
        self.seats.remove(seat)
        leases = list(seat.jobs.items())
        for token, source in leases[: seat.running]:
            self._cancelled.discard(token)
            failure = FailureData("WorkerLostError", "tqbroker.exceptions", f"{why} while it had this job")
            self._end(Ended(token, Verdict.LOST, failure), source)
        self._requeue(leases[seat.running :])
        self._wake()

    def abandon(self, seat: Seat) -> None:
        """A child was ended on purpose: all of its jobs go back."""
        self.seats.remove(seat)
        self._give_back([token for token in seat.jobs if token not in self._dead])

    def cancel(self, tokens: Iterable[int]) -> None:
        """Somebody cancelled these jobs: they do not start any more, and those that run are stopped if possible."""
        self._cancelled.update(self._recall(tokens, self._cancel_waiting))

    def forget(self, tokens: Iterable[int]) -> None:
        """These leases are not ours any more: the jobs do not start, and whatever becomes of them is not reported."""
        self._dead.update(self._recall(tokens, lambda _token, _source: None))

    def close(self) -> None:
        """Takes no more jobs, and gives back every one that is not started."""
        self.closed = True
        self._give_back([token for jobs in self._queue for token in jobs.tokens])
        self._queue.clear()
        for seat in self.seats:
            seat.send(HandBack())

    def _lost_in(self, seat: Seat) -> set[int]:
        return self._dead & seat.slow if self._dead else _NONE

    def _cancel_waiting(self, token: int, source: Jobs) -> None:
        self._end(Ended(token, Verdict.CANCELLED, None), source)

    def _recall(self, tokens: Iterable[int], waiting: Callable[[int, Jobs], None]) -> set[int]:
        """Takes tokens out of the queue, passes them to `waiting`, asks children for the others and returns those."""
        wanted = set(tokens)
        for jobs in [jobs for jobs in self._queue if not wanted.isdisjoint(jobs.tokens)]:
            hit = wanted.intersection(jobs.tokens)
            at = self._queue.index(jobs)
            self._queue[at] = jobs.pick(token for token in jobs.tokens if token not in hit)
            for token in hit:
                waiting(token, jobs)
        self._queue = deque(jobs for jobs in self._queue if len(jobs))
        asked: set[int] = set()
        for seat in self.seats:
            if theirs := wanted.intersection(seat.jobs):
                seat.send(Cancel(list(theirs)))
                asked |= theirs
        return asked

    def _finished(self, seat: Seat, tokens: list[int]) -> None:
        seat.finished += len(tokens)
        if seat.slow:
            seat.slow.difference_update(tokens)
        if self._cancelled:
            self._cancelled.difference_update(tokens)

    def _measure(self, sources: list[Jobs], runtime_us: list[int]) -> None:
        tasks = {source.head.task for source in set(sources)}
        if len(tasks) == 1:
            self._credit.measured(tasks.pop(), len(sources), sum(runtime_us))
            return
        for task in tasks:
            times = [us for source, us in zip(sources, runtime_us, strict=True) if source.head.task == task]
            self._credit.measured(task, len(times), sum(times))

    def _end(self, ended: Ended, source: Jobs) -> None:
        self._log.ended(ended, source)
        self._settle(Ending(ended, source))

    def _settle(self, outcome: Outcome) -> None:
        if self._dead:
            tokens = outcome.tokens()
            dead = self._dead
            ours = outcome.only(lambda token: token not in dead)
            dead.difference_update(tokens)
            if ours is None:
                self._wake()
                return
            outcome = ours
        self._ledger.add(outcome)
        self._wake()

    def _give_back(self, tokens: list[int]) -> None:
        if tokens:
            self._ledger.give_back(tokens)
            self._wake()

    def _requeue(self, back: list[tuple[int, Jobs]]) -> None:
        """Unstarted jobs go to the front of the queue again, in their order, one by one."""
        again: list[Jobs] = []
        for token, source in back:
            if token in self._dead:
                self._dead.discard(token)
            elif token in self._cancelled:
                self._cancelled.discard(token)
                self._cancel_waiting(token, source)
            else:
                again.append(source.pick((token,)))
        if self.closed:
            self._give_back([jobs.tokens[0] for jobs in again])
            return
        self._queue.extendleft(reversed(again))
        self._feed()

    def _chunk(self, task: str, count: int) -> int:
        if not self._credit.is_fast(task):
            return 1
        seats = sum(seat.free > 0 for seat in self.seats)
        return max(1, min(CHUNK, self._at_hand(task) // 2, -(-count // max(1, seats))))

    def _at_hand(self, task: str) -> int:
        return int(max(1.0, AT_HAND_US / self._credit.cost_us(task)))

    def _feed(self) -> None:
        """Hands over whatever fits, and returns what would wait for too long."""
        while self._queue:
            jobs = self._queue[0]
            fast = self._credit.is_fast(jobs.head.task)
            if not fast and len(jobs) > 1:
                self._queue.popleft()
                self._queue.extendleft(jobs.part(at, at + 1) for at in reversed(range(len(jobs))))
                continue
            seat = self._seat(jobs.head.task, fast)
            if seat is None:
                self._return_late()
                return
            self._queue.popleft()
            seat.jobs.update(dict.fromkeys(jobs.tokens, jobs))
            if not fast:
                seat.slow.add(jobs.tokens[0])
            seat.send(jobs)

    def _seat(self, task: str, fast: bool) -> Seat | None:
        """The seat with most room, if any has room for this task."""
        best, least = None, 0.0
        at_hand = self._at_hand(task) if fast else 0
        for seat in self.seats:
            if (free := seat.free) <= 0:
                continue
            load = (len(seat.jobs) - len(seat.slow)) / free
            if fast and load >= at_hand:
                continue
            load = load if fast else load + len(seat.slow)
            if best is None or load < least:
                best, least = seat, load
        return best

    def _return_late(self) -> None:
        free = sum(seat.free for seat in self.seats)
        left, at = LATE * AHEAD_US * free, 0
        for jobs in self._queue:
            if left <= 0:
                break
            left -= len(jobs) * (self._credit.cost_us(jobs.head.task) if free else 0)
            at += 1
        late = [self._queue.pop() for _ in range(len(self._queue) - at)]
        self._give_back([token for jobs in reversed(late) for token in jobs.tokens])
