"""What every program here does: calls of a task that are written down, and processes that are forked with a deadline.

A program is `python -m tests.acceptance.hosts.NAME FIRST`, in the folder of a project: its calls have numbers from
FIRST on, and it ends with 0 when everything that it waited for has come. TQ_MUTANT plants a bug in it.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from typing import Any

from tqbroker import AsyncResult

HANGS = int(os.environ.get("TQ_HANGS", "50"))
"""Seconds after which a process says where it stands, and ends."""
PATIENCE = 30.0
"""Seconds for one result: the machine may be busy, but then something hangs."""
FIRST = int(sys.argv[1]) if len(sys.argv) > 1 else 0

faulthandler.enable()
faulthandler.register(signal.SIGALRM, chain=True)
signal.alarm(HANGS)
bug = contextlib.ExitStack()
if MUTANT := os.environ.get("TQ_MUTANT"):
    bug.enter_context(importlib.import_module("tests.mutants.registry").planted(MUTANT))
tasks: Any = importlib.import_module("tasks")


def note(kind: str, number: int, *words: object) -> None:
    """A line of the history, as harness/history.py reads it."""
    os.write(tasks.history, (" ".join(map(str, (kind, number, *words))) + "\n").encode())


def call(number: int) -> AsyncResult[int]:
    """One call, written down."""
    note("invoke", FIRST + number)
    job: AsyncResult[int] = tasks.mark.delay(FIRST + number)
    note("ok", FIRST + number, job.id)
    return job


def answered(job: AsyncResult[int], number: int) -> None:
    """The result is that of this call."""
    assert job.get(timeout=PATIENCE) == FIRST + number, number


def ask(*numbers: int) -> None:
    """Calls and their results, one after the other."""
    for number in numbers:
        answered(call(number), number)


async def ask_async(*numbers: int) -> None:
    """The same in a program of coroutines."""
    for number in numbers:
        note("invoke", FIRST + number)
        job = await tasks.mark.adelay(FIRST + number)
        note("ok", FIRST + number, job.id)
        assert await job.aget(timeout=PATIENCE) == FIRST + number


def forked(work: Callable[[], object], end: Callable[[int], object] = os._exit) -> int:
    """A child that does this work and ends; its process id."""
    pid = os.fork()
    if pid:
        return pid
    signal.alarm(HANGS)
    code = 1
    with contextlib.suppress(BaseException):
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
    sys.stderr.flush()
    end(code)
    raise AssertionError("it has ended")


def reaped(pids: Iterable[int], expected: int = 0) -> None:
    """Waits for children, each of which must end with this code (negative: by this signal)."""
    for pid in pids:
        deadline = time.monotonic() + PATIENCE
        while not (status := os.waitpid(pid, os.WNOHANG))[0]:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGALRM)  # it says where it stands
                os.waitpid(pid, 0)
                raise AssertionError(f"child {pid} did not end")
            time.sleep(0.005)
        assert os.waitstatus_to_exitcode(status[1]) == expected, f"child {pid} ended with {status[1]}"
