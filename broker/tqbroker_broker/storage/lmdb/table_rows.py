"""Keys and rows that only stand in packed form elsewhere, as plain values with names, and back."""

from __future__ import annotations

import struct
from collections.abc import Callable
from struct import Struct
from typing import Any, NamedTuple

import msgspec

from tqbroker_broker.attempts import Failure
from tqbroker_broker.records import Head, State
from tqbroker_broker.rules import LimitRule
from tqbroker_broker.storage.lmdb import workflow_rows
from tqbroker_broker.storage.lmdb.events import COLUMNS_AT, FRONT, Column
from tqbroker_broker.storage.lmdb.keys import (
    AGENDA,
    COLUMNS,
    EXPIRY,
    MARKS,
    NOTED,
    PLAIN,
    RETENTION,
    TOKEN_AT,
    TURNS,
    U64,
    WORKFLOWS,
)
from tqbroker_broker.storage.lmdb.rows import (
    JOB_AT,
    DamagedRecordError,
    Final,
    check,
    head_of,
    pack_failure,
    pack_final,
    seal,
    unpack_failure,
    unpack_final,
)
from tqbroker_broker.storage.lmdb.workflow_rows import SPAN, Nodes, unpack_nodes

UNREADABLE = (DamagedRecordError, struct.error, msgspec.MsgspecError, ValueError, KeyError)
"""What reading a row raises that is not as it was written. DamagedRecordError: its checksum is wrong."""

OF_SEQS = (EXPIRY, RETENTION, MARKS, TURNS, WORKFLOWS)
"""Kinds of agenda rows that have numbers: seqs, or the number of one workflow."""

_encode = msgspec.msgpack.Encoder().encode


class AgendaKey(NamedTuple):
    """What is to be looked at, when."""

    kind: str
    when_ms: int
    number: int


class Known(NamedTuple):
    """A row of `ids`; `token` is there once the job is dropped."""

    seq: int
    digest: bytes
    token: int | None = None


class Standing(NamedTuple):
    """A row of `lanes`. `noted`: the job has a row in `notes`."""

    seq: int
    noted: bool


class Planned(NamedTuple):
    """A row of `agenda`: numbers, or for some kinds the bytes of a name."""

    numbers: list[int]
    name: bytes = b""


class Count(NamedTuple):
    """A row of `counts`: of a queue its jobs by state, of the store's own counters a number."""

    states: list[int]
    number: int | None = None


class Happened(NamedTuple):
    """A row of `events`: those of one commit."""

    at_ms: int
    columns: list[Column]

    @property
    def events(self) -> int:
        """How many they are."""
        return sum(column.count for column in self.columns)


class Limit(NamedTuple):
    """A row of `limits`."""

    operator: bool
    rule: LimitRule


class Span(NamedTuple):
    """A row of `parts`: jobs with consecutive seqs, and the workflow that they were sent for."""

    first: int
    jobs: int
    home: int
    digest: bytes


class Run(NamedTuple):
    """A row of `nodes`; `head` stands there in place of that of the nodes, None where the job could not be read."""

    nodes: Nodes
    head: Head | None


class End(NamedTuple):
    """A row of `final`. `failure` stands in place of the value of a job that did not succeed."""

    final: Final
    failure: Failure | None


def numbers(row: bytes) -> list[int]:
    """Numbers in a row."""
    if len(row) % U64.size:
        raise ValueError(f"{len(row)} bytes are no numbers")
    return [number for (number,) in U64.iter_unpack(row)]


def pack_numbers(values: list[int]) -> bytes:
    """The row of some numbers."""
    return b"".join(map(U64.pack, values))


def tuple_of(form: Struct, kind: Callable[..., Any]) -> tuple[Callable[[bytes], Any], Callable[[Any], bytes]]:
    """How a NamedTuple of numbers is read and written that is packed so."""
    return lambda packed: kind(*form.unpack(packed)), lambda value: form.pack(*value)


def unpack_agenda_key(key: bytes) -> AgendaKey:
    """A key of `agenda`."""
    kind, when_ms, number = AGENDA.unpack(key)
    return AgendaKey(kind.decode(), when_ms, number)


def pack_agenda_key(key: AgendaKey) -> bytes:
    """The key of a row of the agenda."""
    return AGENDA.pack(key.kind.encode(), key.when_ms, key.number)


def read_planned(key: bytes, row: bytes) -> Planned:
    """A row of `agenda`."""
    return Planned(numbers(row)) if key[:1] in OF_SEQS else Planned([], row)


def write_planned(key: bytes, planned: Planned) -> bytes:
    """The row of the agenda under such a key."""
    return pack_numbers(planned.numbers) if key[:1] in OF_SEQS else planned.name


def read_known(key: bytes, row: bytes) -> Known:
    """A row of `ids`."""
    if len(row) not in (TOKEN_AT, TOKEN_AT + U64.size):
        raise ValueError(f"{len(row)} bytes")
    token = U64.unpack_from(row, TOKEN_AT)[0] if len(row) > TOKEN_AT else None
    return Known(U64.unpack_from(row)[0], row[U64.size : TOKEN_AT], token)


def write_known(key: bytes, known: Known) -> bytes:
    """The row of an id."""
    return U64.pack(known.seq) + known.digest + (U64.pack(known.token) if known.token is not None else b"")


def read_standing(key: bytes, row: bytes) -> Standing:
    """A row of `lanes`."""
    if row[U64.size :] not in (PLAIN, NOTED):
        raise ValueError("no such flags")
    return Standing(U64.unpack_from(row)[0], row[U64.size :] == NOTED)


def write_standing(key: bytes, standing: Standing) -> bytes:
    """The row of a place in a lane."""
    return U64.pack(standing.seq) + (NOTED if standing.noted else PLAIN)


def read_count(key: bytes, row: bytes) -> Count:
    """A row of `counts`; one of an earlier version may have fewer states."""
    if key.startswith(b"\x00"):
        return Count([], U64.unpack(row)[0])
    states = msgspec.msgpack.decode(row, type=list[int])
    return Count(states + [0] * (COLUMNS - len(states)))


def write_count(key: bytes, count: Count) -> bytes:
    """The row of a count."""
    return U64.pack(count.number) if count.number is not None else _encode(count.states)


_decode_columns = msgspec.msgpack.Decoder(list[Column]).decode


def read_happened(key: bytes, row: bytes) -> Happened:
    """A row of `events`."""
    at_ms, count = FRONT.unpack_from(check(row), JOB_AT)
    happened = Happened(at_ms, _decode_columns(row[COLUMNS_AT:]))
    if happened.events != count:
        raise ValueError(f"{happened.events} events, and {count} are counted")
    return happened


def write_happened(key: bytes, happened: Happened) -> bytes:
    """The row of the events of a commit."""
    return seal(FRONT.pack(happened.at_ms, happened.events) + _encode(happened.columns))


_decode_limit = msgspec.msgpack.Decoder(tuple[bool, LimitRule]).decode


def read_limit(key: bytes, row: bytes) -> Limit:
    """A row of `limits`."""
    return Limit(*_decode_limit(row))


def read_span(key: bytes, row: bytes) -> Span:
    """A row of `parts`."""
    first, jobs, home = SPAN.unpack_from(row)
    return Span(first, jobs, home, row[SPAN.size :])


def write_span(key: bytes, span: Span) -> bytes:
    """The row of a part."""
    return SPAN.pack(*span[:3]) + span.digest


def read_run(key: bytes, row: bytes) -> Run:
    """A row of `nodes`."""
    nodes = unpack_nodes(row)
    return Run(msgspec.structs.replace(nodes, head=b""), head_of(nodes.head) if nodes.head else None)


def write_run(key: bytes, run: Run) -> bytes:
    """The row of a place."""
    head = _encode(run.head) if run.head is not None else b""
    return workflow_rows.pack(msgspec.structs.replace(run.nodes, head=head))


def read_end(key: bytes, row: bytes) -> End:
    """A row of `final`."""
    final = unpack_final(row, U64.unpack(key)[0])
    if final.state is State.SUCCEEDED:
        return End(final, None)
    return End(final._replace(value=b""), unpack_failure(final.value))


def write_end(key: bytes, end: End) -> bytes:
    """The row of an end."""
    succeeded = end.final.state is State.SUCCEEDED
    final = end.final if succeeded else end.final._replace(value=pack_failure(end.failure))
    return pack_final(final, U64.unpack(key)[0])
