"""A page of memory in which a child says how many jobs it has started, readable after its death.

Jobs start in the order they were handed over. So when a child is killed, the parent knows from this one number which of
its jobs were running or had run, and which were never started and lose nothing.
"""

from __future__ import annotations

import mmap
import os
import tempfile

_BYTES = mmap.PAGESIZE


class Progress:
    """The page, mapped by parent and child. Aligned 8-byte stores are seen whole by the other side."""

    def __init__(self, fd: int) -> None:
        self._map = mmap.mmap(fd, _BYTES)
        self._numbers = memoryview(self._map).cast("Q")

    @property
    def started(self) -> int:
        """Jobs started since the child began."""
        return self._numbers[0]

    @started.setter
    def started(self, count: int) -> None:
        self._numbers[0] = count

    def close(self) -> None:
        """Unmaps the page; safe to repeat."""
        self._numbers.release()
        self._map.close()


def create_page() -> int:
    """A file descriptor of a new, zeroed page; the caller closes it once both sides have mapped it.

    In memory where the system can: a full disk would kill whoever touches the page of a file.
    """
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("tqbroker")
        os.ftruncate(fd, _BYTES)
        return fd
    with tempfile.TemporaryFile(prefix="tqbroker-") as file:
        file.truncate(_BYTES)
        return os.dup(file.fileno())
