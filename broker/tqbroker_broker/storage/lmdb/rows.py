"""Rows of what is kept of jobs: each begins with the CRC32 of the rest, as LMDB 0.9 has no page checksums.

The checksum of an outcome begins with the seq of its job: one that is found in the place of another is damaged. The row
of a job has its id, and those who come by an id compare it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from struct import Struct
from typing import NamedTuple
from zlib import crc32

import msgspec

from tqbroker_broker.answers import Mark
from tqbroker_broker.attempts import Failure, PastAttempt, Progress
from tqbroker_broker.records import Head, JobId, NewJobs, State
from tqbroker_broker.rules import PLAIN, Unique, UniqueConflict, UniqueUntil


class DamagedRecordError(Exception):
    """A record whose bytes do not match their CRC."""


DAMAGED = Failure(
    "DamagedRecord", "tqbroker.exceptions", "the stored job does not match its checksum; restore it from a backup"
)
"""The failure of a job that cannot be read any more."""

CRC = Struct(">I")
CRC_MAX = (1 << 32) - 1
# head length, id length, unique key length, submitted_ms, due_ms, expires_ms; then head, id, unique key, args
JOB = Struct(">IHBQQQ")
JOB_AT = CRC.size
HEAD_AT = JOB_AT + JOB.size
# order, fence floor, due_ms, retries, lost, attempts, cancel mark, flags
NOTE = Struct(">QQQIIIBB")
ANNOTATED, NODE, ALONE, BARE = 1, 2, 4, 8  # flags of a note
# seq, until, for_ms, submitted_ms; then id
HOLDING = Struct(">QBQQ")
# state, token, started_ms, finished_ms, retries, lost, format length, worker length; then format, worker, value
FINAL = Struct(">BQQQIIHH")

STATES, MARKS = {state.value: state for state in State}, {mark.value: mark for mark in Mark}
"""Looked up here in a fifth of the time that the enums need: every outcome and note that is read asks."""

_encode = msgspec.msgpack.Encoder().encode
_decode_head = msgspec.msgpack.Decoder(Head).decode
_decode_failure = msgspec.msgpack.Decoder(Failure).decode
_decode_trail = msgspec.msgpack.Decoder(list[bytes]).decode
_decode_attempt = msgspec.msgpack.Decoder(PastAttempt).decode


class JobRow(NamedTuple):
    """A job as it was submitted."""

    head: Head
    id: JobId
    args: bytes
    submitted_ms: int
    due_ms: int
    expires_ms: int
    unique: bytes = b""


class Holding(NamedTuple):
    """Who took a unique key. What its job does with the keys of others does not matter here."""

    seq: int
    id: JobId
    unique: Unique
    submitted_ms: int


@dataclass(slots=True)
class Note:
    """What happened to a job since its submit. `order` 0: its place is its seq. `floor`: its highest dead token.

    `attempts`: how many it has in the history. `annotated`: whether it has a row in `progress`. `node`: whether it
    belongs to a workflow. `alone`: it ended while it waited for others, and not because of one. `bare`: its arguments
    are those of a worker or an operator, and it is handed nothing in front of them.
    """

    order: int = 0
    floor: int = 0
    due_ms: int = 0
    retries: int = 0
    lost: int = 0
    attempts: int = 0
    cancel: Mark = Mark.NONE
    annotated: bool = False
    node: bool = False
    alone: bool = False
    bare: bool = False


class Said(msgspec.Struct, frozen=True, array_like=True):
    """What attempts said of their job while they ran; an empty checkpoint is none."""

    progress: Progress | None = None
    checkpoint: bytes = b""
    format: str = ""


_decode_said = msgspec.msgpack.Decoder(Said).decode


class Final(NamedTuple):
    """How a job ended. `value` is the result of a SUCCEEDED job, else the encoded Failure or nothing."""

    state: State
    token: int = 0
    started_ms: int = 0
    finished_ms: int = 0
    retries: int = 0
    lost: int = 0
    format: str = ""
    worker: str = ""
    value: bytes = b""


def seal(body: bytes, seq: int = 0) -> bytes:
    """The body with its CRC in front, which begins with the low half of the seq of a row that is bound to one."""
    return CRC.pack(crc32(body, seq & CRC_MAX)) + body


def check(row: bytes, seq: int = 0) -> bytes:
    """The same row, if its CRC is right, and that of this seq. Raises DamagedRecordError."""
    if len(row) < JOB_AT or CRC.unpack_from(row)[0] != crc32(memoryview(row)[JOB_AT:], seq & CRC_MAX):
        raise DamagedRecordError
    return row


def is_sound(row: bytes | None) -> bool:
    """Whether there is a row, and its CRC is right."""
    try:
        return row is not None and bool(check(row))
    except DamagedRecordError:
        return False


def pack_jobs(batch: NewJobs, submitted_ms: int, wanted: Iterable[int]) -> list[bytes]:
    """Rows for the jobs of a batch at the wanted indexes. What they share is packed once."""
    head = _encode(batch.head)
    ids, args, unique = batch.ids, batch.args, batch.unique
    unique_size = len(unique[0]) if unique else 0
    prefixes: dict[int, bytes] = {}
    rows = []
    for i in wanted:
        key = ids[i]
        size = len(key)
        prefix = prefixes.get(size)
        if prefix is None:
            fixed = JOB.pack(len(head), size, unique_size, submitted_ms, batch.due_ms, batch.expires_ms)
            prefixes[size] = prefix = fixed + head
        body = prefix + key + unique[i] + args[i] if unique else prefix + key + args[i]
        rows.append(crc32(body).to_bytes(4, "big") + body)
    return rows


def pack_job(job: JobRow) -> bytes:
    """The row of one job that was changed."""
    head = _encode(job.head)
    fixed = JOB.pack(len(head), len(job.id), len(job.unique), job.submitted_ms, job.due_ms, job.expires_ms)
    return seal(fixed + head + job.id + job.unique + job.args)


@lru_cache(maxsize=4096)
def head_of(encoded: bytes) -> Head:
    """Decodes a head; jobs of one task share theirs, so it is decoded once. Plain traits are PLAIN itself."""
    head = _decode_head(encoded)
    return head if head.traits != PLAIN else msgspec.structs.replace(head, traits=PLAIN)


def unpack_job(row: bytes) -> JobRow:
    """Reads a row of `jobs`. Raises DamagedRecordError."""
    check(row)
    head_size, id_size, unique_size, submitted_ms, due_ms, expires_ms = JOB.unpack_from(row, JOB_AT)
    id_at = HEAD_AT + head_size
    unique_at = id_at + id_size
    args_at = unique_at + unique_size
    return JobRow(
        head_of(row[HEAD_AT:id_at]), row[id_at:unique_at], row[args_at:], submitted_ms, due_ms, expires_ms,
        row[unique_at:args_at] if unique_size else b"",
    )  # fmt: skip


def id_of(row: bytes) -> JobId:
    """What stands where a row of `jobs` that cannot be trusted has its id; it may be anything."""
    if len(row) < HEAD_AT:
        return b""
    head_size, id_size, *_ = JOB.unpack_from(row, JOB_AT)
    return row[HEAD_AT + head_size : HEAD_AT + head_size + id_size]


def pack_holding(holding: Holding) -> bytes:
    """A row of `uniques`."""
    seq, job, unique, submitted_ms = holding
    return seal(HOLDING.pack(seq, unique.until, unique.for_ms, submitted_ms) + job)


def unpack_holding(row: bytes) -> Holding:
    """Reads a row of `uniques`. Raises DamagedRecordError."""
    seq, until, for_ms, submitted_ms = HOLDING.unpack_from(check(row), JOB_AT)
    unique = Unique(UniqueUntil(until), UniqueConflict.REJECT, for_ms)
    return Holding(seq, row[JOB_AT + HOLDING.size :], unique, submitted_ms)


def pack_note(note: Note) -> bytes:
    """A row of `notes`."""
    flags = note.annotated * ANNOTATED | note.node * NODE | note.alone * ALONE | note.bare * BARE
    return seal(
        NOTE.pack(note.order, note.floor, note.due_ms, note.retries, note.lost, note.attempts, note.cancel, flags)
    )


def unpack_note(row: bytes | None) -> Note:
    """Reads a row of `notes`; no row means that nothing happened. Raises DamagedRecordError."""
    if row is None:
        return Note()
    order, floor, due_ms, retries, lost, attempts, cancel, flags = NOTE.unpack_from(check(row), JOB_AT)
    return Note(
        order, floor, due_ms, retries, lost, attempts, MARKS[cancel],
        bool(flags & ANNOTATED), bool(flags & NODE), bool(flags & ALONE), bool(flags & BARE),
    )  # fmt: skip


FRESH = Note(node=True)
"""What is noted of a job of a workflow to which nothing has happened yet. Nobody changes it."""

FRESH_ROW = pack_note(FRESH)
_TAIL_AT = JOB_AT + 8
_FRESH_TAIL = FRESH_ROW[_TAIL_AT:]


def pack_placed(order: int) -> bytes:
    """The row of a job of a workflow to which nothing has happened but that it got its place."""
    return seal(order.to_bytes(8, "big") + _FRESH_TAIL)


def look_at_note(row: bytes | None) -> Note:
    """Reads a row of `notes` for somebody who changes nothing, and does not ask for its place.

    But for the place nearly all jobs of a workflow have the same, which is compared instead of read.
    """
    return FRESH if row is not None and row[_TAIL_AT:] == _FRESH_TAIL else unpack_note(row)


def pack_attempt(attempt: PastAttempt) -> bytes:
    """A row of `attempts`."""
    return seal(_encode(attempt))


def unpack_attempt(row: bytes) -> PastAttempt:
    """Reads a row of `attempts`. Raises DamagedRecordError."""
    return _decode_attempt(check(row)[JOB_AT:])


def pack_said(said: Said) -> bytes:
    """A row of `progress`."""
    return seal(_encode(said))


def unpack_said(row: bytes | None) -> Said:
    """Reads a row of `progress`; no row means that nothing was said. Raises DamagedRecordError."""
    return _decode_said(check(row)[JOB_AT:]) if row is not None else Said()


def pack_final(final: Final, seq: int) -> bytes:
    """A row of `final`, of the job with this seq."""
    form, worker = final.format.encode(), final.worker.encode()
    return seal(
        FINAL.pack(
            final.state,
            final.token,
            final.started_ms,
            final.finished_ms,
            final.retries,
            final.lost,
            len(form),
            len(worker),
        )
        + form
        + worker
        + final.value,
        seq,
    )


def unpack_final(row: bytes, seq: int) -> Final:
    """Reads a row of `final`, of the job with this seq. Raises DamagedRecordError."""
    state, token, started, finished, retries, lost, form, worker = FINAL.unpack_from(check(row, seq), JOB_AT)
    form_at = JOB_AT + FINAL.size
    worker_at = form_at + form
    value_at = worker_at + worker
    return Final(
        STATES[state], token, started, finished, retries, lost,
        row[form_at:worker_at].decode(), row[worker_at:value_at].decode(), row[value_at:],
    )  # fmt: skip


def pack_failure(failure: Failure | None) -> bytes:
    """A failure as the value of a final row."""
    return _encode(failure) if failure is not None else b""


def unpack_failure(value: bytes) -> Failure | None:
    """The failure of a final row, if it has one."""
    return _decode_failure(value) if value else None


def pack_trail(children: Sequence[JobId]) -> bytes:
    """A row of `trails`."""
    return seal(_encode(list(children)))


def unpack_trail(row: bytes | None) -> list[JobId]:
    """Reads a row of `trails`; no row means that the body has submitted nothing. Raises DamagedRecordError."""
    return _decode_trail(check(row)[JOB_AT:]) if row is not None else []
