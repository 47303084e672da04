"""Columns of ids: 16 bytes for a UUID, text for any other."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from tqbroker.v1 import job_pb2 as pb
from tqbroker_broker.records import JobId, id_text, key_text, text_key
from tqbroker_broker.refusals import Invalid, TooLarge

MAX_ID = 128
MAX_KEY_BYTES = 384
"""Bytes (UTF-8) of an id, queue or worker name: they are keys on the disk, where LMDB's limit is 511."""


def read_ids(ids: pb.Ids, limit: int | None = None) -> list[JobId]:
    """The ids of a column, UUIDs first. Raises Invalid, and TooLarge above `limit` ids."""
    raw = ids.uuids
    if len(raw) % 16:
        raise Invalid(f"uuids has {len(raw)} bytes: it must be 16 for each id")
    if limit is not None and len(raw) // 16 + len(ids.texts) > limit:
        raise TooLarge(f"the request names {len(raw) // 16 + len(ids.texts)} ids and may name {limit}: split it")
    keys = [raw[at : at + 16] for at in range(0, len(raw), 16)]
    if ids.texts:
        keys += [text_id(text) for text in ids.texts]
    return keys


def text_id(text: str) -> JobId:
    """The id that a text names; a canonical UUID is the same id as its 16 bytes. Raises Invalid."""
    if not is_name(text, MAX_ID):
        allowed = f"use 1 to {MAX_ID} printable characters, {MAX_KEY_BYTES} bytes at most"
        raise Invalid(f"the id {text[:200]!r} is not allowed: {allowed}")
    if len(text) == 36:
        try:
            value = UUID(text)
        except ValueError:
            return text_key(text)
        if str(value) == text:
            return value.bytes
    return text_key(text)


def is_name(text: str, limit: int) -> bool:
    """Whether a text has 1 to `limit` printable characters and fits into a key."""
    return 0 < len(text) <= limit and text.isprintable() and len(text.encode()) <= MAX_KEY_BYTES


def write_ids(ids: Sequence[JobId]) -> pb.Ids:
    """A column of ids. Those of one call must be all UUIDs or all texts when other columns go with them in order."""
    if all_uuids(ids):
        return pb.Ids(uuids=b"".join(ids))
    return pb.Ids(
        uuids=b"".join(job for job in ids if len(job) == 16), texts=[key_text(job) for job in ids if len(job) != 16]
    )


def all_uuids(ids: Sequence[JobId]) -> bool:
    """Whether every id is a UUID."""
    return set(map(len, ids)) == {16}


def show(job: JobId) -> str:
    """The id as people see it."""
    return id_text(job)
