"""A consistent copy of the open store, made beside the traffic.

LMDB writes what a read transaction sees into a pipe, compacted: without the pages that are free. From there it goes to
a file on the same disk, so that the transaction, during which freed pages cannot be used again, lasts as long as the
disk needs and not as long as whoever takes the copy away. The file has no name: it is gone with its last descriptor.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import lmdb
import msgspec

from tqbroker._failpoint import hit
from tqbroker_broker.answers import QueueCounts, Snapshot
from tqbroker_broker.records import Time
from tqbroker_broker.storage import NoRoom, StorageError, Unavailable
from tqbroker_broker.storage.lmdb.fullness import NO_SPACE
from tqbroker_broker.storage.lmdb.keys import COLUMNS
from tqbroker_broker.storage.lmdb.store import Store
from tqbroker_broker.storage.lmdb.txn import Txn, begin

COPY_FILE = "backup.copying"
"""The name of the copy between its creation and the loss of its name, a moment later."""

READ = 1 << 20
"""Bytes taken from the pipe at a time: what a pipe can hold at most."""

STEP = 4 << 20
"""Bytes after which the copy is flushed, so that a commit never waits for more than these: measured with 1 GB."""

ROOM = 2
"""How many times the data the disk must have free: once for the copy, once for the store to grow meanwhile."""


class Copier:
    """Makes copies, one at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._stopped = threading.Event()
        self._work: asyncio.Future[Snapshot] | None = None

    async def take(self, now: Time) -> Snapshot:
        """A copy of the store as it is now. Raises Unavailable when one is being made already, NoRoom."""
        if self._work is not None and not self._work.done():
            raise Unavailable("a copy of the store is being made already: try again when it is done")
        used, _ = self._store.capacity.fill()
        check_room(self._store.directory, ROOM * used)
        self._stopped.clear()
        self._work = work = asyncio.ensure_future(asyncio.to_thread(self._copy, now, used))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            self._stopped.set()
            work.add_done_callback(_discard)
            raise

    async def close(self) -> None:
        """Ends the copy under way: the environment must not be closed beneath it."""
        self._stopped.set()
        if self._work is not None:
            await asyncio.gather(self._work, return_exceptions=True)

    def _copy(self, now: Time, reserve: int) -> Snapshot:
        """In a thread of its own. `reserve` bytes are left to the store whatever the copy needs."""
        try:
            file = nameless(self._store.directory)
            try:
                return self._copy_to(file, now, reserve)
            except BaseException:
                file.close()
                raise
        except OSError as problem:
            raise _why_not(problem) from problem

    def _copy_to(self, file: BinaryIO, now: Time, reserve: int) -> Snapshot:
        txn = begin(self._store.env)
        try:
            queues = dict(_counts(txn, self._store))
            size, digest = self._pour(txn, file, reserve)
            file.seek(0)
        finally:
            txn.abort()
        return Snapshot(file, size, digest, now.wall_ms, queues)

    def _pour(self, txn: Txn, file: BinaryIO, reserve: int) -> tuple[int, bytes]:
        """The store through a pipe into the file; its size and digest. Closing the pipe ends LMDB's part."""
        problems: list[Exception] = []
        source, sink = os.pipe()
        feeding = threading.Thread(target=_feed, args=(self._store.env, txn, sink, problems), daemon=True)
        feeding.start()
        try:
            poured = self._drain(source, file, reserve)
        finally:
            os.close(source)
            feeding.join()
        if problems:
            text = f"the store cannot be copied: {problems[0]}; stop the broker and look with `tqbroker verify`"
            raise Unavailable(text) from problems[0]
        return poured

    def _drain(self, source: int, file: BinaryIO, reserve: int) -> tuple[int, bytes]:
        digest, size, flushed = hashlib.sha256(), 0, 0
        while part := os.read(source, READ):
            digest.update(part)
            _write(file, part)
            size += len(part)
            if size - flushed >= STEP:
                flushed = size
                self._pause(file, reserve)
        self._pause(file, 0)
        return size, digest.digest()

    def _pause(self, file: BinaryIO, reserve: int) -> None:
        """Between two steps: what was written is flushed, and there may be reasons to give up."""
        os.fdatasync(file.fileno())
        hit("in_backup")
        if self._stopped.is_set():
            raise Unavailable("the copy was broken off")
        check_room(self._store.directory, reserve)


def check_room(directory: Path, needed: int) -> None:
    """Raises NoRoom when the disk has not so many bytes free."""
    disk = os.statvfs(directory)
    free = disk.f_bavail * disk.f_frsize
    if free < needed:
        raise NoRoom(
            f"the disk of {directory} has {free} bytes free and a copy of the store needs {needed}: the store must"
            " have room to grow beside it. Free some, or stop the broker and copy data.mdb"
        )


def nameless(directory: Path) -> BinaryIO:
    """A new file in the directory, for its owner only, that has lost its name already.

    What stands under that name is removed, not followed: a broker that was killed just here may have left it.
    """
    path = directory / COPY_FILE
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    path.unlink(missing_ok=True)
    return os.fdopen(descriptor, "w+b", buffering=0)


def _write(file: BinaryIO, part: bytes) -> None:
    rest = memoryview(part)
    while rest:
        rest = rest[os.write(file.fileno(), rest) :]


def _feed(env: lmdb.Environment, txn: Txn, sink: int, problems: list[Exception]) -> None:
    try:
        env.copyfd(sink, compact=True, txn=cast(Any, txn))
    except lmdb.Error as problem:
        problems.append(problem)
    finally:
        os.close(sink)


def _counts(txn: Txn, store: Store) -> Iterator[tuple[str, QueueCounts]]:
    """What the snapshot holds, by queue. Leases are not in it: all that is ready counts as queued."""
    for key, value in txn.cursor(store.db["counts"]):
        if key.startswith(b"\x00"):
            continue
        row = msgspec.msgpack.decode(value, type=list[int])
        ready, scheduled, *ended = row + [0] * (COLUMNS - len(row))
        yield key.decode(), QueueCounts(ready, 0, scheduled, *ended)


def _why_not(problem: OSError) -> StorageError:
    if isinstance(problem, FileExistsError | IsADirectoryError):
        return Unavailable(f"somebody else writes {COPY_FILE} in the data directory, which is the broker's alone")
    kind = NoRoom if problem.errno in NO_SPACE else Unavailable
    return kind(f"the copy of the store could not be written: {problem.strerror}; it was removed, nothing else changed")


def _discard(work: asyncio.Future[Snapshot]) -> None:
    """Nobody waits for this copy any more. In a thread: that a large file goes takes a while."""
    if work.exception() is None:
        asyncio.get_running_loop().run_in_executor(None, work.result().file.close)
