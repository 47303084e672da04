"""What callers and operators order: the verbs `cancel`, `edit` and `forget`."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from tqbroker_broker.aging import Aging
from tqbroker_broker.answers import CancelAnswer, Cancelled, Mark
from tqbroker_broker.config import StorageConfig
from tqbroker_broker.lifecycle import FINAL, may
from tqbroker_broker.questions import Change, Drop, EditAnswer, Effect, EventKind, Move, Redrive, Reschedule
from tqbroker_broker.records import JobId, State, Time
from tqbroker_broker.storage.memory.attempts import Attempts
from tqbroker_broker.storage.memory.book import Book
from tqbroker_broker.storage.memory.dropping import remember_until
from tqbroker_broker.storage.memory.effects import Effects
from tqbroker_broker.storage.memory.log import EventLog
from tqbroker_broker.storage.memory.recovery import Recovery
from tqbroker_broker.storage.memory.reopening import Reopening
from tqbroker_broker.storage.memory.store import MemoryStore, Row
from tqbroker_broker.storage.memory.workflows import STAGED, Phase


class Orders:
    """Changes jobs from outside, if their states allow it."""

    def __init__(
        self,
        store: MemoryStore,
        book: Book,
        recovery: Recovery,
        attempts: Attempts,
        aging: Aging,
        log: EventLog,
        config: StorageConfig,
    ) -> None:
        self._store = store
        self._book = book
        self._recovery = recovery
        self._attempts = attempts
        self._aging = aging
        self._reopening = Reopening(store, book, log)
        self._log = log
        self._config = config

    # -- cancel ------------------------------------------------------------------------------------------------------

    def cancel(self, ids: Sequence[JobId], mark: Mark, now: Time) -> CancelAnswer:
        """Ends waiting jobs; marks those that are, or may be, running."""
        tokens: dict[str, list[int]] = {}
        ended = Effects()
        effects = [self._cancel(job, mark, tokens, now, ended) for job in ids]
        done = {job for job, effect in zip(ids, effects, strict=True) if effect is Cancelled.CANCELLED}
        return CancelAnswer(effects, tokens, tuple(job for job in ended.final if job not in done))

    def _cancel(self, job: JobId, mark: Mark, tokens: dict[str, list[int]], now: Time, effects: Effects) -> Cancelled:
        row = self._store.jobs.get(job)
        if row is None or row.state in FINAL:
            return Cancelled.FINAL if row or job in self._store.remembered else Cancelled.UNKNOWN
        lease = self._book.by_job.get(job)
        if lease or self._recovery.withholds(row) or _is_staged(row):
            row.marked = row.marked or self._store.next_number()
            row.mark = max(row.mark, mark)
            if lease is None:
                return Cancelled.PENDING
            tokens.setdefault(lease.worker, []).append(lease.token)
            return Cancelled.RUNNING
        self._attempts.revoke(row, State.CANCELLED, now, effects)
        self._attempts.settle(now, effects)
        return Cancelled.CANCELLED

    # -- forget ------------------------------------------------------------------------------------------------------

    def forget(self, ids: Sequence[JobId], now: Time) -> int:
        """Drops final jobs. Returns how many."""
        known = [row for job in dict.fromkeys(ids) if (row := self._store.jobs.get(job))]
        rows = [row for row in known if row.state in FINAL and not _is_held(row)]
        for row in rows:
            self._store.drop(row, remember_until(row, self._config), self._aging.wall_ms(now))
        return len(rows)

    # -- edit --------------------------------------------------------------------------------------------------------

    def edit(self, ids: Sequence[JobId], change: Change, now: Time) -> EditAnswer:
        """Changes one job after the other."""
        effects: list[Effect] = []
        woken: set[str] = set()
        due: list[int] = []
        done = 0
        for job in ids:
            effect = self._edit(job, change, done, now)
            done += effect is Effect.DONE
            effects.append(effect)
            row = self._store.jobs.get(job)
            if row and effect is Effect.DONE:
                if row.state is State.QUEUED:
                    woken.add(row.head.queue)
                else:
                    due.append(row.due_ms)
        return EditAnswer(effects, frozenset(woken), min(due, default=0))

    def _edit(self, job: JobId, change: Change, done: int, now: Time) -> Effect:
        row = self._store.jobs.get(job)
        if row is None:
            return Effect.UNKNOWN
        if row.id in self._book.by_job or self._recovery.withholds(row):
            return Effect.RUNNING
        if row.marked and row.state not in FINAL:
            return Effect.WRONG_STATE
        refusal = _refusal(row, change)
        if refusal:
            return refusal
        self._change(row, change, done, now)
        if not isinstance(change, Drop):
            self._log.job(EventKind.EDITED, row.id, row.head)
        return Effect.DONE

    def _change(self, row: Row, change: Change, done: int, now: Time) -> None:
        match change:
            case Redrive():
                self._redrive(row, change, done, now)
                self._reopening.reopen(row)
            case Reschedule():
                self._put(row, change.due_ms, now)
            case Move():
                self._move(row, change)
            case Drop():
                self._store.drop(row, remember_until(row, self._config), self._aging.wall_ms(now))

    def _redrive(self, row: Row, change: Redrive, done: int, now: Time) -> None:
        """The job begins anew above every token handed out before; its unique key stays with whoever has it now."""
        row.floor = self._book.last_token
        row.retries = row.lost = row.token = row.ended = row.marked = 0
        row.expires_ms = row.started_ms = row.finished_ms = row.keep_until_ms = 0
        row.mark, row.worker, row.failure, row.children = Mark.NONE, "", None, ()
        row.args = row.args if change.args is None else change.args
        self._put(row, now.wall_ms + change.spacing_ms * (change.already + done), now)

    def _put(self, row: Row, due_ms: int, now: Time) -> None:
        """Schedules the job, or queues it at the end of its lane when its time has come."""
        row.due_ms = max(due_ms, now.wall_ms)
        state = State.SCHEDULED if due_ms > now.wall_ms else State.QUEUED
        assert row.state is state or may(row.state, state), f"{row.state!r} -> {state!r}"
        row.state = state
        if state is State.QUEUED:
            row.order = self._store.next_number()

    def _move(self, row: Row, change: Move) -> None:
        queue = row.head.queue if change.queue is None else change.queue
        priority = row.head.priority if change.priority is None else change.priority
        row.head = replace(row.head, queue=queue, priority=priority)
        if row.state is State.QUEUED:
            row.order = self._store.next_number()


FOR: dict[type[Change], frozenset[State]] = {
    Redrive: frozenset({State.FAILED}),
    Reschedule: frozenset({State.SCHEDULED}),
    Move: frozenset({State.QUEUED, State.SCHEDULED}),
    Drop: FINAL,
}
"""What state a job must be in for a change."""


def _refusal(row: Row, change: Change) -> Effect | None:
    """Why a job that nobody runs cannot be changed so."""
    if row.state not in FOR[type(change)]:
        return Effect.WRONG_STATE
    if isinstance(change, Drop):
        return Effect.HELD if _is_held(row) else None
    if isinstance(change, Redrive) and row.seat:
        if row.seat.workflow.phase is Phase.DROPPING:
            return Effect.UNKNOWN
        return Effect.FOLLOWS if row.seat.cause else None
    return None


def _is_staged(row: Row) -> bool:
    """Whether the workflow of this job is not live yet."""
    return row.seat is not None and row.seat.workflow.phase in STAGED


def _is_held(row: Row) -> bool:
    """Whether others of its workflow have not ended."""
    return row.seat is not None and not row.seat.workflow.is_over
