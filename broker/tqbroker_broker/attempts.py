"""What workers are handed and what they say of it: plain values. Ids and times are those of `records`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from tqbroker_broker.records import Head, JobId

if TYPE_CHECKING:
    from tqbroker_broker.answers import Job
    from tqbroker_broker.workflows import Inputs


class Want(NamedTuple):
    """What one worker could take now.

    At most `window` jobs are handed out, and of tasks that are not in `fast` at most `slots`: both count what the
    worker may take in addition to what it holds. `fast` is a subset of `tasks`; jobs under a rate limit count as not
    fast, so that none of their starts is spent on waiting. Handing out stops with the job whose arguments and
    checkpoint bring the total to `max_bytes`, so that a message stays small. `labels` are what the worker has for jobs
    that require them.
    """

    worker: str
    queues: tuple[str, ...]
    tasks: frozenset[str]
    slots: int
    window: int
    fast: frozenset[str] = frozenset()
    max_bytes: int = 1 << 20
    labels: frozenset[str] = frozenset()


class Place(NamedTuple):
    """Where a delivered job stands in its workflow, and what it is handed.

    `root` is the first job of the workflow, `parent` the member whose end released this one (of several the last).
    `group` is the id of the group it is a member of, `group_index` its index there; `in_chord`: others follow that.
    `cause` is, for an error callback that is not silent, the job that failed, with its arguments.
    """

    workflow: bytes
    root: JobId
    parent: JobId = b""
    group: bytes = b""
    group_index: int = 0
    in_chord: bool = False
    inputs: Inputs | None = None
    cause: Job | None = None


class Extra(NamedTuple):
    """What a delivered job may have beside its columns: times, the checkpoint of an earlier attempt, a place."""

    due_ms: int = 0
    expires_ms: int = 0
    checkpoint: bytes = b""
    checkpoint_format: str = ""
    place: Place | None = None


class Leased(NamedTuple):
    """Jobs handed to one worker that share their head, as columns in hand-out order. Few have `extras`: by index.

    `slow`: they counted as not fast although their task is, because a rate limit holds for them.
    """

    head: Head
    ids: list[JobId]
    tokens: list[int]
    args: list[bytes]
    retries: list[int]
    lost: list[int]
    extras: dict[int, Extra]
    slow: bool = False

    def part(self, start: int, end: int) -> Leased:
        """Some of the jobs, in their order."""
        head, ids, tokens, args, retries, lost, extras, slow = self
        part = slice(start, end)
        some = {index - start: extra for index, extra in extras.items() if start <= index < end}
        return Leased(head, ids[part], tokens[part], args[part], retries[part], lost[part], some, slow)


class HandedOut(NamedTuple):
    """The answer to `lease`: what each want gets, and after how many seconds a rate limit admits more (0.0: none).

    `away` are the workers that are given nothing, whatever is ready: they are not, or no longer, connected.
    """

    batches: list[list[Leased]]
    again_in: float = 0.0
    away: frozenset[str] = frozenset()


class Held(NamedTuple):
    """A lease that a worker says it has."""

    id: JobId
    token: int


class Failure(msgspec.Struct, frozen=True, array_like=True):
    """Why an attempt ended badly, as the worker told it."""

    type: str
    module: str
    message: str
    traceback: str = ""
    args: bytes = b""
    format: str = ""


class Verdict(IntEnum):
    """How an attempt ended, other than by success."""

    FAILED = 1
    RETRY = 2
    LOST = 3
    CANCELLED = 4
    REJECTED = 5
    REQUEUED = 6
    REPLACED = 7


class Successes(NamedTuple):
    """Attempts that succeeded, as columns. `ids` is filled only when they are sent again after a reconnect.

    `children` are, by index, the jobs that the few bodies have submitted that did.
    """

    tokens: list[int]
    results: list[bytes]
    format: str
    started_ms: list[int]
    runtime_us: list[int]
    ids: list[JobId] | None = None
    children: Mapping[int, Sequence[JobId]] = MappingProxyType({})


class Ending(NamedTuple):
    """One attempt that did not succeed. `id` is set only when it is sent again after a reconnect.

    `args` of a RETRY replaces the job's arguments, whatever it was handed in front of them; None keeps them. `workflow`
    of a REPLACED is the held one that takes the job's place. `children` are the jobs that the body has submitted.
    """

    token: int
    verdict: Verdict
    failure: Failure | None
    retry_in_ms: int = 0
    started_ms: int = 0
    runtime_us: int = 0
    id: JobId | None = None
    args: bytes | None = None
    workflow: bytes = b""
    children: Sequence[JobId] = ()


class Progress(msgspec.Struct, frozen=True, array_like=True):
    """What an attempt said of itself while it ran. `meta` is encoded in `format`."""

    state: str = ""
    meta: bytes = b""
    format: str = ""
    done: float = 0.0
    total: float = 0.0
    note: str = ""
    at_ms: int = 0


class Annotation(NamedTuple):
    """Progress or a checkpoint of a running attempt; None leaves what is stored, an empty checkpoint removes it."""

    token: int
    progress: Progress | None = None
    checkpoint: bytes | None = None
    checkpoint_format: str = ""


class PastAttempt(msgspec.Struct, frozen=True, array_like=True):
    """One attempt that did not end the job, or whose end made it FAILED. `next_due_ms`: when the next was planned.

    Of a lost one whose worker told no start, `started_ms` is when it was handed out, 0 when that was before a restart.
    """

    worker: str
    token: int
    verdict: Verdict
    started_ms: int
    ended_ms: int
    failure: Failure | None = None
    next_due_ms: int = 0


class Refusal(IntEnum):
    """Why an outcome has no effect."""

    STALE = 1
    ALREADY = 2
