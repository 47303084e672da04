"""What clients and workers asked and were told during a recording, as marks in its log.

Arguments and results follow from the id of their job, so that a claim names ids and every byte can be compared.
"""

from __future__ import annotations

import msgspec


class Asked(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """These jobs are on their way in, together or not at all: from here on they may be there."""

    ids: list[bytes]


class Stored(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """These jobs were acknowledged."""

    ids: list[bytes]


class Ended(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The outcome of a job was acknowledged, or its cancel. `state` is that of tqbroker_broker.records.State."""

    id: bytes
    state: int


class Retried(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """So many attempts of a job were acknowledged as failed and to be made again."""

    id: bytes
    times: int


class Said(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A checkpoint was acknowledged; a later one has a higher number."""

    id: bytes
    number: int


class Marked(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The cancel of a running job was acknowledged."""

    id: bytes


class Moved(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A waiting job was acknowledged to be in another queue."""

    id: bytes
    queue: str


class Keyed(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A job was acknowledged that holds a unique key until it ends."""

    key: bytes
    id: bytes


class Leaving(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A finished job is about to be forgotten: from here on it may be gone."""

    id: bytes


class Gone(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A job was acknowledged as forgotten."""

    id: bytes


class Planned(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A schedule was acknowledged; the next revision of it has a longer interval."""

    name: str
    every_ms: int


class Removing(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A schedule is about to be removed: from here on it may be gone."""

    name: str


class Removed(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A schedule was acknowledged as removed."""

    name: str


Claim = Asked | Stored | Ended | Retried | Said | Marked | Moved | Keyed | Leaving | Gone | Planned | Removing | Removed

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(list[Claim]).decode

SMALL, LARGE, RARE = 200, 6000, 40
"""Bytes: many jobs fit into a page of the store, but one in RARE has pages of its own."""


def args_of(job: bytes) -> bytes:
    """The arguments of a job."""
    return b'[["%s", "%s"], {}]' % (job.hex().encode(), _padding(job, b"a"))


def result_of(job: bytes) -> bytes:
    """The result of a job that succeeds."""
    return b'["%s", "%s"]' % (job.hex().encode(), _padding(job, b"r"))


def _padding(job: bytes, letter: bytes) -> bytes:
    return letter * (job[0] % SMALL if job[1] % RARE else LARGE)
