"""States of a job, the transitions that are allowed, and the decisions that need neither disk nor clock.

The table is the truth: engines ask it, tests walk it, the picture in docs/protocol.md is compared with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from tqbroker_broker.attempts import Ending, Failure, PastAttempt, Verdict
from tqbroker_broker.config import StorageConfig
from tqbroker_broker.questions import EventKind
from tqbroker_broker.records import State
from tqbroker_broker.rules import Unique, UniqueUntil

T = TypeVar("T")

NEW = None
"""The state of a job that does not exist yet."""

COUNTER_BITS = 32
"""A token is epoch << COUNTER_BITS | counter."""

LAST_EPOCH = 4_102_444_800
"""The beginning of 2100 in Unix seconds. Tokens have room for epochs until 2106; some are left for starts."""

STARTS = 1 << 26
"""By how many starts the epoch of a store may be above LAST_EPOCH: one a second for two years."""

BEAT = 1.0
"""Seconds within which a beat is due."""

DIED, SILENT, LOST_PROCESS = "died", "fell silent", "lost the process that ran it"
"""How a worker can lose a lease, to go on from its name."""

FINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED, State.EXPIRED})

TRANSITIONS: dict[State | None, frozenset[State]] = {
    NEW: frozenset({State.SCHEDULED, State.WAITING, State.QUEUED}),
    State.SCHEDULED: frozenset({State.QUEUED, State.CANCELLED, State.EXPIRED}),
    State.WAITING: frozenset({State.SCHEDULED, State.QUEUED, State.FAILED, State.CANCELLED, State.EXPIRED}),
    State.QUEUED: frozenset({State.RUNNING, State.FAILED, State.CANCELLED, State.EXPIRED}),
    State.RUNNING: frozenset(
        {
            State.QUEUED,
            State.SCHEDULED,
            State.WAITING,
            State.SUCCEEDED,
            State.FAILED,
            State.CANCELLED,
            State.EXPIRED,
        }
    ),
    State.SUCCEEDED: frozenset(),
    State.FAILED: frozenset({State.QUEUED, State.SCHEDULED, State.WAITING}),
    State.CANCELLED: frozenset(),
    State.EXPIRED: frozenset(),
}


class Attempt(NamedTuple):
    """What is known of a job when one of its attempts has ended without success."""

    verdict: Verdict
    retry_in_ms: int
    retries: int
    lost: int
    cancel_requested: bool


class Next(NamedTuple):
    """Where the job goes: its new state and counters, and for SCHEDULED how far away (milliseconds)."""

    state: State
    retries: int
    lost: int
    delay_ms: int = 0


def may(before: State | None, after: State) -> bool:
    """Whether a job may go from one state to another."""
    return after in TRANSITIONS[before]


def after_attempt(attempt: Attempt, max_lost_leases: int) -> Next:
    """What follows an attempt that did not succeed.

    A cancel mark wins over everything but success. A lost lease sends the job back to its place until it has lost
    `max_lost_leases`, then it is quarantined as FAILED: what kills three workers would kill the fourth. What the
    worker puts back waits again, uncounted. What is replaced begins anew as another job.
    """
    lost = attempt.lost + (attempt.verdict is Verdict.LOST)
    if attempt.cancel_requested or attempt.verdict is Verdict.CANCELLED:
        return Next(State.CANCELLED, attempt.retries, lost)
    if attempt.verdict in (Verdict.FAILED, Verdict.REJECTED) or lost >= max_lost_leases:
        return Next(State.FAILED, attempt.retries, lost)
    if attempt.verdict is Verdict.REPLACED:
        return Next(State.WAITING, 0, 0)
    if attempt.verdict in (Verdict.LOST, Verdict.REQUEUED):
        return Next(State.QUEUED, attempt.retries, lost)
    state = State.SCHEDULED if attempt.retry_in_ms > 0 else State.QUEUED
    return Next(state, attempt.retries + 1, lost, attempt.retry_in_ms)


def past_attempt(
    worker: str, token: int, ending: Ending, failure: Failure | None, after: Next, now_ms: int
) -> PastAttempt | None:
    """What the history keeps of an attempt; None of one whose job is CANCELLED. `token` is that of its lease."""
    if after.state is State.CANCELLED:
        return None
    next_due_ms = now_ms + after.delay_ms if after.state is State.SCHEDULED else 0
    return PastAttempt(worker, token, ending.verdict, ending.started_ms, now_ms, failure, next_due_ms)


def kept_attempts(attempts: Sequence[T], most: int) -> list[T]:
    """The attempts that are kept when there are many: the first, which often tells most, and the newest."""
    return list(attempts) if len(attempts) <= most else [attempts[0], *attempts[len(attempts) - most + 1 :]]


def holds_key(unique: Unique, state: State, submitted_ms: int, now_ms: int) -> bool:
    """Whether a job in this state still holds its unique key. Only UNTIL_TIME outlives the job."""
    if unique.for_ms and submitted_ms + unique.for_ms <= now_ms:
        return False
    match unique.until:
        case UniqueUntil.QUEUED:
            return state in (State.SCHEDULED, State.WAITING)
        case UniqueUntil.STARTED:
            return state in (State.SCHEDULED, State.WAITING, State.QUEUED)
        case UniqueUntil.FINISHED:
            return state not in FINAL
        case UniqueUntil.TIME:
            return unique.for_ms > 0


def expiry(expires_ms: int, due_ms: int, now_ms: int, ttl_ms: int) -> int:
    """When a job expires: as it says itself, or as long after it is due as its queue lets jobs wait. 0: never."""
    return expires_ms or (max(due_ms, now_ms) + ttl_ms if ttl_ms else 0)


def events_of(verdict: Verdict, after: State) -> tuple[EventKind, ...]:
    """What the log tells, in order, of an attempt that did not succeed and left its job in this state."""
    lost = (EventKind.LOST,) if verdict is Verdict.LOST else ()
    if after is State.CANCELLED:
        return (*lost, EventKind.REVOKED)
    if verdict in (Verdict.REJECTED, Verdict.REQUEUED):
        return (EventKind.REJECTED,)
    if after is State.FAILED:
        return (*lost, EventKind.FAILED)
    if verdict is Verdict.REPLACED:
        return ()
    return lost or (EventKind.RETRIED,)


def next_epoch(stored: int, wall_ms: int) -> int:
    """The epoch of a start: above every earlier one, also over a store that was put back from a copy of yesterday.

    What a clock says that is far ahead is not believed: the store would have no room for tokens any more, ever.
    """
    seconds = wall_ms // 1000
    return max(stored + 1, seconds if seconds < LAST_EPOCH else 0)


def is_epoch(epoch: int) -> bool:
    """Whether a store may have it; with any other one there would be no room for tokens, now or soon."""
    return 0 <= epoch <= LAST_EPOCH + STARTS


def stall(elapsed: float) -> float:
    """How long the broker itself heard nobody, when a beat that is due within a second came after so many seconds.

    Whether it stood still or was busy does not matter: two such seconds are most of a short lease.
    """
    return max(0.0, elapsed - BEAT)


def lost_failure(worker: str, why: str) -> Failure:
    """The failure of a job that is quarantined because its workers keep dying. `why` goes on from the worker's name."""
    return Failure("WorkerLostError", "tqbroker.exceptions", f"worker {worker} {why} while it ran this job")


def overflow_failure(queue: str, max_length: int) -> Failure:
    """The failure of a job that had to make room for a newer one."""
    message = f"dropped as the oldest job of queue {queue}, which may hold {max_length} (max_length)"
    return Failure("QueueLengthExceeded", "tqbroker.exceptions", message)


def keep_until(state: State, finished_ms: int, result_ttl_ms: int, config: StorageConfig) -> int:
    """When a finished job and its result are dropped. A FAILED one is a dead letter and stays for `dead_ttl` at least.

    `result_ttl_ms` is the job's own, 0 when it has none.
    """
    ttl_ms = result_ttl_ms or int(config.result_ttl * 1000)
    return finished_ms + (max(ttl_ms, int(config.dead_ttl * 1000)) if state is State.FAILED else ttl_ms)
