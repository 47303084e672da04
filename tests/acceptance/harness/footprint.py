"""What a process takes: nothing may grow with the time it runs (I10)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

KIB = 1 << 10
MIB = 1 << 20


class Footprint(NamedTuple):
    """Resident and anonymous memory in bytes, descriptors and threads of one process."""

    resident: int
    anonymous: int
    descriptors: int
    threads: int


MOST = Footprint(resident=512 * MIB, anonymous=384 * MIB, descriptors=256, threads=64)
"""More than any daemon takes in a test that does not ask for much: what leaks by the job or by the call passes it."""


def footprint(pid: int) -> Footprint:
    """What this process takes now."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())

    def kib(name: str) -> int:
        return int(status[name].split()[0]) * 1024

    descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return Footprint(kib("VmRSS"), kib("RssAnon"), descriptors, int(status["Threads"]))


def spent(pid: int) -> float:
    """Seconds of processor time that this process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def excess(name: str, taken: Footprint, most: Footprint = MOST) -> list[str]:
    """What is above its bound, in words."""
    pairs = zip(Footprint._fields, taken, most, strict=True)
    return [
        f"I10: {name} takes {value:,} ({field}), at most {bound:,}" for field, value, bound in pairs if value > bound
    ]
