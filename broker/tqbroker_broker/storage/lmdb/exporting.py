"""All rows of a store as lines of JSON; see exports.py. What cannot be read is left out, with what hangs on it."""

from __future__ import annotations

import hashlib
import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import lmdb
import msgspec

from tqbroker_broker import __version__
from tqbroker_broker.lifecycle import is_epoch
from tqbroker_broker.rules import UniqueUntil
from tqbroker_broker.storage import CannotOpen
from tqbroker_broker.storage.exported import Word
from tqbroker_broker.storage.exports import VERSION, Exported, Header, Line, Trailer
from tqbroker_broker.storage.lmdb import holding
from tqbroker_broker.storage.lmdb.keys import FORMAT_VERSION, HELD_BACK, PAIR, first_number
from tqbroker_broker.storage.lmdb.pages import page_faults
from tqbroker_broker.storage.lmdb.table_rows import UNREADABLE
from tqbroker_broker.storage.lmdb.tables import TABLES
from tqbroker_broker.storage.lmdb.verifying.everything import data_file, silent, unused
from tqbroker_broker.storage.lmdb.verifying.look import label, reason
from tqbroker_broker.storage.lmdb.verifying.seqs import Seqs
from tqbroker_broker.storage.lmdb.verifying.snapshot import Snapshot
from tqbroker_broker.storage.plain import plain
from tqbroker_broker.storage.report import NO_STORE

Damage = Callable[[str], None]

ROW_BYTES = 10
"""Bytes of a file that each row takes beside its key and value: those of its node, and where that is."""

# How to see which job a row belongs to: rows of one that cannot be read go with it. -1: it needs none, as an id that is
# remembered and a unique key that is held until a moment are there without their job too.
OWNER: dict[str, Callable[[bytes, Any], int]] = {
    **dict.fromkeys(("final", "dead", "notes", "attempts", "progress", "trails"), lambda key, _: first_number(key)),
    "ids": lambda _, known: known.seq if known.token is None else -1,
    "lanes": lambda _, standing: standing.seq,
    "delayed": lambda key, _: first_number(key[8:]),
    "uniques": lambda _, holding: holding.seq if holding.unique.until is not UniqueUntil.TIME else -1,
}

_encode = msgspec.json.Encoder().encode


class Export:
    """One export as it goes on."""

    def __init__(self, snapshot: Snapshot, size: int, out: BinaryIO, damage: Damage) -> None:
        self._snapshot = snapshot
        self._size = size
        self._out = out
        self._damage = damage
        self._hash = hashlib.sha256()
        self._jobs = Seqs()
        self._done = Exported(0, 0)

    def write(self) -> Exported:
        """Writes all of it."""
        self._out.write(_encode(self._header()) + b"\n")
        for name in TABLES:
            try:
                for line in self._lines(name):
                    self._hash.update(line)
                    self._out.write(line)
                    self._done.rows += 1
            except lmdb.Error as problem:
                self._skip(f"{name}: the rest of the table cannot be read ({problem})")
                self._snapshot.renew()
        done = self._done
        self._out.write(_encode(Trailer(done.rows, done.skipped, self._hash.hexdigest())) + b"\n")
        self._out.flush()
        return done

    def _header(self) -> Header:
        meta = {name: self._snapshot.get("meta", name) or b"" for name in (b"format", b"store", b"epoch")}
        tables = {name: self._snapshot.size(name) for name in TABLES}
        number, epoch = int.from_bytes(meta[b"format"], "big"), int.from_bytes(meta[b"epoch"], "big")
        if not is_epoch(epoch):
            self._skip("the epoch of the store leaves no room for tokens")
            epoch = 0
        held = self._snapshot.get("meta", HELD_BACK) or b""
        if len(held) % PAIR.size:
            self._skip("what results and ids are held back by cannot be read")
            held = b""
        aging = [number for each in holding.unpack(held) for number in each]
        return Header(VERSION, __version__, number, meta[b"store"].hex(), epoch, tables, aging)

    def _lines(self, name: str) -> Iterator[bytes]:
        table, owner, left_out = TABLES[name], OWNER.get(name), 0
        for packed, raw in self._rows(name):
            try:
                key, row = table.key.read(packed), table.row.read(packed, raw)
                line = _encode(Line(name, plain(key), plain(row))) + b"\n"
            except UNREADABLE as problem:
                self._skip(f"{label(name, packed)} {reason(problem)}")
                continue
            if name == "jobs":
                self._jobs.add(key)
            if owner is not None and (seq := owner(packed, row)) >= 0 and seq not in self._jobs:
                left_out += 1
                continue
            yield line
        if left_out:
            self._done.skipped += left_out
            self._damage(f"{name}: {left_out:,} rows of jobs that are not there, or cannot be read, are left out")

    def _rows(self, name: str) -> Iterator[tuple[bytes, bytes]]:
        """The rows of a table as they are: those before the first damaged page, and those behind the last one."""
        last = b""
        try:
            for packed, raw in self._some(name):
                last = packed
                yield packed, raw
        except lmdb.Error as problem:
            self._snapshot.renew()
            if not (start := self._first_behind(name, last)):
                raise
            self._skip(f"{name}: a part of the table cannot be read ({problem})")
            yield from self._some(name, start)

    def _first_behind(self, name: str, last: bytes) -> bytes:
        """The key of the first row behind the damage, looked for from the end of the table on; empty if none is."""
        found, left = b"", self._size
        try:
            for packed, raw in self._snapshot.backwards(name):
                left -= len(packed) + len(raw) + ROW_BYTES
                if packed <= last or left < 0:
                    break
                found = packed
        except lmdb.Error:
            self._snapshot.renew()
        return found

    def _some(self, name: str, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """The rows from a key on. Pages that lead to one another could make more of them than any disk has."""
        left = self._size
        for packed, raw in self._snapshot.raw(name, start):
            left -= len(packed) + len(raw) + ROW_BYTES
            if left < 0:
                self._skip(f"{name}: there are more rows than fit into the file: the rest of the table is left out")
                return
            yield packed, raw

    def _skip(self, text: str) -> None:
        self._done.skipped += 1
        self._damage(text)


def export(path: Path, out: BinaryIO, damage: Damage) -> Exported:
    """Writes everything of a store that no broker has open: a data directory, or a backup. Nothing of it is changed.

    Of a damaged file this process may die: `exported` has another one do it. Raises CannotOpen.
    """
    file = data_file(path)
    with unused(file):
        faults = page_faults(file)
        if faults == [NO_STORE]:
            raise CannotOpen(f"{file} cannot be exported: {NO_STORE}. Give a data directory, or a backup file")
        for fault in faults:
            damage(fault)
        try:
            snapshot = Snapshot(file, silent)
        except lmdb.Error as problem:
            raise CannotOpen(f"LMDB cannot open {file}: {problem}") from problem
        try:
            _check_format(file, snapshot)
            return Export(snapshot, file.stat().st_size, out, damage).write()
        except lmdb.Error as problem:
            raise CannotOpen(f"LMDB cannot read {file}: {problem}") from problem
        finally:
            snapshot.close()


def _check_format(file: Path, snapshot: Snapshot) -> None:
    row = snapshot.get("meta", b"format")
    if row is None:
        raise CannotOpen(f"{file} is not a store of tqbroker: it does not say which format it has")
    number = int.from_bytes(row, "big")
    if number != FORMAT_VERSION:
        raise CannotOpen(
            f"the store has format {number}; this version reads format {FORMAT_VERSION} only. Export it with the "
            "version that wrote it"
        )


def _say(word: Word) -> None:
    sys.stderr.buffer.write(_encode(word) + b"\n")
    sys.stderr.buffer.flush()


def main(path: Path) -> None:
    """Writes to stdout, and says on stderr what is left out."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        done = export(path, sys.stdout.buffer, lambda text: _say(Word(damage=text)))
    except CannotOpen as problem:
        _say(Word(refused=str(problem)))
    except BrokenPipeError:
        _say(Word(refused="who reads the lines has gone: the export is cut short"))
    except OSError as problem:
        advice = "look at both disks, or give a file on another one (-o)"
        _say(Word(refused=f"the export broke off: {problem.strerror}; {advice}"))
    else:
        _say(Word(done=done))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
