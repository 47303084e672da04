"""Jobs on their way to a child, as columns: what they share, and each one's own."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from tqbroker.ids import text_of
from tqbroker_worker.places import Place

UUID_BYTES = 16
SUSPECT = 2
"""Lost leases that make a job a suspect: one may be a neighbour's doing, and the third is the last by default."""


class Traits(msgspec.Struct, array_like=True, frozen=True):
    """What plain jobs do not have, as far as a task sees it or a child acts on it. Limits: 0 means none of its own.

    `parent` is the job that submitted them from its body, `root` the one that all of this began with, as text.
    """

    soft_limit_ms: int = 0
    hard_limit_ms: int = 0
    shadow: str = ""
    stamps: tuple[str, ...] = ()
    tenant: str = ""
    ordering_key: str = ""
    parent: str = ""
    root: str = ""


class Head(msgspec.Struct, array_like=True, frozen=True):
    """What the jobs of one message share. `headers` are encoded in `format`, like the arguments."""

    task: str
    queue: str
    priority: int
    format: str
    headers: bytes = b""
    ignore_result: bool = False
    traits: Traits | None = None


class Extra(msgspec.Struct, array_like=True, frozen=True):
    """What few jobs have. Times are milliseconds since 1970 UTC, 0 when there is none.

    `checkpoint` is what an earlier attempt left, in `checkpoint_format`; None when there is none. `place` is that of a
    job of a workflow.
    """

    due_ms: int = 0
    expires_ms: int = 0
    checkpoint: bytes | None = None
    checkpoint_format: str = ""
    place: Place | None = None


class Jobs(msgspec.Struct, array_like=True, tag=1, eq=False):
    """Jobs under one head, as columns. Their ids are all UUIDs (16 bytes each) or all texts, never mixed.

    `retries` and `lost` are empty when all of them are 0, `extras` has those jobs, by their place, that have any.
    Compared by identity: a token points at its message.
    """

    head: Head
    uuids: bytes
    texts: list[str]
    tokens: list[int]
    args: list[bytes]
    retries: list[int]
    lost: list[int]
    extras: dict[int, Extra] = {}

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
            self._extras(range(start, min(stop, len(self)))) if self.extras else {},
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
            self._extras(at) if self.extras else {},
        )

    def size(self) -> int:
        """Bytes of all arguments, and of what is handed over with them."""
        size = sum(map(len, self.args))
        if self.extras:
            size += sum(extra.place.size() for extra in self.extras.values() if extra.place is not None)
        return size

    @property
    def suspect(self) -> bool:
        """Whether one of them has lost so many leases that it may well be what killed its workers."""
        return bool(self.lost) and max(self.lost) >= SUSPECT

    def _extras(self, places: Iterable[int]) -> dict[int, Extra]:
        return {new: self.extras[old] for new, old in enumerate(places) if old in self.extras}

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
