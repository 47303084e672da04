"""What a redrive does to those that ended because of the job."""

from __future__ import annotations

from collections import deque

from tqbroker_broker.lifecycle import FINAL, may
from tqbroker_broker.questions import EventKind
from tqbroker_broker.records import JobId, State
from tqbroker_broker.storage.memory.book import Book
from tqbroker_broker.storage.memory.log import EventLog
from tqbroker_broker.storage.memory.store import MemoryStore, Row
from tqbroker_broker.storage.memory.workflows import Join, Workflow
from tqbroker_broker.workflow_decisions import Turn
from tqbroker_broker.workflows import On


class Reopening:
    """Lets followers wait again. Joins of failure stay as they were decided."""

    def __init__(self, store: MemoryStore, book: Book, log: EventLog) -> None:
        self._store = store
        self._book = book
        self._log = log

    def reopen(self, row: Row) -> None:
        """A job that had FAILED by itself goes on: what ended because of it waits again, from near to far."""
        again = deque([row])
        while again:
            member = again.popleft()
            if member.seat is None:
                continue
            self._unend(member, member.seat.workflow)
            for join in member.seat.joins:
                if join.new.on is On.SUCCESS and join.turn is Turn.BREAK:
                    again.extend(self._mend(member, join))

    def _unend(self, row: Row, workflow: Workflow) -> None:
        """The workflow forgets that this job has ended."""
        workflow.ended.pop(row.id, None)
        workflow.finished_ms = 0
        if workflow.first_failed == row.id:
            rows = self._store.rows_of(workflow)
            workflow.first_failed = next((each.id for each in rows if _failed_itself(each)), b"")

    def _mend(self, member: Row, join: Join) -> list[Row]:
        """Opens a broken join, unless another member is in the way. Returns the followers that wait again."""
        blocker = next((job for job in join.members if self._is_in_the_way(job, join)), b"")
        if blocker:
            join.decider = blocker if join.decider == member.id else join.decider
            return []
        join.turn, join.decider = Turn.NOTHING, b""
        rows = [row for job in join.followers if (row := self._store.jobs.get(job))]
        broken = [row for row in rows if row.seat and row.seat.turn is Turn.BREAK]
        for row in broken:
            self._wait_again(row)
            if row.seat:
                row.seat.turn = Turn.NOTHING
        return broken

    def _is_in_the_way(self, job: JobId, join: Join) -> bool:
        row = self._store.jobs.get(job)
        return job not in join.counted and (row is None or row.state in FINAL)

    def _wait_again(self, row: Row) -> None:
        """As if it had never ended; a moment at which it was to expire does not hold any more."""
        assert may(row.state, State.WAITING), f"{row.state!r} -> WAITING"
        row.state = State.WAITING
        row.floor = self._book.last_token
        row.ended = row.expires_ms = row.finished_ms = row.keep_until_ms = 0
        row.failure = None
        self._log.job(EventKind.EDITED, row.id, row.head)


def _failed_itself(row: Row) -> bool:
    return row.state is State.FAILED and not (row.seat and row.seat.cause)
