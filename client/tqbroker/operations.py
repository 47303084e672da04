"""What an operator asks of a broker and orders to be changed, as values. Times are milliseconds unless named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple

from tqbroker.ids import Key
from tqbroker.rates import Rate
from tqbroker.states import Phase


class JobFilter(NamedTuple):
    """Which jobs are meant: every field that is set must match. Times are milliseconds since 1970 UTC.

    `stamps` are "name=value"; `error` is the class name of a failure; `worker` has or had the last attempt.
    """

    phases: frozenset[Phase] = frozenset()
    queue: str = ""
    task: str = ""
    stamps: tuple[str, ...] = ()
    worker: str = ""
    error: str = ""
    submitted_after_ms: int = 0
    submitted_before_ms: int = 0


class Redrive(NamedTuple):
    """Dead letters go back to their queue. `args`: instead of the stored ones; `spacing_ms`: between two starts."""

    args: bytes = b""
    spacing_ms: int = 0


class Reschedule(NamedTuple):
    """Scheduled jobs become due at this moment; 0 means now."""

    due_ms: int = 0


class Move(NamedTuple):
    """Waiting jobs go to the end of another queue or priority; None keeps what they have."""

    queue: str | None = None
    priority: int | None = None


class Drop(NamedTuple):
    """Finished jobs are dropped with their results."""


class Cancel(NamedTuple):
    """Waiting jobs are cancelled, running ones marked, and with `terminate` stopped by force."""

    terminate: bool = False
    signal: str = ""


Change = Redrive | Reschedule | Move | Drop | Cancel


class Edited(NamedTuple):
    """What a change did to one job: `effect` in a word, or `refusal`, why nothing was done."""

    id: str
    effect: str
    refusal: str


class Overflow(StrEnum):
    """What becomes of a job that finds its queue full."""

    REFUSE = "refuse"
    DROP_OLDEST = "drop-oldest"


@dataclass(slots=True)
class QueueRule:
    """How a queue is to behave; 0 means without that bound. `weights`: turns of a tenant, 1 unless named."""

    paused: bool = False
    max_length: int = 0
    overflow: Overflow = Overflow.REFUSE
    ttl_ms: int = 0
    weights: dict[str, int] = field(default_factory=dict)


class QueueChange(NamedTuple):
    """What to change of a queue's rule; None leaves it. A weight of 0 removes the tenant's."""

    paused: bool | None = None
    max_length: int | None = None
    overflow: Overflow | None = None
    ttl_ms: int | None = None
    weights: Mapping[str, int] = {}


class LimitRule(NamedTuple):
    """How many jobs run at once (0: any number), and at most how many start in any such window.

    `name` is "task:NAME", "queue:NAME", or one that jobs have among their `limits`; a trailing "*" fits every rest.
    """

    name: str
    concurrency: int = 0
    rates: tuple[Rate, ...] = ()


class LimitInfo(NamedTuple):
    """A limit as it is now. `source`: who set it, "operator" or "app"."""

    rule: LimitRule
    source: str
    running: int


class Replies(NamedTuple):
    """Answers of workers to a command: values and errors by worker, and those that did not answer."""

    values: dict[str, Any]
    errors: dict[str, str]
    missing: list[str]


class Backup(NamedTuple):
    """What a backup holds. `jobs` by state; those that were running stand among the queued."""

    size: int
    sha256: str
    store: str
    epoch: int
    taken_ms: int
    """Whatever was acknowledged before this moment (milliseconds since 1970) is in it."""
    jobs: dict[str, int]


class EventKind(IntEnum):
    """What happened; numbers are those of the wire."""

    SENT = 1
    STARTED = 2
    SUCCEEDED = 3
    FAILED = 4
    RETRIED = 5
    REVOKED = 6
    REJECTED = 7
    LOST = 8
    WORKER_ONLINE = 9
    WORKER_OFFLINE = 10
    EDITED = 11


class Event(NamedTuple):
    """One event. `number` rises by one with each; `key` is the job's, None for the events of workers."""

    number: int
    kind: EventKind
    at_ms: int
    key: Key | None
    task: str = ""
    queue: str = ""
    worker: str = ""
    error: str = ""


class EventsLost(NamedTuple):
    """Events that were asked for were dropped already: those before `number`."""

    number: int
