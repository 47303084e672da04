"""Tasks that write down when they run, where, and what they see: for tests of order, limits, routes and cancels."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

from tqbroker import App, Task

app = App("tasks", task_routes={"tasks.routed": "elsewhere"})
history = os.open(os.environ["TQ_HISTORY"], os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
gate = os.environ["TQ_GATE"]
Bound = Task[..., Any]


def note(kind: str, self: Bound, label: str) -> None:
    request = self.request
    seen = {"kind": kind, "label": label, "job": request.id, "at": time.time(), "pid": os.getpid()}
    seen |= {"worker": request.hostname, "queue": request.queue, "lost": request.lost_leases}
    os.write(history, (json.dumps(seen) + "\n").encode())


def is_open(name: str) -> bool:
    return Path(gate + name).exists()


@app.task(bind=True)
def step(self: Bound, label: str, seconds: float = 0.0) -> str:
    note("start", self, label)
    time.sleep(seconds)
    note("end", self, label)
    return label


@app.task(bind=True)
def hold(self: Bound, label: str, name: str = "") -> str:
    """Ends when the gate of this name is open, or when somebody has cancelled it."""
    note("start", self, label)
    while not is_open(name) and not self.request.cancelled:
        time.sleep(0.01)
    note("cancelled" if self.request.cancelled else "end", self, label)
    return label


@app.task(bind=True)
def stubborn(self: Bound, label: str) -> str:
    """The same without looking whether it is cancelled."""
    note("start", self, label)
    while not is_open(""):
        time.sleep(0.01)
    note("end", self, label)
    return label


@app.task(bind=True)
async def ahold(self: Bound, label: str) -> str:
    """The same in a coroutine, which says when it is cancelled."""
    note("start", self, label)
    try:
        while not is_open(""):  # noqa: ASYNC110 - another process opens it, no event can tell
            await asyncio.sleep(0.01)
    except asyncio.CancelledError:
        note("cancelled", self, label)
        raise
    note("end", self, label)
    return label


@app.task(bind=True, rate_limit="10/s")
def paced(self: Bound, label: str) -> None:
    note("start", self, label)


@app.task(bind=True, max_concurrency=2)
def few(self: Bound, label: str, seconds: float = 0.0) -> None:
    note("start", self, label)
    time.sleep(seconds)
    note("end", self, label)


@app.task(bind=True, max_concurrency=2)
def few_held(self: Bound, label: str) -> None:
    note("start", self, label)
    while not is_open(""):
        time.sleep(0.01)
    note("end", self, label)


@app.task(bind=True)
def fragile(self: Bound, label: str, why: str = "") -> str:
    """Fails for a reason that is given, until the gate `mended` is open."""
    note("start", self, label)
    if why and not is_open("mended"):
        raise (KeyError if why == "key" else ValueError)(why)
    note("end", self, label)
    return label


@app.task(bind=True)
def routed(self: Bound, label: str) -> str:
    note("start", self, label)
    return self.request.queue
