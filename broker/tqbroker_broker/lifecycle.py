"""States of a job, the transitions that are allowed, and the decisions that need neither disk nor clock.

The table is the truth: engines ask it, tests walk it, the picture in docs/protocol.md is compared with it.
"""

from __future__ import annotations

from typing import NamedTuple

from tqbroker_broker.records import Failure, State, Verdict

NEW = None
"""The state of a job that does not exist yet."""

COUNTER_BITS = 32
"""A token is epoch << COUNTER_BITS | counter."""

BEAT = 1.0
"""Seconds within which a beat is due."""

STALL_AFTER = 2.0
"""Seconds of lateness from which a beat tells that the broker was not running, as opposed to busy."""

DIED, SILENT, LOST_PROCESS = "died", "fell silent", "lost the process that ran it"
"""How a worker can lose a lease, to go on from its name."""

FINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED, State.EXPIRED})

TRANSITIONS: dict[State | None, frozenset[State]] = {
    NEW: frozenset({State.SCHEDULED, State.QUEUED}),
    State.SCHEDULED: frozenset({State.QUEUED, State.CANCELLED, State.EXPIRED}),
    State.WAITING: frozenset({State.QUEUED, State.CANCELLED}),
    State.QUEUED: frozenset({State.RUNNING, State.CANCELLED, State.EXPIRED}),
    State.RUNNING: frozenset(
        {State.QUEUED, State.SCHEDULED, State.SUCCEEDED, State.FAILED, State.CANCELLED, State.EXPIRED}
    ),
    State.SUCCEEDED: frozenset(),
    State.FAILED: frozenset(),
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
    `max_lost_leases`, then it is quarantined as FAILED: what kills three workers would kill the fourth.
    """
    lost = attempt.lost + (attempt.verdict is Verdict.LOST)
    if attempt.cancel_requested or attempt.verdict is Verdict.CANCELLED:
        return Next(State.CANCELLED, attempt.retries, lost)
    if attempt.verdict is Verdict.FAILED or lost >= max_lost_leases:
        return Next(State.FAILED, attempt.retries, lost)
    if attempt.verdict is Verdict.LOST:
        return Next(State.QUEUED, attempt.retries, lost)
    state = State.SCHEDULED if attempt.retry_in_ms > 0 else State.QUEUED
    return Next(state, attempt.retries + 1, lost, attempt.retry_in_ms)


def next_epoch(stored: int, wall_ms: int) -> int:
    """The epoch of a start: above every earlier one, also over a store that was put back from a copy of yesterday."""
    return max(stored + 1, wall_ms // 1000)


def stall(elapsed: float) -> float:
    """How long the broker itself stood still, when a beat that is due within a second came after so many seconds."""
    return elapsed - BEAT if elapsed > STALL_AFTER + BEAT else 0.0


def lost_failure(worker: str, why: str) -> Failure:
    """The failure of a job that is quarantined because its workers keep dying. `why` goes on from the worker's name."""
    return Failure("WorkerLostError", "tqbroker.exceptions", f"worker {worker} {why} while it ran this job")


def keep_until(finished_ms: int, result_ttl_ms: int, default_ttl_ms: int) -> int:
    """When a finished job and its result are dropped."""
    return finished_ms + (result_ttl_ms or default_ttl_ms)
