"""The lines of an export, back to rows: in a new file, which is a store once all of them are there."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from struct import error as StructError  # noqa: N812
from typing import BinaryIO, NamedTuple

import lmdb
import msgspec

from tqbroker_broker.config import StorageConfig
from tqbroker_broker.lifecycle import is_epoch
from tqbroker_broker.storage import CannotOpen
from tqbroker_broker.storage.exports import VERSION, Header, Imported, Line, Trailer
from tqbroker_broker.storage.lmdb import holding
from tqbroker_broker.storage.lmdb.keys import DATABASES, FORMAT_VERSION, HELD_BACK, U64
from tqbroker_broker.storage.lmdb.opening import map_size
from tqbroker_broker.storage.lmdb.replacing import make_store
from tqbroker_broker.storage.lmdb.table_rows import UNREADABLE
from tqbroker_broker.storage.lmdb.tables import TABLES
from tqbroker_broker.storage.lmdb.txn import Database
from tqbroker_broker.storage.lmdb.verifying.everything import verify
from tqbroker_broker.storage.lmdb.verifying.tallies import look_at
from tqbroker_broker.storage.plain import NotPlain, reader

ROWS_A_COMMIT, BYTES_A_COMMIT = 20_000, 16 << 20
"""Rows that are written at a time, and bytes of them, whichever is less. Nothing is flushed before the end."""

_decode_header = msgspec.json.Decoder(Header).decode
_decode_line = msgspec.json.Decoder(Line).decode
_decode_trailer = msgspec.json.Decoder(Trailer).decode


class Row(NamedTuple):
    """One row as it stands in a database."""

    table: str
    key: bytes
    value: bytes


def read_header(file: BinaryIO) -> Header:
    """The first line. Raises CannotOpen."""
    try:
        header = _decode_header(file.readline())
        bytes.fromhex(header.store)
        holding.pack(holding.paired(header.aging))
    except (msgspec.MsgspecError, ValueError, StructError) as problem:
        raise CannotOpen(f"line 1: this is not an export of tqbroker ({problem})") from problem
    if header.tqbroker_export != VERSION or header.format > FORMAT_VERSION:
        raise CannotOpen(
            f"line 1: tqbroker {header.version} wrote this in form {header.tqbroker_export}, of a store of format "
            f"{header.format}; this version takes form {VERSION} and formats up to {FORMAT_VERSION}"
        )
    if not is_epoch(header.epoch):
        raise CannotOpen(f"line 1: the epoch is {header.epoch}, which no store has")
    return header


class Rows:
    """The rows of an export as they come; `trailer` is there after the last one."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.trailer = Trailer(0, 0, "")

    def __iter__(self) -> Iterator[Row]:
        """Raises CannotOpen at the first line that is not as it was written, and at the end if lines are missing."""
        digest = hashlib.sha256()
        count, last = 0, b""
        for number, line in enumerate(self._file, 2):
            if last:
                yield self._row(number - 1, last)
                digest.update(last)
                count += 1
            last = line
        self.trailer = self._end(last, count, digest.hexdigest())

    def _row(self, number: int, line: bytes) -> Row:
        try:
            entry = _decode_line(line)
            if entry.table not in TABLES:
                raise NotPlain(f"there is no table {entry.table!r}")
            table = TABLES[entry.table]
            key = table.key.write(reader(table.key.type)(entry.key))
            return Row(entry.table, key, table.row.write(key, reader(table.row.type)(entry.row)))
        except (*UNREADABLE, TypeError, OverflowError) as problem:
            raise CannotOpen(f"line {number} is damaged: {problem}") from problem

    @staticmethod
    def _end(line: bytes, rows: int, digest: str) -> Trailer:
        try:
            trailer = _decode_trailer(line)
        except msgspec.MsgspecError as problem:
            raise CannotOpen(f"the export is cut short: its last line is missing, after {rows} rows") from problem
        if trailer.rows != rows or trailer.sha256 != digest:
            raise CannotOpen(f"the export is not as it was written: {rows} rows do not match its last line")
        return trailer


def import_store(file: Path, directory: Path, now_ms: int) -> Imported:
    """Makes a data directory of an export; the directory must be empty or absent. Raises CannotOpen.

    What an export had to leave out makes no difference: the counts are made anew, and what is still wrong is told.
    """
    with file.open("rb") as lines:
        header, rows = read_header(lines), Rows(lines)

        def fill(path: Path) -> list[str]:
            write_store(path, header, rows)
            if rows.trailer.skipped:
                count_again(path)
            return verify(path).faults

        store, faults = make_store(directory, now_ms, fill)
    return Imported(store.hex(), header.store, rows.trailer.rows, rows.trailer.skipped, faults)


def write_store(path: Path, header: Header, rows: Rows) -> None:
    """Writes a store into an empty file. Raises CannotOpen."""
    with _environment(path) as (env, db):
        with env.begin(write=True) as txn:
            for name, value in _meta(header):
                txn.put(name, value, db=db["meta"])
        _fill(env, db, rows)


@contextmanager
def _environment(path: Path) -> Iterator[tuple[lmdb.Environment, dict[str, Database]]]:
    """A file that is on its way to be a store, with all databases; on the disk at the end."""
    try:
        with lmdb.open(
            os.fsencode(path), subdir=False, lock=False, map_size=map_size(StorageConfig()),
            max_dbs=len(DATABASES) + 5, mode=0o600, sync=False, lib_version=0,
        ) as env:  # fmt: skip
            with env.begin(write=True) as txn:
                db = {name: env.open_db(name.encode(), txn=txn) for name in DATABASES}
            yield env, db
            env.sync(True)
    except lmdb.Error as problem:
        raise CannotOpen(f"cannot write {path}: {problem}") from problem


def _meta(header: Header) -> list[tuple[bytes, bytes]]:
    return [
        (b"format", U64.pack(FORMAT_VERSION)),
        (b"store", bytes.fromhex(header.store)),
        (b"epoch", U64.pack(header.epoch)),
        *([(HELD_BACK, holding.pack(holding.paired(header.aging)))] if header.aging else []),
    ]


def _fill(env: lmdb.Environment, db: dict[str, Database], rows: Rows) -> None:
    """Some rows at a time."""
    several = iter(rows)
    while batch := _some(several):
        with env.begin(write=True) as txn:
            for row in batch:
                txn.put(row.key, row.value, db=db[row.table])


def _some(rows: Iterator[Row]) -> list[Row]:
    """As many as are written at a time."""
    batch: list[Row] = []
    size = 0
    for row in islice(rows, ROWS_A_COMMIT):
        batch.append(row)
        size += len(row.key) + len(row.value)
        if size >= BYTES_A_COMMIT:
            break
    return batch


def count_again(path: Path) -> None:
    """Makes the counts anew, from the jobs that there are, and the numbers that are given out next."""
    look = look_at(path)
    with _environment(path) as (env, db), env.begin(write=True) as txn:
        for key, number in look.counters.items():
            txn.put(key, U64.pack(number), db=db["counts"])
        for queue, states in look.queues.items():
            txn.put(queue.encode(), msgspec.msgpack.encode(states), db=db["counts"])
