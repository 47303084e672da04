"""Waiting for gRPC to come to rest before a fork."""

from __future__ import annotations

import time
from pathlib import Path

_TASKS = Path("/proc/self/task")
_THREADS = ("event_engine", "lifeguard", "grpc_")
_STEP = 0.002
_LIMIT = 0.25
"""Seconds; what an application with gRPC channels of its own pays for each fork, since those never rest."""


def settle() -> None:
    """Waits until gRPC's own threads have ended, which they do some milliseconds after the last channel was closed.

    A child forked while one of them holds a lock would wait for that lock forever. Where there is no /proc, the usual
    time is waited.
    """
    deadline = time.monotonic() + _LIMIT
    if not _TASKS.is_dir():
        time.sleep(10 * _STEP)
        return
    while any(name.startswith(_THREADS) for name in _names()) and time.monotonic() < deadline:
        time.sleep(_STEP)


def _names() -> list[str]:
    names = []
    for task in _TASKS.iterdir():
        try:
            names.append((task / "comm").read_text())
        except OSError:  # it ended just now
            continue
    return names
