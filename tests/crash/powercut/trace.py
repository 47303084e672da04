"""The log of tests/proof/preload/crashlog.c: what a file was told, and beside it what clients were told."""

from __future__ import annotations

import os
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from struct import Struct
from typing import NamedTuple

HEADER = Struct("<IIqq")
MAGIC = 0x43524C47


class Kind(IntEnum):
    """What a record is, as crashlog.c numbers it."""

    BEGINNING = 1  # what was in the file when it was opened for the first time
    WRITE = 2
    DURABLE_WRITE = 3  # through a descriptor with O_DSYNC: durable when it returns, and nothing else is by it
    SYNC = 4
    TRUNCATE = 5
    FAULT = 6
    MARK = 7  # by `Marks`


class Record(NamedTuple):
    """One record. `offset` is the file's new size for TRUNCATE."""

    kind: Kind
    offset: int
    data: bytes


class Marks:
    """Appends to the same log what clients were told, so that storage and answers have one order.

    One write with O_APPEND each: safe between threads and processes.
    """

    def __init__(self, log: Path) -> None:
        self._file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def write(self, data: bytes) -> None:
        """Appends one mark."""
        record = HEADER.pack(MAGIC, Kind.MARK, 0, len(data)) + data
        if os.write(self._file, record) != len(record):
            raise OSError(f"a mark of {len(data)} bytes was not written whole")

    def close(self) -> None:
        """Closes the log; what was written stays readable."""
        os.close(self._file)


def read(log: Path) -> Iterator[Record]:
    """Every record in order. Raises ValueError where the log is none."""
    with log.open("rb") as file:
        while head := file.read(HEADER.size):
            magic, kind, offset, length = HEADER.unpack(head)
            if magic != MAGIC:
                raise ValueError(f"{log} has no record at {file.tell() - HEADER.size}")
            yield Record(Kind(kind), offset, file.read(length))
