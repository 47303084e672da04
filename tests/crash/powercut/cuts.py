"""The data file as a power cut may leave it, at each moment of a recording."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random

from tests.crash.powercut.trace import Kind, Record

PAGE, SECTOR = 4096, 512
"""Bytes that a disk, or a file system in front of it, writes whole."""

Image = Sequence[Record]
"""One thing that may be on the disk: these writes, in this order, over what is durable."""


class Disk:
    """What is durable, in memory and in a file; and what was written since the last flush.

    Nothing is copied for an image: its writes are made in the file, and taken back.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._durable = bytearray()
        self._pending: list[Record] = []

    def tell(self, record: Record) -> None:
        """A call on the file has been made."""
        if record.kind in (Kind.WRITE, Kind.TRUNCATE):
            self._pending.append(record)
        elif record.kind in (Kind.BEGINNING, Kind.DURABLE_WRITE):
            self._flush([record])
        elif record.kind == Kind.SYNC:
            self._flush(self._pending)
            self._pending = []

    def images(self, random: Random, under_way: Record) -> Iterator[Image]:
        """What the file may be if the power goes now: of what is not durable, nothing, all, the last, or any of it.

        `under_way` is the call that was being made: what it writes counts as written. Any of it means any pages, or
        any sectors, in any order, because a disk with a cache may write them so.
        """
        pending = self._pending
        if under_way.kind in (Kind.WRITE, Kind.DURABLE_WRITE, Kind.TRUNCATE):
            pending = [*pending, under_way]
        yield []
        if pending:
            yield pending
            pages, sectors = list(_split(pending, PAGE)), list(_split(pending, SECTOR))
            yield pages[-1:]
            for pieces in (pages, pages, sectors, sectors):
                yield random.sample(pieces, random.randint(0, len(pieces)))

    @contextmanager
    def showing(self, image: Image) -> Iterator[None]:
        """The file is this image in the block. Whoever opens it there must not change it."""
        self._draw(image)
        try:
            yield
        finally:
            self.clear(image)

    def clear(self, image: Image) -> None:
        """Takes back what an image has put into the file; for one whose process died before it could."""
        for record in image:
            if record.data:
                old = self._durable[record.offset : record.offset + len(record.data)]
                os.pwrite(self._file, old, record.offset)
        os.ftruncate(self._file, len(self._durable))
        for record in image:
            if record.kind == Kind.TRUNCATE and record.offset < len(self._durable):
                os.pwrite(self._file, self._durable[record.offset :], record.offset)

    def _draw(self, image: Image) -> None:
        for record in image:
            if record.kind == Kind.TRUNCATE:
                os.ftruncate(self._file, record.offset)
            else:
                os.pwrite(self._file, record.data, record.offset)

    def _flush(self, writes: Image) -> None:
        self._draw(writes)
        for record in writes:
            end = record.offset + len(record.data)
            self._durable.extend(bytes(max(0, end - len(self._durable))))
            if record.kind == Kind.TRUNCATE:
                del self._durable[end:]
            else:
                self._durable[record.offset : end] = record.data


def _split(writes: Iterable[Record], size: int) -> Iterator[Record]:
    for write in writes:
        if write.kind == Kind.TRUNCATE:
            yield write
        for at in range(0, len(write.data), size):
            yield Record(write.kind, write.offset + at, write.data[at : at + size])
