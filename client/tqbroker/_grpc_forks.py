"""Waiting for gRPC to come to rest before a fork; and refusing to use it in a child where it did not.

A child has none of gRPC's threads, but what they held: a lock that one of them had is held there forever. Those that
serve our channels end some milliseconds after the last one is closed, which is waited for. Those of other channels that
a program has itself do not end; nor do all event loops of a process, which share one thread inside of gRPC, before the
last loop that has called a task is closed. To use gRPC in a child that is forked then would hang, and in the case of a
loop bring the parent to a stop as well.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tqbroker.exceptions import OperationalError

_TASKS = Path("/proc/self/task")
_THREADS = ("event_engine", "lifeguard", "grpc_")
_AWAKE = ("R", "D")
"""States of a thread that runs, or will as soon as it can."""
_STEP = 0.002
_STILL = 0.25
"""Seconds in which no thread of gRPC has begun or ended: when none is awake then either, they are not about to end.

What an application with gRPC channels of its own pays for a fork, since those never rest.
"""
_LONGEST = 2.0
"""Seconds, at most, while they come and go, or want to run: on a machine that is busy, or for such channels."""
_LOOP = (
    "this process was forked while an event loop of its parent was using tqbroker, and cannot use it: nothing"
    " was sent. Start it with multiprocessing's spawn or forkserver, or subprocess; or fork before the first"
    " call in asyncio, or after its loop is closed"
)
_CHANNEL = (
    "this process was forked while gRPC was at work in its parent, mostly for channels or servers of the program's own,"
    " and cannot use tqbroker: nothing was sent. Start it with multiprocessing's spawn or forkserver, or subprocess; or"
    " fork while they are closed; or set GRPC_ENABLE_FORK_SUPPORT=1 before the program starts"
)

_LOAD = (
    "this process was forked while another thread of its parent made the first call, and cannot use tqbroker, which was"
    " loaded by half: nothing was sent. Make a call before threads start processes, or start them with"
    " multiprocessing's spawn or forkserver, or subprocess"
)

_gate = threading.RLock()
"""Held over each fork, one at a time, so that nobody begins to load in the middle of it."""
_held = False
_have: set[str] = set()
"""What of that which calls need is loaded."""
_loaders: list[int] = []
"""Threads that load some of it now."""
_half = True
"""Whether another thread did at the last fork, or loads this module while one is under way."""
_restless = False
"""Whether gRPC had threads right before the last fork."""
_refused = ""


class _Thread(NamedTuple):
    """A thread of this process that Python does not know."""

    number: str
    of_grpc: bool
    awake: bool


def refuse(why: str = _LOOP) -> None:
    """This process must not use gRPC: its parent had an event loop, or something else, inside of it."""
    global _refused
    _refused = why


def check_usable() -> None:
    """Raises OperationalError in a process that must not use gRPC."""
    if _refused:
        raise OperationalError(_refused, reason="FORKED")


@contextmanager
def loading(what: str) -> Iterator[None]:
    """Around an import with the first call: what is loaded by half at a fork is so in the child for ever.

    Raises OperationalError in a process that must not use gRPC.
    """
    if what in _have:
        yield
        return
    check_usable()
    me = threading.get_ident()
    with _gate:
        _loaders.append(me)
    try:
        yield
    finally:
        with _gate:
            _loaders.remove(me)
    _have.add(what)


def supported() -> bool:
    """Whether gRPC takes care of forks by itself: it was asked to, and stops its threads for the moment of a fork."""
    return os.environ.get("GRPC_ENABLE_FORK_SUPPORT", "0").lower() in ("1", "true", "yes")


def settle() -> None:
    """Waits until gRPC's own threads have ended. Where there is no /proc, the usual time is waited."""
    if not _TASKS.is_dir():
        time.sleep(10 * _STEP)
        return
    began = changed = time.monotonic()
    threads = _others()
    strangers = {each.number for each in threads if not each.of_grpc}
    working: set[str] = set()
    while threads:
        now = time.monotonic()
        before, working = working, {each.number for each in threads if each.of_grpc}
        if before != working:
            changed = now
        still = now >= changed + _STILL and not any(each.awake and each.number not in strangers for each in threads)
        if still or now >= began + (_STILL if supported() else _LONGEST):
            return
        time.sleep(_STEP)
        threads = _others()


def _others() -> list[_Thread]:
    """The threads that are gRPC's, or may be. One that has just begun gets its name when it first runs: it is awake.

    One that ends while this looks counts as well: what it has begun meanwhile is not among those that are seen.
    So gRPC's last thread, which begins when the others end, is not missed on a busy machine.
    """
    ours = {str(thread.native_id) for thread in threading.enumerate()}
    found = []
    for task in _TASKS.iterdir():
        try:
            name, _, rest = (task / "stat").read_text(errors="replace").partition("(")[2].rpartition(")")
        except OSError:  # it ended just now
            found.append(_Thread(task.name, of_grpc=False, awake=True))
            continue
        of_grpc, awake = name.startswith(_THREADS), rest.split()[0] in _AWAKE
        if task.name not in ours and (of_grpc or awake):
            found.append(_Thread(task.name, of_grpc, awake))
    return found


def _before_fork() -> None:
    """After `settle`: what has registered last comes first before a fork, and those who call it import this module."""
    global _half, _held, _restless
    _held = _gate.acquire(timeout=_LONGEST)
    _half = not _held or _others_load()
    _restless = "grpc" in sys.modules and _TASKS.is_dir() and any(each.of_grpc for each in _others())


def _others_load() -> bool:
    return any(each != threading.get_ident() for each in _loaders)


def _after_fork_here() -> None:
    if _held:
        _gate.release()


def _after_fork_in_child() -> None:
    global _gate
    _gate = threading.RLock()
    if _half:
        refuse(_LOAD)
    elif _restless and not supported():
        refuse(_CHANNEL)
    _loaders[:] = [each for each in _loaders if each == threading.get_ident()]


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_here, after_in_child=_after_fork_in_child)
