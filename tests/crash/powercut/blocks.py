"""What happened to a disk, block by block, and the disk as a power cut at any moment would have left it."""

from __future__ import annotations

import os
import random
import subprocess
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.crash.powercut.fuse import ACK, ENTRY, FLUSH, WRITE

PIECE = 4096
"""Bytes that a disk writes whole or not at all: the block of ext4, and the sector of today's disks."""


class Entry(NamedTuple):
    """One write, flush or acknowledgement; `position` is where its data is in the log."""

    kind: bytes
    time: float
    offset: int
    length: int
    position: int


@dataclass(frozen=True)
class BlockLog:
    """The log that fuse.py has written, and the image as it was before."""

    path: Path
    base: Path
    entries: list[Entry]

    @classmethod
    def read(cls, path: Path, base: Path) -> BlockLog:
        """The finished log in this file."""
        return cls(path, base, list(_entries(path)))

    def acknowledged(self, until: int) -> Iterator[tuple[float, bytes]]:
        """When, and what, clients wrote down as acknowledged before that entry."""
        with self.path.open("rb") as log:
            for entry in self.entries[:until]:
                if entry.kind == ACK:
                    yield entry.time, _data(log.fileno(), entry)

    def at(self, time: float) -> int:
        """Number of the first entry that is not before this moment of time.monotonic()."""
        return bisect_left(self.entries, time, key=lambda entry: entry.time)

    def cut(self, at: int, image: Path, kept: random.Random | None = None) -> int:
        """Writes the disk as it is when the power goes just before that entry; how many pieces hung in the air.

        What was written before the last flush is there. Of what was written since, nothing, or with `kept` any pieces
        in any order: a disk with a cache may do either.
        """
        subprocess.run(["cp", "--sparse=always", self.base, image], check=True)
        flush = max((number for number in range(at) if self.entries[number].kind == FLUSH), default=0)
        with self.path.open("rb") as log, image.open("r+b") as disk:
            for entry in self.entries[:flush]:
                if entry.kind == WRITE:
                    os.pwrite(disk.fileno(), _data(log.fileno(), entry), entry.offset)
            pending = [piece for entry in self.entries[flush:at] if entry.kind == WRITE for piece in _pieces(entry)]
            for piece in kept.sample(pending, kept.randint(0, len(pending))) if kept else ():
                os.pwrite(disk.fileno(), _data(log.fileno(), piece), piece.offset)
        return len(pending)


def _entries(path: Path) -> Iterator[Entry]:
    size, position = path.stat().st_size, 0
    with path.open("rb") as log:
        while position + ENTRY.size <= size:
            log.seek(position)
            kind, time, offset, length = ENTRY.unpack(log.read(ENTRY.size))
            position += ENTRY.size
            yield Entry(kind, time, offset, length, position)
            position += length


def _data(log: int, entry: Entry) -> bytes:
    return os.pread(log, entry.length, entry.position)


def _pieces(entry: Entry) -> Iterator[Entry]:
    for at in range(0, entry.length, PIECE):
        length = min(PIECE, entry.length - at)
        yield entry._replace(offset=entry.offset + at, length=length, position=entry.position + at)
