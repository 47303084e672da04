"""What becomes of every job between the broker and the children: the decisions, free of processes and sockets.

What cannot be started soon goes back to the broker, where others may take it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from time import time

from tqbroker.failures import FailureData
from tqbroker_worker.backlog import Backlog
from tqbroker_worker.credit import Credit
from tqbroker_worker.feeding import Feeder
from tqbroker_worker.joblog import JobLog
from tqbroker_worker.jobs import Jobs
from tqbroker_worker.ledger import Ending, Ledger, Outcome, Successes
from tqbroker_worker.protocol import Cancel, Done, Ended, HandBack, Unstarted, Verdict
from tqbroker_worker.seats import Seat

_NONE: set[int] = set()


class Handover:
    """Jobs from the broker to the seats, outcomes from the seats to the ledger.

    `wake` is called when there is news, `later(seconds, function)` calls a function after a while.
    """

    def __init__(
        self,
        credit: Credit,
        ledger: Ledger,
        log: JobLog,
        wake: Callable[[], None],
        later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self.seats: list[Seat] = []
        self.closed = False
        self.feeder = Feeder(self.seats, Backlog(credit, later, self._give_back), credit)
        """Hands jobs to the seats."""
        self.received: Callable[[Jobs], None] | None = None
        """Called for all jobs that arrive, where somebody wants to know."""
        self.at_most_once: frozenset[str] = frozenset()
        """Tasks whose jobs, once started, are not to run again: lost with their child, whoever killed it."""
        self._credit = credit
        self._ledger = ledger
        self._log = log
        self._wake = wake
        self._dead: set[int] = set()  # leases that are not ours any more, of jobs that a child still has
        self._cancelled: set[int] = set()

    @property
    def slots(self) -> int:
        """Slots of the children that are up, but for those in which lost jobs still run."""
        return sum(seat.taken - len(self._lost_in(seat)) for seat in self.seats)

    @property
    def blocked(self) -> int:
        """How many of these are taken by slow jobs."""
        return sum(seat.blocked - len(self._lost_in(seat)) for seat in self.seats)

    @property
    def running(self) -> int:
        """Jobs that were started and have no outcome yet."""
        return sum(seat.running for seat in self.seats)

    @property
    def apart(self) -> list[str]:
        """The tasks of suspects that wait for their turn; a free slot does not help them."""
        return [jobs.head.task for jobs in self.feeder.backlog.suspects]

    @property
    def idle(self) -> bool:
        """Whether no job waits for a child, and nobody waits for the outcome of one that a child has."""
        return not self.feeder.backlog and all(map(self.is_over, self.seats))

    def leases(self) -> Iterator[tuple[int, Jobs]]:
        """Every lease of a job that has no outcome yet, with the jobs it came with."""
        yield from self.feeder.backlog.leases()
        for seat in self.seats:
            yield from (lease for lease in seat.jobs.items() if lease[0] not in self._dead)

    # -- jobs in ------------------------------------------------------------------------------------------------------

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
        self._credit.delivered(jobs.head.task, len(jobs), jobs.size())
        self.feeder.put(jobs)
        self._feed()
        self._log.received(jobs)
        if self.received is not None:
            self.received(jobs)

    def fail(self, jobs: Jobs, failure: FailureData) -> None:
        """Jobs arrived that cannot be run."""
        for token in jobs.tokens:
            self._end(Ended(token, Verdict.FAILED, failure), jobs)

    def cancel(self, tokens: Iterable[int]) -> None:
        """Somebody cancelled these jobs: they do not start any more, and those that run are stopped if possible."""
        self._cancelled.update(self._recall(tokens, self._cancel_waiting))

    def terminate(self, token: int, signal: str) -> Seat | None:
        """As `cancel`, but a job that runs is stopped by force. Gives the seat whose child has it, if one has."""
        asked = self._recall([token], self._cancel_waiting, force=True, signal=signal)
        self._cancelled.update(asked)
        return asked.get(token)

    def give_up(self, seat: Seat, ended: Ended) -> None:
        """A job ends so although its child cannot be made to stop it: its slot is not on offer until it does."""
        self._cancelled.discard(ended.token)
        self._end(ended, seat.jobs[ended.token])
        self._dead.add(ended.token)
        seat.block([ended.token], time())

    def forget(self, tokens: Iterable[int]) -> None:
        """These leases are not ours any more: the jobs do not start, and whatever becomes of them is not reported."""
        self._dead.update(self._recall(tokens, lambda _token, _source: None))

    def leave(self, seat: Seat) -> None:
        """This child gets no more jobs, and gives back those that it has not started."""
        seat.leaving = True
        seat.send(HandBack())
        self._wake()

    def close(self) -> None:
        """Takes no more jobs, and gives back every one that is not started."""
        self.closed = True
        self._give_back(self.feeder.backlog.take_all())
        for seat in self.seats:
            seat.send(HandBack())

    # -- outcomes out -------------------------------------------------------------------------------------------------

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
        seat.unblock(message.tokens)
        seat.handed -= len(back)
        seat.spare(message.tokens)
        if message.overdue:
            seat.block(islice(seat.jobs, seat.running), time())
        self._requeue(back)

    def crashed(self, seat: Seat, failure: FailureData) -> list[Ending]:
        """A child died: what may have killed it is lost for this reason, the rest is handed to others.

        When it was killed for some of its jobs, those end as they are doomed to. Gives those that ended so.
        """
        self.seats.remove(seat)
        over = seat.blamed()
        over.update(self._once(seat))
        leases = list(seat.jobs.items())
        seat.jobs.clear()
        self._cancelled -= over
        fates: list[Ending] = []
        for token, source in leases:
            if token in over:
                fate = seat.doomed.get(token)
                self._end(fate or Ended(token, Verdict.LOST, failure, seat.began_ms(token)), source)
                fates += [Ending(fate, source)] if fate else []
        self._requeue([lease for lease in leases if lease[0] not in over])
        self._wake()
        return fates

    def is_over(self, seat: Seat) -> bool:
        """Whether this child has no job whose outcome anybody waits for."""
        return seat.jobs.keys() <= self._dead

    def abandon(self, seat: Seat, failure: FailureData) -> None:
        """A child was ended on purpose: its jobs go back, but those that were started and may not be again are lost."""
        self.seats.remove(seat)
        over = {token: source for token, source in self._once(seat).items() if token not in self._dead}
        for token, source in over.items():
            self._end(Ended(token, Verdict.LOST, failure, seat.began_ms(token)), source)
        self._give_back([token for token in seat.jobs if token not in self._dead and token not in over])
        self._dead.difference_update(seat.jobs)
        seat.jobs.clear()

    def _once(self, seat: Seat) -> dict[int, Jobs]:
        """Its started jobs that are not to run again."""
        return {token: source for token, source in seat.run().items() if source.head.task in self.at_most_once}

    def _lost_in(self, seat: Seat) -> set[int]:
        return self._dead & seat.slow.keys() if self._dead else _NONE

    def _cancel_waiting(self, token: int, source: Jobs) -> None:
        self._end(Ended(token, Verdict.CANCELLED, None), source)

    def _recall(
        self, tokens: Iterable[int], waiting: Callable[[int, Jobs], None], force: bool = False, signal: str = ""
    ) -> dict[int, Seat]:
        """Takes tokens out of the backlog, passes them to `waiting`, asks children for the others and returns those."""
        wanted = set(tokens)
        for token, jobs in self.feeder.backlog.take_out(wanted):
            waiting(token, jobs)
        asked: dict[int, Seat] = {}
        for seat in self.seats:
            if theirs := wanted.intersection(seat.jobs):
                seat.send(Cancel(list(theirs), force, signal))
                asked.update(dict.fromkeys(theirs, seat))
        return asked

    def _finished(self, seat: Seat, tokens: list[int]) -> None:
        seat.finished += len(tokens)
        seat.since = time()
        if seat.slow:
            seat.unblock(tokens)
        if self._cancelled:
            self._cancelled.difference_update(tokens)
        if seat.doomed:
            seat.spare(tokens)

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
        """Unstarted jobs go to the front of the backlog again, in their order, one by one."""
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
        self.feeder.backlog.put_back(again)
        self._feed()

    def _feed(self) -> None:
        self._give_back(self.feeder.feed())
