"""How attempts end, and how jobs become final."""

from __future__ import annotations

from dataclasses import dataclass, field

from tqbroker_broker.attempts import Ending, Failure, Verdict
from tqbroker_broker.config import StorageConfig
from tqbroker_broker.lifecycle import (
    FINAL,
    LOST_PROCESS,
    Attempt,
    Next,
    after_attempt,
    events_of,
    keep_until,
    kept_attempts,
    lost_failure,
    may,
    past_attempt,
)
from tqbroker_broker.questions import EventKind
from tqbroker_broker.records import JobId, State, Time
from tqbroker_broker.rules import UniqueUntil
from tqbroker_broker.storage.memory.book import Book, Lease
from tqbroker_broker.storage.memory.log import EventLog
from tqbroker_broker.storage.memory.store import MemoryStore, Row


@dataclass(slots=True)
class Effects:
    """What a verb did, gathered for its answer. `limit` is how many jobs it may still handle."""

    final: list[JobId] = field(default_factory=list)
    woken: set[str] = field(default_factory=set)
    retries_due_ms: list[int] = field(default_factory=list)
    lost_workers: list[str] = field(default_factory=list)
    limit: int = 0


class Attempts:
    """The ends of leases and of jobs, over one store and one book."""

    def __init__(self, store: MemoryStore, book: Book, log: EventLog, config: StorageConfig) -> None:
        self._store = store
        self._book = book
        self._log = log
        self._config = config

    def state(self, row: Row) -> State:
        """The state as the world sees it: a leased job is RUNNING."""
        return State.RUNNING if row.id in self._book.by_job else row.state

    def succeed(self, lease: Lease, result: bytes, result_format: str, started_ms: int, now: Time) -> Row:
        """The job is done, even when a cancel was asked for: the work has been done."""
        row = self._store.jobs[lease.id]
        row.token, row.worker, row.started_ms = lease.token, lease.worker, started_ms
        row.result, row.result_format = b"" if row.head.ignore_result else result, result_format
        self.make_final(row, State.SUCCEEDED, now)
        self._log.job(EventKind.SUCCEEDED, row.id, row.head, lease.worker)
        return row

    def end(self, lease: Lease, ending: Ending, now: Time, effects: Effects) -> None:
        """The attempt did not succeed: the job ends, or goes back above a new fence floor."""
        if ending.verdict is Verdict.LOST and not ending.started_ms:
            ending = ending._replace(started_ms=lease.since_ms)
        row = self._store.jobs[lease.id]
        attempt = Attempt(ending.verdict, ending.retry_in_ms, row.retries, row.lost, row.marked > 0)
        following = after_attempt(attempt, self._config.max_lost_leases)
        failure = _failure(lease, ending)
        self._remember(row, lease, ending, failure, following, now)
        row.retries, row.lost, row.floor = following.retries, following.lost, lease.token
        if following.state in FINAL:
            row.token, row.worker, row.started_ms = ending.token, lease.worker, ending.started_ms
            row.failure = failure if following.state is State.FAILED or ending.verdict is not Verdict.LOST else None
            self.make_final(row, following.state, now)
            effects.final.append(row.id)
        else:
            self._again(row, ending, following, now, effects)

    def _remember(
        self, row: Row, lease: Lease, ending: Ending, failure: Failure | None, following: Next, now: Time
    ) -> None:
        past = past_attempt(lease.worker, lease.token, ending, failure, following, now.wall_ms)
        if past:
            row.attempts = kept_attempts([*row.attempts, past], self._config.max_attempts_kept)
        for kind in events_of(ending.verdict, following.state):
            self._log.job(kind, row.id, row.head, lease.worker, failure)

    def _again(self, row: Row, ending: Ending, following: Next, now: Time, effects: Effects) -> None:
        """A lost job keeps its place; any other gets a new one, when it is due."""
        self._move(row, following.state)
        if ending.verdict is Verdict.RETRY and ending.args is not None:
            row.args = ending.args
        if following.state is State.SCHEDULED:
            row.due_ms = now.wall_ms + following.delay_ms
            effects.retries_due_ms.append(row.due_ms)
            return
        if ending.verdict is not Verdict.LOST:
            row.order = self._store.next_number()
        effects.woken.add(row.head.queue)

    def lose(self, lease: Lease, why: str, now: Time, effects: Effects) -> None:
        """The worker is gone. Token 0: no outcome ended this attempt, so one that comes late is stale."""
        self.end(lease, Ending(0, Verdict.LOST, lost_failure(lease.worker, why)), now, effects)

    def release(self, lease: Lease, effects: Effects) -> None:
        """The job goes back to its place, uncounted."""
        row = self._store.jobs[lease.id]
        self._move(row, State.QUEUED)
        effects.woken.add(row.head.queue)

    def revoke(self, row: Row, state: State, now: Time) -> None:
        """A job that nobody runs ends CANCELLED or EXPIRED."""
        self.make_final(row, state, now)
        self._log.job(EventKind.REVOKED, row.id, row.head)

    def make_final(self, row: Row, state: State, now: Time) -> None:
        """Puts the job into its final state, once, and frees its unique key."""
        self._move(row, state)
        row.ended = self._store.next_number()
        row.finished_ms = now.wall_ms
        row.checkpoint, row.checkpoint_format = b"", ""
        row.keep_until_ms = keep_until(state, now.wall_ms, row.head.result_ttl_ms, self._config)
        holding = self._store.keys.get(row.key)
        if holding and holding.job == row.id and holding.unique.until is not UniqueUntil.TIME:
            del self._store.keys[row.key]

    def _move(self, row: Row, state: State) -> None:
        before = self.state(row)
        assert may(before, state), f"{before!r} -> {state!r}"
        lease = self._book.by_job.get(row.id)
        if lease:
            self._book.strike(lease)
        row.state = state


def _failure(lease: Lease, ending: Ending) -> Failure | None:
    """Why the attempt ended; a worker that only says LOST has lost the process."""
    if ending.verdict is Verdict.LOST and ending.failure is None:
        return lost_failure(lease.worker, LOST_PROCESS)
    return ending.failure
