"""How one job changes its state, and what goes with a final one."""

from __future__ import annotations

from tqbroker_broker.config import StorageConfig
from tqbroker_broker.lifecycle import keep_until, may
from tqbroker_broker.records import State, Time
from tqbroker_broker.rules import UniqueUntil
from tqbroker_broker.storage.memory.book import Book
from tqbroker_broker.storage.memory.store import MemoryStore, Row
from tqbroker_broker.storage.memory.workflows import Seat
from tqbroker_broker.workflow_decisions import Turn


class Finals:
    """Moves jobs by the table of transitions. Who waits for a job is not its affair."""

    def __init__(self, store: MemoryStore, book: Book, config: StorageConfig) -> None:
        self._store = store
        self._book = book
        self._config = config

    def state(self, row: Row) -> State:
        """The state as the world sees it: a leased job is RUNNING."""
        return State.RUNNING if row.id in self._book.by_job else row.state

    def move(self, row: Row, state: State) -> None:
        """Puts the job into another state; a lease of it ends."""
        before = self.state(row)
        assert may(before, state), f"{before!r} -> {state!r}"
        lease = self._book.by_job.get(row.id)
        if lease:
            self._book.strike(lease)
        row.state = state

    def make_final(self, row: Row, state: State, now: Time) -> None:
        """Puts the job into its final state, once, and frees its unique key."""
        self.move(row, state)
        row.ended = self._store.next_number()
        row.finished_ms = now.wall_ms
        row.checkpoint, row.checkpoint_format = b"", ""
        row.keep_until_ms = keep_until(state, now.wall_ms, row.head.result_ttl_ms, self._config)
        holding = self._store.keys.get(row.key)
        if holding and holding.job == row.id and holding.unique.until is not UniqueUntil.TIME:
            del self._store.keys[row.key]
        if row.seat:
            _note_end(row, row.seat)


def _note_end(row: Row, seat: Seat) -> None:
    """The workflow counts the end of one of its jobs."""
    workflow = seat.workflow
    workflow.ended[row.id] = (row.state, seat.turn is Turn.SPARE)
    workflow.keep_until_ms = max(workflow.keep_until_ms, row.keep_until_ms)
    if row.state in (State.FAILED, State.EXPIRED) and not seat.cause and not workflow.first_failed:
        workflow.first_failed = row.id
    if workflow.is_over:
        workflow.finished_ms = row.finished_ms
