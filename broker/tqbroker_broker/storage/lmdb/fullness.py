"""Whether a commit failed for want of room, which leaves the store sound, or because the disk has failed."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import lmdb

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
PROBE = 1 << 20
"""Bytes that a disk takes unless it is full. What was free before a write that filled it is no longer free after it."""


class Fullness:
    """Judges one error after another, of commits in one directory.

    When the disk takes only half of a write, LMDB reports an I/O error, as for a disk that fails: only that the disk
    takes nothing more tells them apart. A commit that failed either way was given up before anything of it counted, and
    the next one writes all of its pages anew.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._was_full = False

    def is_full(self, error: BaseException) -> bool:
        """Whether an error means "no room"."""
        was_full, self._was_full = self._was_full, self._is_full(error)
        # Somebody may have made room since the write: one more of these errors belongs to the disk that was full.
        return self._was_full or (was_full and _says(error, (errno.EIO,)))

    def _is_full(self, error: BaseException) -> bool:
        if isinstance(error, lmdb.MapFullError) or _says(error, NO_SPACE):
            return True
        return _says(error, (errno.EIO,)) and not self._has_room()

    def _has_room(self) -> bool:
        try:
            with tempfile.TemporaryFile(dir=self._directory) as file:
                file.write(bytes(PROBE))
        except OSError as problem:
            return problem.errno not in NO_SPACE
        return True


def _says(error: BaseException, numbers: tuple[int, ...]) -> bool:
    """py-lmdb puts the system's error into the text only."""
    return isinstance(error, (lmdb.Error, OSError)) and any(os.strerror(number) in str(error) for number in numbers)
