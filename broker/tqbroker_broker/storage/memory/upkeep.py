"""What time asks for, in slices: delays that are over, workers that fell silent, jobs and results past their time."""

from __future__ import annotations

from collections.abc import Iterable

from tqbroker_broker.aging import Aging
from tqbroker_broker.answers import Due, Expired
from tqbroker_broker.config import StorageConfig
from tqbroker_broker.lifecycle import FINAL, SILENT
from tqbroker_broker.questions import EventKind
from tqbroker_broker.records import State, Time
from tqbroker_broker.storage.memory.admission import Admission
from tqbroker_broker.storage.memory.attempts import Attempts
from tqbroker_broker.storage.memory.book import Book
from tqbroker_broker.storage.memory.dropping import Dropping
from tqbroker_broker.storage.memory.effects import Effects
from tqbroker_broker.storage.memory.log import EventLog
from tqbroker_broker.storage.memory.recovery import Recovery
from tqbroker_broker.storage.memory.store import MemoryStore, Row
from tqbroker_broker.storage.memory.workflows import Phase


class Upkeep:
    """The verbs `due` and `expire`."""

    def __init__(
        self,
        store: MemoryStore,
        book: Book,
        recovery: Recovery,
        attempts: Attempts,
        admission: Admission,
        aging: Aging,
        log: EventLog,
        config: StorageConfig,
    ) -> None:
        self._store = store
        self._book = book
        self._recovery = recovery
        self._attempts = attempts
        self._admission = admission
        self._log = log
        self._aging = aging
        self._dropping = Dropping(store, aging, log, config)

    def due(self, now: Time, limit: int) -> Due:
        """Moves overdue jobs to the ends of their lanes, the longest overdue first."""
        scheduled = sorted(self._store.rows(State.SCHEDULED), key=lambda row: (row.due_ms, row.seq))
        moved = [row for row in scheduled if row.due_ms <= now.wall_ms][:limit]
        for row in moved:
            row.state = State.QUEUED
            row.order = self._store.next_number()
        next_ms = min((row.due_ms for row in scheduled[len(moved) :]), default=0)
        return Due(frozenset(row.head.queue for row in moved), more=0 < next_ms <= now.wall_ms, next_ms=next_ms)

    def expire(self, now: Time, limit: int) -> Expired:
        """Handles at most `limit` jobs; each kind of ending sees what the kinds before it have left.

        What was kept for workers that are given up is for the next slice: until then they are on the list.
        """
        self._aging.see(now)
        self._store.held = self._aging.held
        effects = Effects(limit=limit)
        self._lose_workers(now, effects)
        self._end(self._marked(now), State.CANCELLED, now, effects)
        self._end(self._expired(now), State.EXPIRED, now, effects)
        self._dropping.drop(now, effects)
        self._admission.forget()
        self._log.drop_old(self._aging.wall_ms(now))
        self._recovery.awaited.difference_update(effects.lost_workers)
        return Expired(effects.final, frozenset(effects.woken), effects.lost_workers, more=self._is_left(now))

    def strike(self, worker: str) -> None:
        """Takes a worker off the durable list."""
        self._strike(worker)
        self._recovery.awaited.discard(worker)

    def _strike(self, worker: str) -> None:
        self._store.workers.pop(worker)
        self._book.connections.pop(worker, None)

    def _is_left(self, now: Time) -> bool:
        lists = (self._silent, self._marked, self._expired)
        return any(overdue(now) for overdue in lists) or self._dropping.is_left(now)

    def _lose_workers(self, now: Time, effects: Effects) -> None:
        """Silent workers lose their leases, and leave the list when they hold none any more."""
        for worker in self._silent(now):
            leases = self._book.of_worker(worker)
            for lease in leases[: effects.limit]:
                self._attempts.lose(lease, SILENT, now, effects)
                self._attempts.settle(now, effects)
            if len(leases) <= effects.limit:
                self._strike(worker)
                self._log.worker(EventKind.WORKER_OFFLINE, worker)
                effects.lost_workers.append(worker)
            effects.limit -= min(len(leases), effects.limit)

    def _silent(self, now: Time) -> list[str]:
        return [worker for worker in sorted(self._store.workers) if self._deadline(worker) <= now.mono]

    def _deadline(self, worker: str) -> float:
        connection = self._book.connections.get(worker)
        return connection.deadline if connection else self._recovery.ends

    def _waiting(self, now: Time) -> Iterable[Row]:
        """Jobs that nobody holds and nobody may still be running; of workflows only those that are live."""
        for row in self._store.rows(State.SCHEDULED, State.WAITING, State.QUEUED):
            is_live = row.seat is None or row.seat.workflow.phase is Phase.LIVE
            if is_live and row.id not in self._book.by_job and not self._recovery.withholds(row):
                yield row

    def _marked(self, now: Time) -> list[Row]:
        """Cancelled while leased, or while a worker was awaited, and not leased any more."""
        return sorted((row for row in self._waiting(now) if row.marked), key=lambda row: row.marked)

    def _expired(self, now: Time) -> list[Row]:
        rows = (row for row in self._waiting(now) if 0 < row.expires_ms <= now.wall_ms)
        return sorted(rows, key=lambda row: (row.expires_ms, row.seq))

    def _end(self, rows: list[Row], state: State, now: Time, effects: Effects) -> None:
        for row in rows[: effects.limit]:
            if row.state not in FINAL:  # it may have waited for one before it in this slice
                self._attempts.revoke(row, state, now, effects)
                self._attempts.settle(now, effects)
            effects.limit -= 1
