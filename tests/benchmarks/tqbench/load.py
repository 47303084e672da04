"""Whose CPU it was: ours (this process and all it started), or that of others on the machine."""

from __future__ import annotations

import os
import time
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
IDLE = slice(3, 5)
"""Of the columns of /proc/stat: idle and waiting for the disk."""


class Watch:
    """From its making until `foreign()` is asked."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._busy = _busy_seconds()
        self._own = tree_seconds(os.getpid())

    def foreign(self) -> float:
        """Share of the whole machine's CPU that went to others since the start: 0.0 to 1.0."""
        elapsed = time.monotonic() - self._begun
        own = tree_seconds(os.getpid()) - self._own
        return max(0.0, (_busy_seconds() - self._busy - own) / (elapsed * (os.cpu_count() or 1)))


def tree_seconds(root: int) -> float:
    """CPU seconds of a process and of everything it started, the ended ones it waited for included."""
    seconds: dict[int, float] = {}
    children: dict[int, list[int]] = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            fields = (process / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        pid = int(process.name)
        seconds[pid] = sum(int(ticks) for ticks in fields[11:15]) / TICK
        children.setdefault(int(fields[1]), []).append(pid)
    total, waiting = 0.0, [root]
    while waiting:
        pid = waiting.pop()
        total += seconds.get(pid, 0.0)
        waiting += children.get(pid, [])
    return total


def _busy_seconds() -> float:
    columns = [int(value) for value in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(columns) - sum(columns[IDLE])) / TICK
