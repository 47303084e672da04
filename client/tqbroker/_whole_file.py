"""A file that is there whole or not at all: written under another name, flushed, and renamed at the end."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import Self

STEP = 4 << 20
"""Bytes after which the file is flushed: on a broker's disk its commits would wait for one large flush at the end."""


class CannotSaveError(Exception):
    """The file cannot be written; the message says why and what to do."""


class WholeFile:
    """A new file for its owner only. Use as a context manager: left before `complete` has returned, nothing stays.

    `kind` is what is saved, for messages: "backup". `partial` is the name the file has until it is whole. It is locked
    while it is written: what a killed process has left under that name is not locked, and is written over; `left_over`
    says that there was something. With `kept` it stays also when it does not become whole; with `spares_left_over` what
    has stayed so is not written over.
    """

    def __init__(self, path: Path, kind: str, *, spares_left_over: bool = False) -> None:
        self.path = path
        self.partial = path.parent / (path.name + ".partial")
        self.left_over = False
        self.kept = False
        self.size = 0
        self._kind = kind
        self._spares_left_over = spares_left_over
        self._file = -1

    def __enter__(self) -> Self:
        """Raises CannotSaveError."""
        if not self.path.name:
            raise CannotSaveError(f"{self.path} is a directory: give the name of a file in it")
        if os.path.lexists(self.path):
            raise CannotSaveError(f"{self.path} is there already, and no {self._kind} replaces it: choose another name")
        try:
            self._file = self._claim()
        except OSError as problem:
            raise CannotSaveError(f"cannot write {self.partial}: {_reason(problem)}") from problem
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if not self.kept:
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
                f"another {self._kind} is writing {self.partial}: wait for it, or choose another name"
            ) from problem
        found = os.fstat(file)
        named = os.stat(self.partial, follow_symlinks=False)
        if (found.st_dev, found.st_ino) != (named.st_dev, named.st_ino):
            raise CannotSaveError(f"another {self._kind} has just used {self.partial}: choose another name")
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1 or found.st_uid != os.geteuid():
            raise CannotSaveError(f"{self.partial} is not a file of ours: look at it, and remove it if it may go")
        self.left_over = found.st_size > 0
        if self.left_over and self._spares_left_over:
            raise CannotSaveError(
                f"{self.partial} is there, of an {self._kind} that did not come to its end: move it away, or choose"
                " another name"
            )
        os.fchmod(file, 0o600)
        os.ftruncate(file, 0)

    def fileno(self) -> int:
        """Its descriptor, for who writes by other means than `append`."""
        return self._file

    def free(self) -> int:
        """Bytes there are on its disk."""
        disk = os.fstatvfs(self._file)
        return disk.f_bavail * disk.f_frsize

    def append(self, data: bytes) -> None:
        """Writes all of this. Raises CannotSaveError."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
            if self.size // STEP != (self.size + len(data)) // STEP:
                os.fdatasync(self._file)
        except OSError as problem:
            raise CannotSaveError(f"cannot write {self.partial}: {_reason(problem)}") from problem
        self.size += len(data)

    def complete(self) -> None:
        """Makes it durable and gives it its name. Raises CannotSaveError."""
        try:
            os.fsync(self._file)
            if os.path.lexists(self.path):
                raise CannotSaveError(f"{self.path} has appeared meanwhile, and no {self._kind} replaces it")
            os.rename(self.partial, self.path)
            self.kept = True
        except OSError as problem:
            raise CannotSaveError(f"cannot save {self.path}: {_reason(problem)}") from problem
        flush_name(self.path)


def flush_name(file: Path) -> None:
    """Makes the name that a file was just given durable. Raises CannotSaveError."""
    try:
        flush_directory(file.parent)
    except OSError as problem:
        raise CannotSaveError(
            f"{file} is there, but its name may not outlive a power cut: {problem.strerror}"
        ) from problem


def flush_directory(directory: Path) -> None:
    """Makes the entries of a directory durable."""
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
