"""The file of a backup, which comes in parts and is checked before it gets its name."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tqbroker._whole_file import CannotSaveError, WholeFile


class NotWholeError(Exception):
    """What came is not what was sent."""


class BackupTarget(WholeFile):
    """Where a backup goes. Use as a context manager: left before `finish` has returned, nothing of it stays."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "backup")
        self._digest = hashlib.sha256()

    def write(self, offset: int, data: bytes, size: int) -> None:
        """The next bytes of a file that will have `size`. Raises CannotSaveError, NotWholeError."""
        if offset != self.size:
            raise NotWholeError(f"a part of the backup is missing before byte {offset}: nothing was saved, begin again")
        if offset == 0 and (free := self.free()) < size:
            raise CannotSaveError(f"the backup has {size} bytes and the disk of {self.path} has {free} free")
        self.append(data)
        self._digest.update(data)

    def finish(self, size: int, digest: bytes) -> None:
        """Checks what came, makes it durable and gives it its name. Raises CannotSaveError, NotWholeError."""
        if (self.size, self._digest.digest()) != (size, digest):
            raise NotWholeError("what came is not what the broker has copied: nothing was saved, begin again")
        self.complete()
