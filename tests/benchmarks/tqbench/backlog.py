"""`make bench-open`: a real broker opens a store with a long backlog, and a waiting worker gets its first job."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tqbroker.codec import encode_call
from tqbroker.ids import new_keys
from tqbroker_broker.clock import SystemClock
from tqbroker_broker.config import StorageConfig
from tqbroker_broker.records import Head, NewJobs
from tqbroker_broker.storage import create_engine

from . import servers
from .apps.work import first_start
from .load import Watch
from .memory import disk_bytes, settled_bytes
from .processes import Process, free_port
from .systems import OURS, ROOT, SYSTEMS
from .targets import verdict

GROUP = 5000
"""Jobs of one commit while filling."""
SETTLE = 3.0
"""Seconds that the worker gets to start and to find that no broker is there yet."""

READY, FIRST = "ready, file not in the page cache", "first job starts, worker waiting"
ALONE, DRAINING = "anonymous memory, nobody connected", "anonymous memory while draining"
FILLING, EMPTY = "filling (storage engine alone)", "ready, with an empty store"

MUST = {
    READY: ("s", 2.0),
    FIRST: ("s", 2.0),
    ALONE: ("MB", 150.0),
    DRAINING: ("MB", 150.0),
    "heap per job": ("bytes", 5.0),
}
Figures = dict[str, float]


def main() -> int:
    parser = argparse.ArgumentParser(description="Opens a store with a long backlog.")
    parser.add_argument("--jobs", type=int, default=10_000_000, help="how long (default: 10,000,000)")
    parser.add_argument("--starts", type=int, default=3, help="of how many starts the quickest counts (default: 3)")
    parser.add_argument("--data", type=Path, help="where the store is made (default: in bench-results)")
    options = parser.parse_args()
    parent = options.data or ROOT / "bench-results"
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="backlog-", dir=parent))
    try:
        _show(options.jobs, measure(options.jobs, folder, options.starts))
    finally:
        shutil.rmtree(folder)
    return 0


def measure(jobs: int, folder: Path, starts: int = 3) -> Figures:
    """Fills a store in this folder, and starts a broker over it; each start but the first follows a kill -9.

    Others may be at work here: of `starts` starts the quickest counts.
    """
    empty = folder / "empty"
    empty.mkdir()
    quick, baseline = _open(empty)
    full = folder / "full"
    (full / "data").mkdir(parents=True, mode=0o700)
    begun = time.monotonic()
    asyncio.run(_fill(full / "data", jobs))
    filled = time.monotonic() - begun
    watch = Watch()
    cold, alone = _best(_open, full, starts)
    first, draining = _best(_deliver, full, starts)
    return {
        EMPTY: quick,
        READY: cold,
        FIRST: first,
        ALONE: alone / 1e6,
        DRAINING: draining / 1e6,
        "heap per job": (alone - baseline) / jobs,
        "disk per job": disk_bytes(full / "data") / jobs,
        "anonymous memory of an empty broker": baseline / 1e6,
        FILLING: filled,
        "CPU of others, share": watch.foreign(),
    }


def _best(start: Callable[[Path], tuple[float, int]], home: Path, starts: int) -> tuple[float, int]:
    """The fewest seconds, and the most memory."""
    times, sizes = zip(*(start(home) for _ in range(starts)), strict=True)
    return min(times), max(sizes)


async def _fill(data: Path, jobs: int) -> None:
    """Through the storage engine itself: the way in is not what is measured here."""
    clock, head = SystemClock(), Head("add", "default", 0, "json")
    engine = create_engine(f"lmdb:{data}", StorageConfig())
    await engine.open(clock.now())
    args = encode_call((1, 2), {})
    for at in range(0, jobs, GROUP):
        keys = new_keys(min(GROUP, jobs - at))
        await engine.enqueue([NewJobs(head, keys, [args] * len(keys), keys)], clock.now())
    await engine.close()


def _open(home: Path) -> tuple[float, int]:
    """Seconds from the start of a broker until it listens, and its anonymous memory then; nothing is cached before."""
    _drop_cache(home)
    process, port = servers.start_tqbroker(home)
    with process:
        process.wait_listening(port, poll=0.002)
        found = time.monotonic() - process.started, settled_bytes(process.pid)
        process.kill()
        return found


def _deliver(home: Path) -> tuple[float, int]:
    """Seconds from the start of a broker until a job runs in a worker that was there before it; memory after that."""
    ours = next(system for system in SYSTEMS if system.name == OURS)
    marks = home / "marks"
    shutil.rmtree(marks, ignore_errors=True)
    marks.mkdir()
    port = free_port()
    environment = ours.environment({"TQBROKER_URL": f"tq://127.0.0.1:{port}"}, marks)
    program, *arguments = ours.workers[0]
    with Process("worker", [str(ours.bin / program), *arguments], environment, home):
        time.sleep(SETTLE)
        broker, _ = servers.start_tqbroker(home, port)
        with broker:
            broker.wait_until(lambda: any(marks.iterdir()), "handing out")
            return first_start(marks) - broker.started, settled_bytes(broker.pid)


def _drop_cache(home: Path) -> None:
    """As after a reboot: clean pages of the store are dropped from the page cache."""
    for path in (home / "data").glob("**/*.mdb"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _show(jobs: int, figures: Figures) -> None:
    table = Table(title=f"A store with {jobs:,} queued jobs", title_justify="left")
    for column in ("what", "measured", "must be below", ""):
        table.add_column(column, no_wrap=True)
    for what, value in figures.items():
        unit, must = MUST.get(what, ("", None))
        bar = f"{must:g} {unit}" if must else ""
        table.add_row(what, f"{value:,.2f} {unit}", bar, verdict(value, must, None, more_is_better=False))
    Console(width=100, highlight=False).print(table)


if __name__ == "__main__":
    sys.exit(main())
