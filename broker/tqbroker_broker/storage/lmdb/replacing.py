"""A whole file takes the place of a store: a backup that is restored, or the store itself, compacted.

Both write a file of another name beside it, have another process read all of it, flush it, and rename it; then the
directory is flushed. Killed at any moment, the name of the store is on what was there before, or on all of the new.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import lmdb

from tqbroker._failpoint import hit
from tqbroker._whole_file import CannotSaveError, flush_name
from tqbroker_broker.config import MIB
from tqbroker_broker.lifecycle import next_epoch
from tqbroker_broker.storage import CRASH_FILE, CannotOpen
from tqbroker_broker.storage.lmdb.keys import DATABASES, U64
from tqbroker_broker.storage.lmdb.opening import (
    COMPACTING,
    DATA_FILE,
    LOCK_FILE,
    NEW_FILE,
    READERS_FILE,
    RESTORING,
    check_file,
    prepare_directory,
)
from tqbroker_broker.storage.lmdb.txn import Database
from tqbroker_broker.storage.lmdb.verifying.everything import unused
from tqbroker_broker.storage.replaced import Compacted, Restored, Tell
from tqbroker_broker.storage.report import Report
from tqbroker_broker.storage.verified import verified

T = TypeVar("T")

IGNORED = frozenset({CRASH_FILE, LOCK_FILE, NEW_FILE, READERS_FILE, RESTORING, "lost+found"})
"""What may stand in a directory that is to get a store: traces of a restore that did not end, or of a file system."""

AHEAD_MS = 3_600_000
"""By how much the epoch of a restored store is ahead of the clock. The former store may be ahead of it too: its clock
was set back, or it was started more than once a second; its tokens must not come again."""

SPARE = 64 * MIB
"""Bytes of the map beyond the file, for the few pages that are written into it."""


def restore(file: Path, directory: Path, now_ms: int, tell: Tell) -> Restored:
    """See Replacing.restore. The copy is what is looked through: nobody can change it between that and its use."""
    _check_backup(file, directory / RESTORING)

    def fill(copy: Path) -> Report:
        _check_room(directory, file.stat().st_size)
        tell("copying")
        with unused(file):
            shutil.copyfile(file, copy)
        return _look(copy, tell, f"{file} is not restored, for it has faults")

    store, report = make_store(directory, now_ms, fill)
    return Restored(store.hex(), report.store, (directory / DATA_FILE).stat().st_size, report.tables)


def make_store(directory: Path, now_ms: int, fill: Callable[[Path], T]) -> tuple[bytes, T]:
    """Makes a data directory of what `fill` writes into a file: a new store, with an id of its own, which is returned.

    The directory must be empty or absent. Killed at any moment there is all of the store, or none. Raises CannotOpen.
    """
    _check_empty(directory)
    with _locked(directory):
        _check_empty(directory)
        with _new_file(directory / RESTORING) as copy:
            filled = fill(copy)
            store = _make_it_new(copy, now_ms)
            _flush(copy)
            hit("in_restore")
            _install(copy, directory)
    return store, filled


def compact(directory: Path, tell: Tell) -> Compacted:
    """See Replacing.compact. The store is looked through before too: LMDB would die of some damages."""
    data = directory / DATA_FILE
    if not data.is_file():
        raise CannotOpen(f"there is no store in {directory}: give a data directory with a {DATA_FILE}")
    with _locked(directory) as lock:
        before = data.stat().st_size
        with _shared(lock, directory):
            tables = _look(data, tell, f"{data} is not compacted, for it has faults").tables
        with _new_file(directory / COMPACTING) as copy:
            tell("copying")
            _copy_compact(data, copy)
            if _look(copy, tell, "the compacted copy is not used, for it has faults").tables != tables:
                raise CannotOpen(f"the compacted copy of {data} has not all of its rows: it is not used")
            _flush(copy)
            hit("in_compact")
            _install(copy, directory)
        return Compacted(before, data.stat().st_size)


# -- before ------------------------------------------------------------------------------------------------------------


def _check_backup(file: Path, copy: Path) -> None:
    if not file.is_file():
        raise CannotOpen(f"there is no backup at {file}: give a file that `tqbroker backup` has written")
    if not file.stat().st_size:
        raise CannotOpen(f"{file} is empty: it is not a backup")
    if copy.exists() and copy.samefile(file):
        raise CannotOpen(
            f"{file} is where a restore writes to, which would remove it: give the backup itself, or move this one away"
        )
    check_file(file, "take another backup")


def _check_empty(directory: Path) -> None:
    if os.path.lexists(directory / DATA_FILE):
        raise CannotOpen(
            f"there is a store in {directory}, which is not replaced: choose another directory, or stop its"
            f" broker and move it away (mv {directory} {directory}.old)"
        )
    if directory.is_dir() and (others := sorted(set(os.listdir(directory)) - IGNORED)):
        raise CannotOpen(f"{directory} is not empty ({', '.join(others[:3])}): give a directory for the store alone")


def _check_room(directory: Path, needed: int) -> None:
    disk = os.statvfs(directory)
    free = disk.f_bavail * disk.f_frsize
    if free < needed + SPARE:
        raise CannotOpen(f"the disk of {directory} has {free} bytes free and {needed + SPARE} are needed")


@contextmanager
def _locked(directory: Path) -> Iterator[int]:
    """Keeps brokers, and others of us, away from the directory. Gives the lock."""
    lock = prepare_directory(directory)
    try:
        yield lock
    finally:
        os.close(lock)


@contextmanager
def _shared(lock: int, directory: Path) -> Iterator[None]:
    """Lets those in who only look. Whoever slips in afterwards has the directory, and we do not."""
    fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    yield
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CannotOpen(f"a broker has begun to use {directory} meanwhile: stop it first") from None


# -- the new file ------------------------------------------------------------------------------------------------------


@contextmanager
def _new_file(path: Path) -> Iterator[Path]:
    """An empty file for its owner only, which is removed unless it has got another name at the end.

    What a run that was killed has left under its name is removed, not followed: the directory is locked.
    """
    path.unlink(missing_ok=True)
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        yield path
    except OSError as problem:
        raise CannotOpen(f"cannot write {path}: {problem.strerror}. Nothing was changed") from problem
    finally:
        path.unlink(missing_ok=True)


def _look(path: Path, tell: Tell, otherwise: str) -> Report:
    report = verified(path, tell)
    if not report.sound:
        first = "; ".join(report.faults[:3])
        raise CannotOpen(f"{otherwise} ({report.total}): {first}. `tqbroker verify` shows all of them")
    return report


def _make_it_new(path: Path, now_ms: int) -> bytes:
    """Gives the copy an id of its own, takes everybody off the list of workers, and lets no token come again."""
    with _environment(path) as env, env.begin(write=True) as txn:
        meta = env.open_db(b"meta", txn=txn)
        stored = txn.get(b"epoch", db=meta)
        epoch = next_epoch(U64.unpack(stored)[0] if stored else 0, now_ms + AHEAD_MS)
        store = _give_id(txn, meta)
        txn.put(b"epoch", U64.pack(epoch), db=meta)
        txn.drop(env.open_db(b"workers", txn=txn), delete=False)
    return store


def _give_id(txn: lmdb.Transaction[bytes], meta: Database) -> bytes:
    store = uuid.uuid4().bytes
    txn.put(b"store", store, db=meta)
    return store


def _copy_compact(data: Path, copy: Path) -> None:
    _check_room(data.parent, data.stat().st_size)
    with _environment(data, readonly=True) as env, copy.open("r+b") as file:
        env.copyfd(file.fileno(), compact=True)


@contextmanager
def _environment(path: Path, *, readonly: bool = False) -> Iterator[lmdb.Environment]:
    """The store in a file that nobody else has open."""
    try:
        env = lmdb.open(
            os.fsencode(path), subdir=False, lock=False, readonly=readonly, map_size=path.stat().st_size + SPARE,
            max_dbs=len(DATABASES) + 5, mode=0o600, lib_version=0,
        )  # fmt: skip
    except lmdb.Error as problem:
        raise CannotOpen(f"cannot open {path}: {problem}") from problem
    try:
        yield env
    except lmdb.Error as problem:
        raise CannotOpen(f"cannot use {path}: {problem}") from problem
    finally:
        env.close()


# -- after -------------------------------------------------------------------------------------------------------------


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _install(copy: Path, directory: Path) -> None:
    """The moment from which on it is the store, and what makes that durable."""
    file = directory / DATA_FILE
    os.rename(copy, file)
    try:
        flush_name(file)
    except CannotSaveError as problem:
        raise CannotOpen(str(problem)) from problem
