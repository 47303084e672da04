"""How attempts end, and how jobs become final."""

from __future__ import annotations

from tqbroker_broker.attempts import Ending, Failure, Successes, Verdict
from tqbroker_broker.config import StorageConfig
from tqbroker_broker.lifecycle import (
    FINAL,
    LOST_PROCESS,
    Attempt,
    Next,
    after_attempt,
    events_of,
    kept_attempts,
    lost_failure,
    past_attempt,
)
from tqbroker_broker.questions import EventKind
from tqbroker_broker.records import State, Time
from tqbroker_broker.storage.memory.book import Lease
from tqbroker_broker.storage.memory.effects import Effects
from tqbroker_broker.storage.memory.finals import Finals
from tqbroker_broker.storage.memory.joins import Joins
from tqbroker_broker.storage.memory.log import EventLog
from tqbroker_broker.storage.memory.merging import Merging
from tqbroker_broker.storage.memory.recovery import Recovery
from tqbroker_broker.storage.memory.store import MemoryStore, Row


class Attempts:
    """The ends of leases and of jobs, over one store."""

    def __init__(
        self,
        store: MemoryStore,
        finals: Finals,
        joins: Joins,
        merging: Merging,
        recovery: Recovery,
        log: EventLog,
        config: StorageConfig,
    ) -> None:
        self._store = store
        self._finals = finals
        self._joins = joins
        self._merging = merging
        self._recovery = recovery
        self._log = log
        self._config = config

    def state(self, row: Row) -> State:
        """The state as the world sees it: a leased job is RUNNING."""
        return self._finals.state(row)

    def succeed(self, lease: Lease, batch: Successes, index: int, now: Time, effects: Effects) -> None:
        """The job is done, even when a cancel was asked for: the work has been done."""
        row = self._store.jobs[lease.id]
        row.children = tuple(batch.children.get(index, ()))
        row.token, row.worker, row.started_ms = lease.token, lease.worker, batch.started_ms[index]
        row.result, row.result_format = b"" if row.head.ignore_result else batch.results[index], batch.format
        self._log.job(EventKind.SUCCEEDED, row.id, row.head, lease.worker)
        self.make_final(row, State.SUCCEEDED, now, effects)

    def end(self, lease: Lease, ending: Ending, now: Time, effects: Effects) -> None:
        """The attempt did not succeed: the job ends, or goes back above a new fence floor."""
        if ending.verdict is Verdict.LOST and not ending.started_ms:
            ending = ending._replace(started_ms=lease.since_ms)
        row = self._store.jobs[lease.id]
        ending = self._merging.checked(ending, row)
        attempt = Attempt(ending.verdict, ending.retry_in_ms, row.retries, row.lost, row.marked > 0)
        following = after_attempt(attempt, self._config.max_lost_leases)
        failure = _failure(lease, ending)
        self._remember(row, lease, ending, failure, following, now)
        row.retries, row.lost, row.floor = following.retries, following.lost, lease.token
        if following.state in FINAL:
            row.children = tuple(ending.children)
            row.token, row.worker, row.started_ms = ending.token, lease.worker, ending.started_ms
            row.failure = failure if following.state is State.FAILED or ending.verdict is not Verdict.LOST else None
            self.make_final(row, following.state, now, effects)
        elif ending.verdict is Verdict.REPLACED:
            self._merging.replace(row, ending.workflow, now, effects)
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
        self._finals.move(row, following.state)
        if ending.verdict is Verdict.RETRY and ending.args is not None:
            row.args = ending.args
            if row.seat:
                row.seat.handed = False
        if following.state is State.SCHEDULED:
            row.due_ms = now.wall_ms + following.delay_ms
            effects.due_ms.append(row.due_ms)
            return
        if ending.verdict is not Verdict.LOST:
            row.order = self._store.next_number()
        effects.woken.add(row.head.queue)

    def lose(self, lease: Lease, why: str, now: Time, effects: Effects) -> None:
        """The worker is gone. Token 0: no outcome ended this attempt, so one that comes late is stale."""
        self.end(lease, Ending(0, Verdict.LOST, lost_failure(lease.worker, why)), now, effects)

    def release(self, lease: Lease, effects: Effects) -> None:
        """The job goes back to its place, uncounted. No lease of before the start may win after this one."""
        row = self._store.jobs[lease.id]
        if row.seq <= self._recovery.last_number:
            row.floor = lease.token
        self._finals.move(row, State.QUEUED)
        effects.woken.add(row.head.queue)

    def revoke(self, row: Row, state: State, now: Time, effects: Effects) -> None:
        """A job that nobody runs ends CANCELLED or EXPIRED."""
        self._log.job(EventKind.REVOKED, row.id, row.head)
        self.make_final(row, state, now, effects)

    def make_final(self, row: Row, state: State, now: Time, effects: Effects) -> None:
        """Puts the job into its final state, once. What follows is to be settled when the verb has done its own."""
        self._finals.make_final(row, state, now)
        effects.final.append(row.id)
        effects.ended.append(row)

    def settle(self, now: Time, effects: Effects) -> None:
        """Puts those that waited for ended jobs where they belong now."""
        self._joins.settle(now, effects)


def _failure(lease: Lease, ending: Ending) -> Failure | None:
    """Why the attempt ended; a worker that only says LOST has lost the process."""
    if ending.verdict is Verdict.LOST and ending.failure is None:
        return lost_failure(lease.worker, LOST_PROCESS)
    return ending.failure
