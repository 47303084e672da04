"""A file that is there whole or not at all: written under another name, checked, flushed, and renamed at the end."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from pathlib import Path
from types import TracebackType

STEP = 4 << 20
"""Bytes after which the file is flushed: on a broker's disk its commits would wait for one large flush at the end."""


class CannotSaveError(Exception):
    """The file cannot be written; the message says why and what to do."""


class NotWholeError(Exception):
    """What came is not what was sent."""


class BackupTarget:
    """Where a backup goes. Use as a context manager: left before `finish` has returned, nothing of it stays.

    `partial` is the name it has until it is whole. It is locked while it is written: what a killed backup has left
    under that name is not locked, and is written over; `left_over` says that there was something.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.partial = path.with_name(path.name + ".partial")
        self.left_over = False
        self._file = -1
        self._size = 0
        self._digest = hashlib.sha256()
        self._whole = False

    def __enter__(self) -> BackupTarget:
        """Raises CannotSaveError, before anybody was asked for anything."""
        if os.path.lexists(self.path):
            raise CannotSaveError(f"{self.path} is there already, and backups replace nothing: choose another name")
        try:
            self._file = self._claim()
        except OSError as problem:
            raise CannotSaveError(f"cannot write {self.partial}: {_reason(problem)}") from problem
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if not self._whole:
                self.partial.unlink(missing_ok=True)
        finally:
            os.close(self._file)

    def _claim(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        file = os.open(self.partial, flags, 0o600)
        try:
            self._make_ours(file)
        except BaseException:
            os.close(file)
            raise
        return file

    def _make_ours(self, file: int) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as problem:
            raise CannotSaveError(
                f"another backup is writing {self.partial}: wait for it, or choose another name"
            ) from problem
        found = os.fstat(file)
        named = os.stat(self.partial, follow_symlinks=False)
        if (found.st_dev, found.st_ino) != (named.st_dev, named.st_ino):
            raise CannotSaveError(f"another backup has just used {self.partial}: choose another name")
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1 or found.st_uid != os.geteuid():
            raise CannotSaveError(f"{self.partial} is not a file of ours: look at it, and remove it if it may go")
        self.left_over = found.st_size > 0
        os.fchmod(file, 0o600)
        os.ftruncate(file, 0)

    def write(self, offset: int, data: bytes, size: int) -> None:
        """The next bytes of a file that will have `size`. Raises CannotSaveError, NotWholeError."""
        if offset != self._size:
            raise NotWholeError(f"a part of the backup is missing before byte {offset}: nothing was saved, begin again")
        try:
            if offset == 0:
                self._check_room(size)
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._file, rest) :]
            if self._size // STEP != (self._size + len(data)) // STEP:
                os.fdatasync(self._file)
        except OSError as problem:
            raise CannotSaveError(f"cannot write {self.partial}: {_reason(problem)}") from problem
        self._size += len(data)
        self._digest.update(data)

    def _check_room(self, size: int) -> None:
        disk = os.fstatvfs(self._file)
        free = disk.f_bavail * disk.f_frsize
        if free < size:
            raise CannotSaveError(f"the backup has {size} bytes and the disk of {self.path} has {free} free")

    def finish(self, size: int, digest: bytes) -> None:
        """Checks what came, makes it durable and gives it its name. Raises CannotSaveError, NotWholeError."""
        if (self._size, self._digest.digest()) != (size, digest):
            raise NotWholeError("what came is not what the broker has copied: nothing was saved, begin again")
        try:
            os.fsync(self._file)
            if os.path.lexists(self.path):
                raise CannotSaveError(f"{self.path} has appeared meanwhile, and backups replace nothing")
            os.rename(self.partial, self.path)
            self._whole = True
            _flush_directory(self.path.parent)
        except OSError as problem:
            raise CannotSaveError(f"cannot save {self.path}: {_reason(problem)}") from problem


def _flush_directory(directory: Path) -> None:
    """Makes the new name durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(problem: OSError) -> str:
    if problem.errno == errno.ELOOP:
        return "it is a symbolic link, which is not followed"
    if problem.errno == errno.ENOENT:
        return "its directory is not there: make it first, or give another"
    return problem.strerror or str(problem)
