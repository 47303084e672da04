"""Jobs, seats and a session, without processes, sockets or a broker."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tqbroker_worker.credit import Credit
from tqbroker_worker.handover import Handover
from tqbroker_worker.joblog import JobLog
from tqbroker_worker.jobs import Head, Jobs
from tqbroker_worker.ledger import Ledger
from tqbroker_worker.protocol import Done, Down, Unstarted
from tqbroker_worker.seats import Seat

MakeJobs = Callable[..., Jobs]


@pytest.fixture
def make_jobs() -> MakeJobs:
    """Builds jobs with rising tokens: `make_jobs(3, task="tasks.add", first=10, texts=False, lost=0)`."""

    def make(count: int, *, task: str = "tasks.add", first: int = 1, texts: bool = False, lost: int = 0) -> Jobs:
        tokens = list(range(first, first + count))
        uuids = b"" if texts else os.urandom(16 * count)
        names = [f"job-{token}" for token in tokens] if texts else []
        counts = [lost] * count if lost else []
        return Jobs(Head(task, "default", 0, "json"), uuids, names, tokens, [b"[[],{}]"] * count, [], counts)

    return make


@dataclass
class FakeChild:
    """A seat whose child does what the test says."""

    slots: int = 1
    sent: list[Down] = field(default_factory=list)
    started: int = 0
    seat: Seat = field(init=False)

    def __post_init__(self) -> None:
        self.seat = Seat(self.slots, self.sent.append, lambda: self.started)

    @property
    def tokens(self) -> list[int]:
        """Tokens of all jobs that were handed over, in order."""
        return [token for message in self.sent if isinstance(message, Jobs) for token in message.tokens]


class Scene:
    """A hand-over with its ledger and credit, and the children that sit in it."""

    def __init__(self) -> None:
        self.credit = Credit()
        self.ledger = Ledger()
        self.wakes = 0
        self.timers: list[tuple[float, Callable[[], None]]] = []
        log = JobLog("critical", lambda function, *arguments: function(*arguments))
        self.handover = Handover(
            self.credit, self.ledger, log, self._wake, lambda seconds, call: self.timers.append((seconds, call))
        )

    def _wake(self) -> None:
        self.wakes += 1

    def child(self, slots: int = 1) -> FakeChild:
        """A child that is ready."""
        child = FakeChild(slots)
        self.handover.add(child.seat)
        return child

    def make_fast(self, task: str = "tasks.add", us: int = 10) -> None:
        """Measures a task as fast."""
        self.credit.measured(task, 1000, 1000 * us)

    def start(self, child: FakeChild, count: int = 1) -> None:
        """The child starts so many more of its jobs."""
        child.started += count

    def finish(self, child: FakeChild, *tokens: int, us: int = 10) -> None:
        """The child reports success of these, which it had started."""
        count = len(tokens)
        done = Done("json", list(tokens), [b"null"] * count, [1] * count, [us] * count, [])
        self.handover.done(child.seat, done)

    def run(self, child: FakeChild, *tokens: int, us: int = 10) -> None:
        """The child starts and finishes these."""
        self.start(child, len(tokens))
        self.finish(child, *tokens, us=us)

    def give_back(self, child: FakeChild, *tokens: int, overdue: bool = False) -> None:
        """The child gives these back unstarted."""
        self.handover.unstarted(child.seat, Unstarted(list(tokens), overdue))


@pytest.fixture
def scene() -> Scene:
    """A hand-over without children yet."""
    return Scene()
