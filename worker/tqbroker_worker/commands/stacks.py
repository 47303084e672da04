"""Where every thread is right now: the parent and its coroutines, and each child."""

from __future__ import annotations

import asyncio
import io
import json
import sys
import threading
import traceback
from types import FrameType

from tqbroker_worker.desk import Desk

MAX_TASKS = 50
"""Coroutines of the parent to show: it has a handful; more would be a fault, and these show it."""


async def stacks(desk: Desk) -> dict[str, str]:
    """Stacks by process, as text."""
    found = {f"worker {desk.config.name}": _own()}
    for pid, answer in (await desk.asks.ask(desk.pool.children, "stacks")).items():
        threads = {"no answer": answer.error} if answer.error else json.loads(answer.body)
        found[f"child process {pid}"] = "".join(f"thread {name}:\n{stack}" for name, stack in threads.items())
    return found


def _own() -> str:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    out = io.StringIO()
    for ident, frame in sys._current_frames().items():
        out.write(f"thread {names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame))}")
    for task in sorted(asyncio.all_tasks(), key=lambda task: task.get_name())[:MAX_TASKS]:
        out.write(f"{task.get_name()}:\n{''.join(map(_line, task.get_stack()))}")
    return out.getvalue()


def _line(frame: FrameType) -> str:
    """One frame. Not `Task.print_stack`: Python 3.11 fails on a coroutine that is just being resumed."""
    code = frame.f_code
    return f'  File "{code.co_filename}", line {frame.f_lineno}, in {code.co_name}\n'
