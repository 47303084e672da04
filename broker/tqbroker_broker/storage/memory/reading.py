"""What is known: the verbs `get`, `scan` and `stats`."""

from __future__ import annotations

from collections.abc import Iterable

from tqbroker_broker.questions import Filter, Page
from tqbroker_broker.records import Job, JobId, QueueCounts, State, Stats
from tqbroker_broker.selection import matches
from tqbroker_broker.storage.memory.admission import Admission
from tqbroker_broker.storage.memory.attempts import Attempts
from tqbroker_broker.storage.memory.book import Book
from tqbroker_broker.storage.memory.recovery import Recovery
from tqbroker_broker.storage.memory.store import MemoryStore, Row

CURSOR_BYTES = 8


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

    def get(self, job: JobId, *, with_args: bool, with_attempts: bool) -> Job:
        """Everything known of one job."""
        row = self._store.jobs.get(job)
        if row is None:
            return Job(job, State.UNKNOWN, forgotten=job in self._store.remembered)
        answer = self._job(row, with_args)
        answer.attempts = tuple(row.attempts) if with_attempts else ()
        return answer

    def scan(self, wanted: Filter, cursor: bytes, limit: int, *, with_args: bool) -> Page:
        """The next `limit` jobs that match; the cursor is the number of the last one looked at."""
        after = int.from_bytes(cursor, "big")
        jobs: list[Job] = []
        for row in self._rows(after):
            if len(jobs) == limit:
                return Page(jobs, after.to_bytes(CURSOR_BYTES, "big"))
            job = self._job(row, with_args)
            if matches(wanted, job):
                jobs.append(job)
            after = row.seq
        return Page(jobs, b"")

    def _rows(self, after: int) -> Iterable[Row]:
        return (row for row in self._store.rows(*State) if row.seq > after)

    def stats(self) -> Stats:
        """Jobs by queue and state."""
        stats = Stats()
        for row in self._store.jobs.values():
            counts = stats.queues.setdefault(row.head.queue, QueueCounts())
            name = self._attempts.state(row).name.lower()
            setattr(counts, name, getattr(counts, name) + 1)
        return stats

    def _job(self, row: Row, with_args: bool) -> Job:
        lease = self._book.by_job.get(row.id)
        state = self._attempts.state(row)
        recovering = lease is None and self._recovery.covers(row)
        obstacle = self._admission.obstacle(row.head) if state is State.QUEUED and not recovering else None
        return Job(
            id=row.id,
            state=state,
            head=row.head,
            args=row.args if with_args else b"",
            submitted_ms=row.submitted_ms,
            due_ms=row.due_ms,
            expires_ms=row.expires_ms,
            started_ms=row.started_ms,
            finished_ms=row.finished_ms,
            worker=lease.worker if lease else row.worker,
            retries=row.retries,
            lost=row.lost,
            token=lease.token if lease else row.token,
            result=row.result,
            result_format=row.result_format,
            failure=row.failure,
            cancel_requested=row.marked > 0,
            recovering=recovering,
            held_by=obstacle.word if obstacle else "",
            progress=row.progress,
        )
