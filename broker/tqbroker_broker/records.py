"""What storage keeps of a job: plain values. What is done with them stands in `attempts` and `answers`.

Ids inside the broker are bytes: the 16 bytes of a UUID, or `text_key(...)` of any other id, so that the two never meet.
Times are wall-clock milliseconds since 1970 (`*_ms`) unless a name says otherwise; zero means "not set".
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

import msgspec

from tqbroker_broker.rules import PLAIN, Traits

JobId = bytes


class State(IntEnum):
    """Where a job stands; numbers are those of the wire and of the disk."""

    SCHEDULED = 1
    WAITING = 2
    QUEUED = 3
    RUNNING = 4
    SUCCEEDED = 5
    FAILED = 6
    CANCELLED = 7
    EXPIRED = 8
    UNKNOWN = 9


class Time(NamedTuple):
    """One reading of the clock, passed in by the caller.

    `wall_ms` orders what outlives the process (due times, expiries); `mono` (seconds) judges leases, because it cannot
    jump.
    """

    wall_ms: int
    mono: float


class Head(msgspec.Struct, frozen=True, array_like=True):
    """What the jobs of one batch share. Encoded once for a batch and cached when decoded.

    `parent` is the job that submitted them from its body, `root` the one that all of this began with: texts of ids.
    """

    task: str
    queue: str
    priority: int
    format: str
    ignore_result: bool = False
    result_ttl_ms: int = 0
    headers: bytes = b""
    traits: Traits = PLAIN
    parent: str = ""
    root: str = ""


class NewJobs(NamedTuple):
    """Jobs on their way in, as columns.

    `digests` (16 bytes each) tell "same body" for P2. `due_ms` 0 means at once; `expires_ms` 0 means never.
    `unique` (16 bytes each) are the keys that nobody else may hold; empty when the traits ask for none.
    """

    head: Head
    ids: list[JobId]
    args: list[bytes]
    digests: list[bytes]
    due_ms: int = 0
    expires_ms: int = 0
    unique: Sequence[bytes] = ()


def text_key(text: str) -> JobId:
    """The internal form of an id that is not a UUID: never 16 bytes long, so never equal to one."""
    key = b"t" + text.encode()
    return b"t\x00" + key[1:] if len(key) == 16 else key


def key_text(key: JobId) -> str:
    """The text of an id made by `text_key`."""
    return key[1:].lstrip(b"\x00").decode()


def id_text(job: JobId) -> str:
    """The id as people see it."""
    if len(job) != 16:
        return key_text(job)
    text = job.hex()  # several times faster than a UUID, and each job of a workflow that is handed out names two
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
