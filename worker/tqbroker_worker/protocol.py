"""What parent and child say to each other: columns, so that a job costs a microsecond and not a message.

Down go `Jobs`, `Cancel`, `HandBack` and `Stop`; up come one `Manifest` or `Broken`, then `Done`, `Ended` and
`Unstarted`. The messages are msgpack arrays; both ends are always the same version of this package.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

import msgspec

from tqbroker.failures import FailureData
from tqbroker.ids import text_of

UUID_BYTES = 16


class Head(msgspec.Struct, array_like=True, frozen=True):
    """What the jobs of one message share. `headers` are encoded in `format`, like the arguments."""

    task: str
    queue: str
    priority: int
    format: str
    headers: bytes = b""
    ignore_result: bool = False


class Jobs(msgspec.Struct, array_like=True, tag=1, eq=False):
    """Jobs under one head, as columns. Their ids are all UUIDs (16 bytes each) or all texts, never mixed.

    `retries` and `lost` are empty when all of them are 0. Compared by identity: a token points at its message.
    """

    head: Head
    uuids: bytes
    texts: list[str]
    tokens: list[int]
    args: list[bytes]
    retries: list[int]
    lost: list[int]

    def __len__(self) -> int:
        return len(self.tokens)

    def part(self, start: int, stop: int) -> Jobs:
        """The jobs from `start` up to but without `stop`."""
        return Jobs(
            self.head,
            self.uuids[UUID_BYTES * start : UUID_BYTES * stop],
            self.texts[start:stop],
            self.tokens[start:stop],
            self.args[start:stop],
            self.retries[start:stop],
            self.lost[start:stop],
        )

    def pick(self, tokens: Iterable[int]) -> Jobs:
        """Only the jobs with these tokens, in the order they have here."""
        wanted = set(tokens)
        at = [index for index, token in enumerate(self.tokens) if token in wanted]
        return Jobs(
            self.head,
            b"".join(self.uuids[UUID_BYTES * i : UUID_BYTES * (i + 1)] for i in at),
            [self.texts[i] for i in at if self.texts],
            [self.tokens[i] for i in at],
            [self.args[i] for i in at],
            [self.retries[i] for i in at if self.retries],
            [self.lost[i] for i in at if self.lost],
        )

    def id_of(self, token: int) -> str:
        """Text of the id of the job with this token."""
        return self.id_at(self.tokens.index(token))

    def id_at(self, index: int) -> str:
        """Text of the id at this place."""
        if self.texts:
            return self.texts[index]
        return text_of(self.uuids[UUID_BYTES * index : UUID_BYTES * (index + 1)])

    def uuid_of(self, token: int) -> bytes | None:
        """The 16 bytes of this job's id; None when its id is a text."""
        if self.texts:
            return None
        at = UUID_BYTES * self.tokens.index(token)
        return self.uuids[at : at + UUID_BYTES]


class Cancel(msgspec.Struct, array_like=True, tag=2):
    """Stop these: give back what is not started, cancel what runs where that is possible."""

    tokens: list[int]


class HandBack(msgspec.Struct, array_like=True, tag=3):
    """Give back every job that is not started."""


class Stop(msgspec.Struct, array_like=True, tag=4):
    """Finish what runs, then exit."""


class Manifest(msgspec.Struct, array_like=True, tag=11):
    """The app is loaded and the child is ready. `broker` is empty when the app names none."""

    app: str
    broker: str
    default_queue: str
    tasks: list[str]


class Broken(msgspec.Struct, array_like=True, tag=12):
    """The app could not be loaded. `usage`: the command line is wrong, not the user's code."""

    message: str
    traceback: str = ""
    usage: bool = False


class Done(msgspec.Struct, array_like=True, tag=13):
    """Jobs that succeeded, as columns. `shown` holds what the log prints of each result; empty when it prints none."""

    format: str
    tokens: list[int]
    results: list[bytes]
    started_ms: list[int]
    runtime_us: list[int]
    shown: list[str]


class Verdict(IntEnum):
    """How an attempt ended, other than by success; numbers are those of the wire."""

    FAILED = 1
    RETRY = 2
    LOST = 3
    CANCELLED = 4


class Ended(msgspec.Struct, array_like=True, tag=14):
    """One attempt that ended other than by success."""

    token: int
    verdict: Verdict
    failure: FailureData | None
    started_ms: int = 0
    runtime_us: int = 0
    retry_in_ms: int = 0


class Unstarted(msgspec.Struct, array_like=True, tag=15):
    """Jobs given back. `overdue`: unasked, because what runs has been running for too long."""

    tokens: list[int]
    overdue: bool = False


Down = Jobs | Cancel | HandBack | Stop
Up = Manifest | Broken | Done | Ended | Unstarted

encode = msgspec.msgpack.Encoder().encode
decode_down = msgspec.msgpack.Decoder(Down).decode
decode_up = msgspec.msgpack.Decoder(Up).decode
