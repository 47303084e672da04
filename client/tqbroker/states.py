"""States of a job under Celery's names, and the phase, our own finer word for where it stands."""

from __future__ import annotations

from enum import IntEnum, StrEnum

PENDING = "PENDING"
"""Accepted and not started: scheduled, or waiting in its queue."""
STARTED = "STARTED"
"""A worker runs it."""
RETRY = "RETRY"
"""It failed and is scheduled to be tried again."""
SUCCESS = "SUCCESS"
FAILURE = "FAILURE"
REVOKED = "REVOKED"
"""Cancelled, or expired before it started."""
REJECTED = "REJECTED"
"""The task refused the job, or put it back: only hooks and signals see this word."""
IGNORED = "IGNORED"
"""The task wanted nothing kept: only hooks and signals see this word."""
RECEIVED = "RECEIVED"
"""Celery's word for a job that a worker has and not started; here it is PENDING."""
UNKNOWN = "UNKNOWN"
"""The broker does not know the id, or keeps nothing of the job any more. Celery says PENDING here."""

READY_STATES = frozenset({SUCCESS, FAILURE, REVOKED})
UNREADY_STATES = frozenset({PENDING, STARTED, RETRY})
EXCEPTION_STATES = frozenset({RETRY, FAILURE, REVOKED})
PROPAGATE_STATES = frozenset({FAILURE, REVOKED})
ALL_STATES = READY_STATES | UNREADY_STATES | {UNKNOWN}


class Phase(IntEnum):
    """Where a job stands; numbers are those of the wire."""

    SCHEDULED = 1
    WAITING = 2
    QUEUED = 3
    RUNNING = 4
    SUCCEEDED = 5
    FAILED = 6
    CANCELLED = 7
    EXPIRED = 8
    UNKNOWN = 9

    def __str__(self) -> str:
        return self.name


FINAL = frozenset({Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELLED, Phase.EXPIRED})

_STATES = {
    Phase.SCHEDULED: PENDING,
    Phase.WAITING: PENDING,
    Phase.QUEUED: PENDING,
    Phase.RUNNING: STARTED,
    Phase.SUCCEEDED: SUCCESS,
    Phase.FAILED: FAILURE,
    Phase.CANCELLED: REVOKED,
    Phase.EXPIRED: REVOKED,
    Phase.UNKNOWN: UNKNOWN,
}


def state_of(phase: Phase, retries: int = 0) -> str:
    """Celery's name for a phase: SCHEDULED after a failed attempt is RETRY."""
    return RETRY if phase is Phase.SCHEDULED and retries else _STATES[phase]


class RevokeEffect(StrEnum):
    """What `AsyncResult.revoke` did."""

    CANCELLED = "cancelled"
    """It was waiting; it will not run."""
    RUNNING = "running"
    """It is running: its worker is told, and it will not be started again."""
    PENDING = "pending"
    """The broker was restarted and a worker may still hold it: the request is stored and decides."""
    FINAL = "final"
    """It had already ended."""
    UNKNOWN = "unknown"
    """The broker knows no such job."""
