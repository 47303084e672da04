"""One job as a child has it, and what may become of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import NamedTuple

from tqbroker.ids import Key
from tqbroker_worker.jobs import UUID_BYTES, Extra, Head, Jobs
from tqbroker_worker.places import Trail


class Job(NamedTuple):
    """One delivery. `id` is the 16 bytes of a UUID, or a text."""

    head: Head
    id: Key
    token: int
    args: bytes
    retries: int
    lost: int
    extra: Extra | None = None


class Success(NamedTuple):
    """What a job returned: encoded, and as the log shows it ("" when it does not), with what it has submitted."""

    token: int
    result: bytes
    started_ms: int
    runtime_us: int
    shown: str
    trail: Trail | None = None


def jobs_of(jobs: Jobs) -> Iterator[Job]:
    """The jobs of a message one by one."""
    uuids, extras = jobs.uuids, jobs.extras
    keys: Iterable[Key] = jobs.texts or [uuids[at : at + UUID_BYTES] for at in range(0, len(uuids), UUID_BYTES)]
    columns = zip(
        repeat(jobs.head),
        keys,
        jobs.tokens,
        jobs.args,
        jobs.retries or repeat(0),
        jobs.lost or repeat(0),
        map(extras.get, range(len(jobs))) if extras else repeat(None),
    )
    return map(Job._make, columns)
