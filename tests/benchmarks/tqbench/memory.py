"""What a process and a directory hold."""

from __future__ import annotations

import re
import time
from pathlib import Path
from threading import Event, Thread

SETTLE = 0.5
LONGEST = 5.0
SAMPLED = 0.02
"""Seconds between two looks for the most that a process has had."""


def anonymous_bytes(pid: int) -> int:
    """Memory of a process that is not a file's: the heap, and whatever else cannot be dropped and read again."""
    found = re.search(r"^Anonymous: +(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError("this kernel tells nothing of anonymous memory")
    return int(found[1]) * 1024


def settled_bytes(pid: int) -> int:
    """The same, when it does not change any more (or after LONGEST seconds)."""
    deadline = time.monotonic() + LONGEST
    now = anonymous_bytes(pid)
    while time.monotonic() < deadline:
        time.sleep(SETTLE)
        before, now = now, anonymous_bytes(pid)
        if before == now:
            break
    return now


def tree_bytes(root: int) -> int:
    """What a process and its children have of it together."""
    children = Path(f"/proc/{root}/task/{root}/children").read_text().split()
    return settled_bytes(root) + sum(map(anonymous_bytes, map(int, children)))


def disk_bytes(folder: Path) -> int:
    """What the files of a directory occupy; holes in sparse files do not count."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


class Peak:
    """The most anonymous memory that a process has while this is entered, as `bytes`."""

    def __init__(self, pid: int) -> None:
        self.bytes = 0
        self._pid = pid
        self._over = Event()
        self._thread = Thread(target=self._look)

    def _look(self) -> None:
        while not self._over.wait(SAMPLED):
            self.bytes = max(self.bytes, anonymous_bytes(self._pid))

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
