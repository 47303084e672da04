"""New jobs: the verb `enqueue`, with unique keys and full queues."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tqbroker_broker.answers import Enqueued, Stored
from tqbroker_broker.lifecycle import expiry, holds_key, overflow_failure
from tqbroker_broker.questions import EventKind
from tqbroker_broker.records import JobId, NewJobs, State, Time
from tqbroker_broker.rules import Overflow, QueueRule, Unique, UniqueConflict
from tqbroker_broker.storage.memory.attempts import Attempts
from tqbroker_broker.storage.memory.effects import Effects
from tqbroker_broker.storage.memory.log import EventLog
from tqbroker_broker.storage.memory.recovery import Recovery
from tqbroker_broker.storage.memory.store import Holding, MemoryStore, Row

NO_RULE = QueueRule()


@dataclass(slots=True)
class _Answer:
    """The answer for one batch as it grows."""

    exceptions: dict[int, Stored] = field(default_factory=dict)
    holders: dict[int, JobId] = field(default_factory=dict)
    effects: Effects = field(default_factory=Effects)


class Intake:
    """Stores jobs one after the other, each seeing what those before it have left."""

    def __init__(self, store: MemoryStore, attempts: Attempts, recovery: Recovery, log: EventLog) -> None:
        self._store = store
        self._attempts = attempts
        self._recovery = recovery
        self._log = log

    def enqueue(self, batches: Sequence[NewJobs], now: Time) -> list[Enqueued]:
        """One answer for each batch."""
        return [self._batch(batch, now) for batch in batches]

    def _batch(self, batch: NewJobs, now: Time) -> Enqueued:
        answer = _Answer()
        first = self._store.take_numbers(len(batch.ids))
        for index in range(len(batch.ids)):
            refusal = self._refusal(batch, index, now, answer)
            if refusal:
                answer.exceptions[index] = refusal
            else:
                self.add(batch, index, first + index, now)
            self._attempts.settle(now, answer.effects)
        stored, effects = len(batch.ids) - len(answer.exceptions), answer.effects
        return Enqueued(stored, answer.exceptions, answer.holders, tuple(effects.final), frozenset(effects.woken))

    def _refusal(self, batch: NewJobs, index: int, now: Time, answer: _Answer) -> Stored | None:
        """Why this job is not stored; if it is, makes room for it."""
        known = self._store.digest(batch.ids[index])
        if known is not None:
            return Stored.DUPLICATE if known == batch.digests[index] else Stored.CONFLICT
        unique = batch.head.traits.unique
        holder = self.holder(batch.unique[index], now) if unique else None
        if unique and holder:
            replaced = self._replaceable(unique, holder, now)
            if replaced is None:
                answer.holders[index] = holder
                return Stored.KEPT if unique.conflict is UniqueConflict.KEEP else Stored.NOT_UNIQUE
            if replaced.head.queue != batch.head.queue and not self._make_room(batch.head.queue, now, answer):
                return Stored.QUEUE_FULL
            self._attempts.revoke(replaced, State.CANCELLED, now, answer.effects)
            return None
        return None if self._make_room(batch.head.queue, now, answer) else Stored.QUEUE_FULL

    # -- unique keys -------------------------------------------------------------------------------------------------

    def holder(self, key: bytes, now: Time) -> JobId | None:
        """The job that holds this key now."""
        holding = self._store.keys.get(key)
        if holding is None:
            return None
        row = self._store.jobs.get(holding.job)
        state = self._attempts.state(row) if row else State.UNKNOWN
        return holding.job if holds_key(holding.unique, state, holding.submitted_ms, now.wall_ms) else None

    def _replaceable(self, unique: Unique, holder: JobId, now: Time) -> Row | None:
        """The holder's row if the new job may take its place: the holder waits, and nobody may be running it."""
        row = self._store.jobs.get(holder)
        if unique.conflict is not UniqueConflict.REPLACE or row is None:
            return None
        waits = self._attempts.state(row) in (State.SCHEDULED, State.QUEUED)
        return row if waits and not self._recovery.withholds(row) else None

    # -- full queues -------------------------------------------------------------------------------------------------

    def _make_room(self, queue: str, now: Time, answer: _Answer) -> bool:
        """Whether one more job may wait in this queue; the oldest that waits may have to go for it."""
        rule = self._store.rules.get(queue, NO_RULE)
        waiting = self.in_queue(queue)
        if not rule.max_length or len(waiting) < rule.max_length:
            return True
        ready = [row for row in waiting if self._may_go(row, now)]
        if rule.overflow is Overflow.REFUSE or not ready:
            return False
        oldest = min(ready, key=lambda row: row.order)
        oldest.failure = overflow_failure(queue, rule.max_length)
        self._log.job(EventKind.FAILED, oldest.id, oldest.head, failure=oldest.failure)
        self._attempts.make_final(oldest, State.FAILED, now, answer.effects)
        return True

    def in_queue(self, queue: str) -> list[Row]:
        """The jobs that count against the length of a queue."""
        rows = [row for row in self._store.rows(State.SCHEDULED, State.QUEUED) if row.head.queue == queue]
        return [row for row in rows if self._attempts.state(row) is not State.RUNNING]

    def _may_go(self, row: Row, now: Time) -> bool:
        """Whether a waiting job can be dropped: neither scheduled nor to be cancelled, and nobody may be running it."""
        return row.state is State.QUEUED and not row.marked and not self._recovery.withholds(row)

    # -- rows --------------------------------------------------------------------------------------------------------

    def add(self, batch: NewJobs, index: int, number: int, now: Time) -> Row:
        """Stores a job, submitted at this number of the store's counter."""
        row = self._new_row(batch, index, number, now)
        self._store.jobs[row.id] = row
        if row.head.traits.unique:
            row.key = batch.unique[index]
            self._store.keys[row.key] = Holding(row.id, row.head.traits.unique, now.wall_ms)
        self._log.job(EventKind.SENT, row.id, row.head)
        return row

    def _new_row(self, batch: NewJobs, index: int, number: int, now: Time) -> Row:
        delayed = batch.due_ms > now.wall_ms
        ttl_ms = self._store.rules.get(batch.head.queue, NO_RULE).ttl_ms
        return Row(
            id=batch.ids[index],
            head=batch.head,
            args=batch.args[index],
            digest=batch.digests[index],
            seq=number,
            state=State.SCHEDULED if delayed else State.QUEUED,
            submitted_ms=now.wall_ms,
            due_ms=batch.due_ms,
            expires_ms=expiry(batch.expires_ms, batch.due_ms, now.wall_ms, ttl_ms),
            order=0 if delayed else number,
        )
