"""Every database of the layout as a table of plain values: how a key and a row are read, and written again.

What checks, exports and imports a store knows the layout from here. Nothing of a row is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from tqbroker_broker.attempts import PastAttempt
from tqbroker_broker.records import JobId
from tqbroker_broker.rules import QueueRule
from tqbroker_broker.schedules import ScheduleState
from tqbroker_broker.storage.lmdb import rows, table_rows
from tqbroker_broker.storage.lmdb.keys import PAIR, U64
from tqbroker_broker.storage.lmdb.lanes import LaneKey
from tqbroker_broker.storage.lmdb.rows import JOB_AT, Holding, JobRow, Note, Said, check, seal
from tqbroker_broker.storage.lmdb.table_rows import (
    AgendaKey,
    Count,
    End,
    Happened,
    Known,
    Limit,
    Planned,
    Run,
    Span,
    Standing,
)
from tqbroker_broker.storage.lmdb.workflow_rows import CHUNK, FOLLOWERS, JOIN, PART, Join, Saved, WorkflowRow


class Kind(NamedTuple):
    """What keys are: their type, and how they are read and written."""

    type: Any
    read: Callable[[bytes], Any]
    write: Callable[[Any], bytes]


class Form(NamedTuple):
    """What rows are: their type, and how they are read and written. The key comes first: some rows depend on it."""

    type: Any
    read: Callable[[bytes, bytes], Any]
    write: Callable[[bytes, Any], bytes]


class Table(NamedTuple):
    """One database. Reading raises one of `table_rows.UNREADABLE` when something is not as it was written."""

    key: Kind
    row: Form


class Place(NamedTuple):
    """A key of `lanes`."""

    lane: int
    order: int


class Due(NamedTuple):
    """A key of `delayed`."""

    due_ms: int
    seq: int


class AttemptKey(NamedTuple):
    """A key of `attempts`."""

    seq: int
    token: int


class PartKey(NamedTuple):
    """A key of `parts`; `part` is one more than its number."""

    workflow: int
    part: int


class JoinName(NamedTuple):
    """A key of `joins`, and a row of `groups`."""

    workflow: int
    join: int


class Chunk(NamedTuple):
    """A key of `members` and `counted`."""

    workflow: int
    join: int
    chunk: int


class Follower(NamedTuple):
    """A key of `followers`."""

    workflow: int
    join: int
    first: int


_encode = msgspec.msgpack.Encoder().encode


def _same(value: bytes) -> bytes:
    return value


def _of_row(kind: Any, read: Callable[[bytes], Any], write: Callable[[Any], bytes]) -> Form:
    """A row that does not depend on its key."""
    return Form(kind, lambda _, row: read(row), lambda _, value: write(value))


def _plain(kind: Any) -> Form:
    """A row in MessagePack without a checksum."""
    return _of_row(kind, msgspec.msgpack.Decoder(kind).decode, _encode)


def _sealed(kind: Any) -> Form:
    """A row in MessagePack with its checksum."""
    decode = msgspec.msgpack.Decoder(kind).decode
    return _of_row(kind, lambda row: decode(check(row)[JOB_AT:]), lambda value: seal(_encode(value)))


def _nothing(row: bytes) -> None:
    if row:
        raise ValueError(f"{len(row)} bytes where nothing should be")


NUMBER = Kind(int, lambda key: U64.unpack(key)[0], U64.pack)
NAME = Kind(bytes, _same, _same)
TEXT = Kind(str, bytes.decode, str.encode)
EMPTY = _of_row(type(None), _nothing, lambda _: b"")
BYTES = _of_row(bytes, _same, _same)
SEQ = _of_row(int, NUMBER.read, NUMBER.write)
JOB = _of_row(JobRow, rows.unpack_job, rows.pack_job)
JOIN_NAME = table_rows.tuple_of(JOIN, JoinName)

TABLES = {
    "jobs": Table(NUMBER, JOB),
    "ids": Table(NAME, Form(Known, table_rows.read_known, table_rows.write_known)),
    "names": Table(NUMBER, _plain(LaneKey)),
    "lanes": Table(
        Kind(Place, *table_rows.tuple_of(PAIR, Place)),
        Form(Standing, table_rows.read_standing, table_rows.write_standing),
    ),
    "delayed": Table(Kind(Due, *table_rows.tuple_of(PAIR, Due)), EMPTY),
    "notes": Table(NUMBER, _of_row(Note, rows.unpack_note, rows.pack_note)),
    "attempts": Table(Kind(AttemptKey, *table_rows.tuple_of(PAIR, AttemptKey)), _sealed(PastAttempt)),
    "progress": Table(NUMBER, _sealed(Said)),
    "uniques": Table(NAME, _of_row(Holding, rows.unpack_holding, rows.pack_holding)),
    "final": Table(NUMBER, Form(End, table_rows.read_end, table_rows.write_end)),
    "dead": Table(NUMBER, EMPTY),
    "agenda": Table(
        Kind(AgendaKey, table_rows.unpack_agenda_key, table_rows.pack_agenda_key),
        Form(Planned, table_rows.read_planned, table_rows.write_planned),
    ),
    "counts": Table(TEXT, Form(Count, table_rows.read_count, table_rows.write_count)),
    "events": Table(NUMBER, Form(Happened, table_rows.read_happened, table_rows.write_happened)),
    "workers": Table(TEXT, BYTES),
    "queues": Table(TEXT, _plain(QueueRule)),
    "limits": Table(TEXT, Form(Limit, table_rows.read_limit, lambda _, limit: _encode(limit))),
    "starts": Table(TEXT, _plain(list[tuple[int, int]])),
    "workflows": Table(NUMBER, _sealed(WorkflowRow)),
    "workflow_ids": Table(NAME, SEQ),
    "parts": Table(
        Kind(PartKey, *table_rows.tuple_of(PART, PartKey)), Form(Span, table_rows.read_span, table_rows.write_span)
    ),
    "takers": Table(NUMBER, JOB),
    "nodes": Table(NUMBER, Form(Run, table_rows.read_run, table_rows.write_run)),
    "joins": Table(Kind(JoinName, *JOIN_NAME), _sealed(Join)),
    "members": Table(
        Kind(Chunk, *table_rows.tuple_of(CHUNK, Chunk)),
        _of_row(list[int], table_rows.numbers, table_rows.pack_numbers),
    ),
    "counted": Table(Kind(Chunk, *table_rows.tuple_of(CHUNK, Chunk)), _of_row(list[int], list, bytes)),
    "followers": Table(Kind(Follower, *table_rows.tuple_of(FOLLOWERS, Follower)), EMPTY),
    "forgotten": Table(NUMBER, BYTES),
    "groups": Table(NAME, _of_row(JoinName, *JOIN_NAME)),
    "saved": Table(NAME, _sealed(Saved)),
    "trails": Table(NUMBER, _sealed(list[JobId])),
    "schedules": Table(TEXT, _sealed(ScheduleState)),
}
"""All databases but `meta`, which says whose store it is and of which format."""
