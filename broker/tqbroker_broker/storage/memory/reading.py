"""What is known: the verbs `get`, `scan` and `stats`."""

from __future__ import annotations

from struct import pack

from tqbroker_broker.answers import Job, QueueCounts, Stats
from tqbroker_broker.lifecycle import FINAL
from tqbroker_broker.questions import Filter, Page
from tqbroker_broker.records import JobId, State
from tqbroker_broker.selection import fate_matches, submit_matches
from tqbroker_broker.storage.memory.admission import Admission
from tqbroker_broker.storage.memory.attempts import Attempts
from tqbroker_broker.storage.memory.book import Book
from tqbroker_broker.storage.memory.recovery import Recovery
from tqbroker_broker.storage.memory.store import MemoryStore, Row
from tqbroker_broker.storage.memory.workflows import Seat
from tqbroker_broker.workflow_decisions import Turn
from tqbroker_broker.workflows import On

PAGE_BYTES = 1 << 20
"""Arguments and results after which a page is full, so that it fits into a message."""


class Reading:
    """Answers from one store, one book and what stands in the way."""

    def __init__(
        self, store: MemoryStore, book: Book, recovery: Recovery, attempts: Attempts, admission: Admission
    ) -> None:
        self._store = store
        self._book = book
        self._recovery = recovery
        self._attempts = attempts
        self._admission = admission

    def get(
        self, job: JobId, *, with_args: bool = False, with_attempts: bool = False, with_children: bool = False
    ) -> Job:
        """Everything known of one job."""
        row = self._store.jobs.get(job)
        if row is None:
            return Job(job, State.UNKNOWN, forgotten=job in self._store.remembered)
        answer = self._job(row, with_args)
        answer.attempts = tuple(row.attempts) if with_attempts else ()
        answer.children = _children(row) if with_children else ()
        return answer

    def scan(self, wanted: Filter, cursor: bytes, limit: int, *, with_args: bool) -> Page:
        """The next jobs that match; the cursor is the place of the first one that was not looked at."""
        jobs: list[Job] = []
        size = 0
        for place, row in self._places(wanted, cursor):
            if len(jobs) >= limit or size >= PAGE_BYTES:
                return Page(jobs, place)
            job = self._job(row, with_args)
            if submit_matches(wanted, row.head, row.submitted_ms) and fate_matches(wanted, job):
                jobs.append(job)
                size += len(job.args) + len(job.result)
        return Page(jobs, b"")

    def _places(self, wanted: Filter, cursor: bytes) -> list[tuple[bytes, Row]]:
        """The jobs from a cursor on: in the order of their submits, or of their times if only SCHEDULED are wanted."""
        by_time = wanted.states == {State.SCHEDULED}
        rows = self._store.rows(State.SCHEDULED) if by_time else self._store.jobs.values()
        places = ((pack(">QQ", row.due_ms if by_time else 0, row.seq), row) for row in rows)
        return sorted((each for each in places if each[0] >= cursor), key=lambda each: each[0])

    def stats(self) -> Stats:
        """Jobs by queue and state."""
        stats = Stats()
        for row in self._store.jobs.values():
            counts = stats.queues.setdefault(row.head.queue, QueueCounts())
            name = self._attempts.state(row).name.lower()
            setattr(counts, name, getattr(counts, name) + 1)
        return stats

    def _job(self, row: Row, with_args: bool) -> Job:
        job = stored(row, with_args)
        lease = self._book.by_job.get(row.id)
        job.state = self._attempts.state(row)
        job.recovering = lease is None and self._recovery.withholds(row)
        obstacle = self._admission.obstacle(row.head) if job.state is State.QUEUED and not job.recovering else None
        job.held_by = obstacle.word if obstacle else ""
        if lease:
            job.started_ms, job.worker, job.token = lease.since_ms, lease.worker, lease.token
        return job


def stored(row: Row, with_args: bool) -> Job:
    """A job without what only the moment decides, who holds it and why it waits: QUEUED unless it has ended."""
    job = Job(
        id=row.id,
        state=row.state if row.state in FINAL else State.QUEUED,
        head=row.head,
        args=row.args if with_args else b"",
        submitted_ms=row.submitted_ms,
        due_ms=row.due_ms,
        expires_ms=row.expires_ms,
        started_ms=row.started_ms,
        finished_ms=row.finished_ms,
        worker=row.worker,
        retries=row.retries,
        lost=row.lost,
        token=row.token,
        result=row.result,
        result_format=row.result_format,
        failure=row.failure,
        cancel_requested=row.marked > 0,
        progress=row.progress,
    )
    if row.seat:
        _fill(job, row, row.seat)
    return job


def _children(row: Row) -> list[JobId]:
    """What its body submitted, then those that were released by it alone."""
    joins = row.seat.joins if row.seat else []
    alone = [join for join in joins if len(join.members) == 1 and join.turn is Turn.RELEASE]
    return [*row.children, *(job for join in alone for job in join.followers)]


def _fill(job: Job, row: Row, seat: Seat) -> None:
    """What is told of a job of a workflow beside what is told of every job."""
    group, join = seat.group, seat.awaited
    job.workflow, job.root, job.parent, job.cause = seat.workflow.id, seat.workflow.root, seat.parent, seat.cause
    if group:
        job.group, job.group_index = group.new.id, group.members.index(job.id)
    if join and row.state is State.WAITING:
        job.left, job.members, job.for_failure = join.left, len(join.members), join.new.on is On.FAILURE
