"""The rows of a store as one transaction sees them, read only and without LMDB's own lock file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any, cast

import lmdb

from tqbroker_broker.storage.lmdb.keys import DATABASES, U64, first_number
from tqbroker_broker.storage.lmdb.txn import Cursor, Txn, begin

WORD_EVERY = 1.0
"""Seconds after which it is said how far the reading is."""

ROWS_A_LOOK = 100
"""Rows after which the clock is looked at: a second on a disk that has to seek for each."""


class Snapshot:
    """One look at all tables. `tell` hears how far it is."""

    def __init__(self, path: Path, tell: Callable[[str], None]) -> None:
        self._env = lmdb.open(
            os.fsencode(path), subdir=False, readonly=True, lock=False, create=False, max_dbs=len(DATABASES) + 5
        )
        self._tell = tell
        self._next_word = 0.0
        self._begin()

    def _begin(self) -> None:
        self._txn: Txn = begin(self._env)
        self._db = {name: db for name in DATABASES if (db := self._open(name)) is not None}

    def renew(self) -> None:
        """Begins another transaction: LMDB reads nothing any more in one that has met a damaged page."""
        self._txn.abort()
        self._begin()

    def _open(self, name: str) -> Any:
        """A database; None of one that there is not, as it came with a later version."""
        try:
            return self._env.open_db(name.encode(), txn=cast(Any, self._txn), create=False)
        except lmdb.NotFoundError:
            return None

    def close(self) -> None:
        """Lets go of the file."""
        self._txn.abort()
        self._env.close()

    def names(self) -> list[bytes]:
        """The databases that there are, also those that nobody knows."""
        return [key for key, _ in self._txn.cursor(None)]

    def has(self, name: str) -> bool:
        """Whether there is this database."""
        return name in self._db

    def size(self, name: str) -> int:
        """The number of its rows, as LMDB counts them."""
        return self._txn.stat(self._db[name])["entries"] if name in self._db else 0

    def get(self, name: str, key: bytes) -> bytes | None:
        """One row."""
        return self._txn.get(key, db=self._db[name]) if name in self._db else None

    def cursor(self, name: str) -> Cursor | None:
        """A position in a database; None where there is none to be in."""
        return self._txn.cursor(self._db[name]) if name in self._db else None

    def between(self, name: str, first: int, end: int) -> Iterator[bytes]:
        """The keys of a table by seq, from one seq up to another."""
        for key, _ in self.raw(name, U64.pack(first)):
            if first_number(key) >= end:
                return
            yield key

    def raw(self, name: str, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """The rows of a table as they are, from a key on."""
        cursor = self.cursor(name)
        if cursor is None or not (cursor.set_range(start) if start else cursor.first()):
            return
        for number, item in enumerate(cursor):
            if number % ROWS_A_LOOK == 0 and (now := monotonic()) >= self._next_word:
                self._next_word = now + WORD_EVERY
                self._tell(f"table {name} at row {number}")
            yield item

    def backwards(self, name: str) -> Iterator[tuple[bytes, bytes]]:
        """The rows of a table from its end on."""
        cursor = self.cursor(name)
        more = cursor is not None and cursor.last()
        while cursor is not None and more:
            yield cursor.item()
            more = cursor.prev()
