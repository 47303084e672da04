"""Waiting for what has no event of its own to wait for, always with a deadline."""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from random import SystemRandom
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 20.0
"""Seconds for anything that should take one or two: a loaded machine is not a failure."""


def until(look: Callable[[], T], what: str, timeout: float = PATIENCE, pause: float = 0.02) -> T:
    """The first true answer of `look`. Fails after `timeout` seconds, saying `what` was awaited and what was seen."""
    deadline = time.monotonic() + timeout
    while True:
        if seen := look():
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:g} s in vain for: {what} (last seen: {seen!r})")
        time.sleep(pause)


_kept: deque[int] = deque()
"""Descriptors that hold the latest ports that were given out: nobody else is given one before or between two starts."""
MOST_KEPT = 200


def free_port() -> int:
    """A port that nobody has, below those that the system gives to outgoing connections.

    It stays bound here, which only who sets SO_REUSEADDR may pass, as gRPC does: what listens on it is not disturbed.
    """
    numbers = range(15_000, 32_000)
    for port in SystemRandom().sample(numbers, 200):
        keeper = socket.socket()
        try:
            keeper.bind(("127.0.0.1", port))
        except OSError:
            keeper.close()
            continue
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # only now: a port that others keep was refused
        _kept.append(keeper.detach())
        if len(_kept) > MOST_KEPT:
            os.close(_kept.popleft())
        return port
    raise AssertionError("no free port found")


def children_of(pid: int) -> list[int]:
    """Process ids of the direct children of a process; empty when it is gone."""
    found: list[int] = []
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found.extend(map(int, listing.read_text().split()))
        except OSError:
            continue
    return found


def descendants_of(pid: int) -> list[int]:
    """Its children, their children, and so on, as long as each has its parent."""
    children = children_of(pid)
    return [*children, *(each for child in children for each in descendants_of(child))]


def is_running(pid: int) -> bool:
    """Whether the process is there and not merely waiting to be reaped."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def stalled(pid: int, timeout: float = PATIENCE) -> None:
    """Returns when a thread of the process sleeps until a certain time: in a failpoint, or in a call to a slowed disk.

    The kernel tells it of each thread, with how often it has slept: what sleeps for a moment only is not meant.
    """

    def is_stalled() -> bool:
        before = _sleepers(pid)
        time.sleep(0.05)
        return bool(before & _sleepers(pid))

    until(is_stalled, f"a thread of process {pid} to sleep", timeout)


def _sleepers(pid: int) -> set[tuple[str, str]]:
    """Threads that sleep until a certain time, each with how often it has slept before."""
    found = set()
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # the thread has ended
            if "nanosleep" in (thread / "wchan").read_text():
                status = (thread / "status").read_text()
                found.add((thread.name, status.partition("\nvoluntary_ctxt_switches:")[2].split()[0]))
    return found


def gone(pids: Iterable[int], timeout: float = PATIENCE) -> None:
    """Returns when none of these processes is there any more."""
    waited = list(pids)
    until(lambda: not any(map(is_running, waited)), f"processes {waited} to end", timeout)
