"""What an operator asks of the store and orders to be changed, and what the store answers: plain values."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from tqbroker_broker.answers import Job
from tqbroker_broker.records import JobId, State


class Filter(NamedTuple):
    """Which jobs are meant: every field that is set must match, of `stamps` each one.

    `error` is the class name of the failure that ended a job, `worker` the one that runs it or ran it to its end.
    Times are milliseconds since 1970; `submitted_after_ms` is part of the span, `submitted_before_ms` is not.
    """

    states: frozenset[State] = frozenset()
    queue: str = ""
    task: str = ""
    stamps: tuple[str, ...] = ()
    worker: str = ""
    error: str = ""
    submitted_after_ms: int = 0
    submitted_before_ms: int = 0


class Page(NamedTuple):
    """Some jobs that match, and in `cursor` where to go on: empty at the end. A page may be short or empty before.

    The oldest come first; when only SCHEDULED jobs are asked for, those that are due first; QUEUED jobs of one queue,
    with or without RUNNING ones, in any order. What changes between two pages breaks no cursor: a job that was there
    before and still matches comes once, and one that changed its state, its due time or its place in a queue meanwhile
    may come or not.
    """

    jobs: list[Job]
    cursor: bytes


class Redrive(NamedTuple):
    """FAILED jobs go back to the end of their lane under their own id: counters at zero, history kept, no expiry.

    `args` replaces the stored ones. The k-th job that the call redrives, counted from 0, is due `spacing_ms` times
    `already + k` from now. Every token handed out before is too old for them, and their unique keys stay free.
    """

    args: bytes | None = None
    spacing_ms: int = 0
    already: int = 0


class Reschedule(NamedTuple):
    """SCHEDULED jobs become due at this moment; what has passed already means now."""

    due_ms: int = 0


class Move(NamedTuple):
    """QUEUED jobs go to the end of another lane; SCHEDULED ones when they are due. None keeps what they have."""

    queue: str | None = None
    priority: int | None = None


class Drop(NamedTuple):
    """Finished jobs and their results are dropped; their ids stay remembered."""


Change = Redrive | Reschedule | Move | Drop


class Effect(IntEnum):
    """What a change did to one job."""

    DONE = 1
    UNKNOWN = 2
    """No such job, or it is no longer kept."""
    WRONG_STATE = 3
    """The change is not for a job in its state."""
    RUNNING = 4
    """A worker has it, or may have it after a restart."""
    FOLLOWS = 5
    """It ended because another job of its workflow did (`Job.cause`): that one is to be redriven."""
    HELD = 6
    """Jobs of a workflow are dropped together, when all of them have ended."""


class EditAnswer(NamedTuple):
    """One effect for each id, in order; the queues that got work; the earliest due time of what is scheduled now."""

    effects: list[Effect]
    woken: frozenset[str]
    next_due_ms: int = 0


class EventKind(IntEnum):
    """What happened; numbers are those of the wire and of the disk. docs/durability.md says when each is told.

    The events of one job come in the order in which they happened; within one verb the order between jobs is free.
    STARTED may come as late as the next commit, before what became of the job, and be missing after a crash.
    """

    SENT = 1
    STARTED = 2
    SUCCEEDED = 3
    FAILED = 4
    RETRIED = 5
    REVOKED = 6
    REJECTED = 7
    LOST = 8
    WORKER_ONLINE = 9
    WORKER_OFFLINE = 10
    EDITED = 11


class Events(NamedTuple):
    """Events of one kind that came with one commit, as columns. The n-th has the number `first + n`.

    `ids` is empty for the events of workers, which count as one each.
    """

    kind: EventKind
    first: int
    at_ms: int
    ids: list[JobId]
    task: str = ""
    queue: str = ""
    worker: str = ""
    error: str = ""

    @property
    def last(self) -> int:
        """Number of the last one."""
        return self.first + max(len(self.ids), 1) - 1


class EventPage(NamedTuple):
    """Some events in the order of their numbers, and the number of the last one looked at.

    `lost_before`: the first number that is kept, when some after the cursor were dropped already; else 0.
    """

    events: list[Events]
    cursor: int
    lost_before: int = 0
