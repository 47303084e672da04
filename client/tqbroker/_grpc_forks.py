"""Waiting for gRPC to come to rest before a fork; and refusing to use it in a child where it did not.

All event loops of a process share one thread inside of gRPC. It rests when the last loop that has called a task is
closed. A child that is forked before has gRPC without its thread, and what wakes that in common with its parent: to use
it would hang, and bring the parent to a stop as well.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

from tqbroker.exceptions import OperationalError

_TASKS = Path("/proc/self/task")
_THREADS = ("event_engine", "lifeguard", "grpc_")
_AWAKE = ("R", "D")
"""States of a thread that runs, or will as soon as it can."""
_STEP = 0.002
_LIMIT = 0.25
"""Seconds; what an application with gRPC channels of its own pays for each fork, since those never rest."""

_refused = False


def refuse() -> None:
    """This process must not use gRPC: its parent had an event loop inside of it."""
    global _refused
    _refused = True


def check_usable() -> None:
    """Raises OperationalError in a process that must not use gRPC."""
    if _refused:
        raise OperationalError(
            "this process was forked while an event loop of its parent was using tqbroker, and cannot use it: nothing"
            " was sent. Start it with multiprocessing's spawn or forkserver, or subprocess; or fork before the first"
            " call in asyncio, or after its loop is closed",
            reason="FORKED",
        )


def settle() -> None:
    """Waits until gRPC's own threads have ended, which they do some milliseconds after the last channel was closed.

    A child forked while one of them holds a lock would wait for that lock forever. Where there is no /proc, the usual
    time is waited.
    """
    deadline = time.monotonic() + _LIMIT
    if not _TASKS.is_dir():
        time.sleep(10 * _STEP)
        return
    while _at_work() and time.monotonic() < deadline:
        time.sleep(_STEP)


def _at_work() -> bool:
    """Whether gRPC has threads. One that has just begun gets its name when it first runs: till then it is awake.

    So its last thread, which begins when the others have ended, is not missed on a busy machine.
    """
    ours = {thread.native_id for thread in threading.enumerate()}
    for task in _TASKS.iterdir():
        try:
            name, _, rest = (task / "stat").read_text().partition("(")[2].rpartition(")")
        except OSError:  # it ended just now
            continue
        if name.startswith(_THREADS) or (rest.split()[0] in _AWAKE and int(task.name) not in ours):
            return True
    return False
