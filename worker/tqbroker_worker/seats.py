"""A child as the hand-over sees it, and which of several gets a job."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from time import time

from tqbroker_worker.jobs import Jobs
from tqbroker_worker.protocol import Down, Ended


@dataclass(slots=True, eq=False)
class Seat:
    """A child as the hand-over sees it: its slots, and the jobs it has, in the order they were handed over.

    `slow` are those jobs that block a slot, of a task that is not fast, or running for too long, with the unix time
    since when; the others that run began after `since`, when it had none or last reported one. `started` reads how many
    jobs the child has ever started, `finished` counts those it reported. `most` is how many jobs the child may get in
    its life, 0 any number; one that is `leaving` gets no more. `doomed` says of jobs that the child is killed for how
    they end; one that is `condemned` is killed even if these end by themselves first. `suspect` is the token of the
    last suspect that the child got.
    """

    slots: int
    send: Callable[[Down], None]
    started: Callable[[], int]
    pid: int = 0
    most: int = 0
    jobs: dict[int, Jobs] = field(default_factory=dict)
    slow: dict[int, float] = field(default_factory=dict)
    doomed: dict[int, Ended] = field(default_factory=dict)
    finished: int = 0
    handed: int = 0
    since: float = field(default_factory=time)
    leaving: bool = False
    condemned: bool = False
    suspect: int = 0

    @property
    def free(self) -> int:
        """Slots that no slow job blocks."""
        return 0 if self.leaving else self.slots - len(self.slow)

    @property
    def taken(self) -> int:
        """Slots to count: all of them, but of a child that leaves only those that its last jobs take."""
        return min(self.slots, len(self.jobs)) if self.leaving else self.slots

    @property
    def running(self) -> int:
        """Jobs that were started and not reported yet."""
        return min(len(self.jobs), max(0, self.started() - self.finished))

    def began_ms(self, token: int) -> int:
        """When a job that was started began, about, in milliseconds since 1970."""
        return int(self.slow.get(token, self.since) * 1000)

    def run(self) -> dict[int, Jobs]:
        """Those jobs."""
        return dict(islice(self.jobs.items(), self.running))

    def blamed(self) -> set[int]:
        """Those of them that may be why the child died: the ones it was killed for, else a suspect, else all."""
        run = self.run()
        if self.doomed or self.condemned:
            return run.keys() & self.doomed.keys()
        return {self.suspect} if self.suspect in run else set(run)

    @property
    def left(self) -> int:
        """How many more jobs the child may get; -1 when there is no such limit."""
        return self.most - self.handed if self.most else -1

    def hand(self, jobs: Jobs, slow: bool) -> None:
        """Gives the child these jobs; it leaves when it has had as many as it may."""
        if not self.jobs:
            self.since = time()
        self.jobs.update(dict.fromkeys(jobs.tokens, jobs))
        if slow:
            self.slow[jobs.tokens[0]] = time()
        self.handed += len(jobs)
        self.send(jobs)

    def block(self, tokens: Iterable[int], since: float) -> None:
        """These jobs take a slot each, since then."""
        for token in tokens:
            self.slow.setdefault(token, since)

    def unblock(self, tokens: Iterable[int]) -> None:
        """These jobs take no slot any more."""
        for token in tokens:
            self.slow.pop(token, None)

    def spare(self, tokens: Iterable[int]) -> None:
        """These jobs have come out of it by themselves."""
        for token in tokens:
            self.doomed.pop(token, None)

    @property
    def blocked(self) -> int:
        """How many of the slots that count are taken by slow jobs."""
        return self.taken if self.leaving else len(self.slow)


def roomiest(seats: Iterable[Seat], at_hand: int) -> Seat | None:
    """The seat with most room, if any has room: for a slow job when `at_hand` is 0, else for fast ones.

    `at_hand` is how many fast jobs a child should have for each free slot.
    """
    best, least = None, 0.0
    for seat in seats:
        if (free := seat.free) <= 0:
            continue
        load = (len(seat.jobs) - len(seat.slow)) / free
        if at_hand and load >= at_hand:
            continue
        load = load if at_hand else load + len(seat.slow)
        if best is None or load < least:
            best, least = seat, load
    return best
