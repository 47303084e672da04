"""What a process and a directory hold."""

from __future__ import annotations

import re
import time
from pathlib import Path

SETTLE = 0.5
LONGEST = 5.0


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
