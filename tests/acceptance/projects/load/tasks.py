"""Tasks that write down when they start and when they end, for tests that kill."""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from pathlib import Path
from typing import Any

from tqbroker import App, Task

app = App("tasks")
app.conf.submit_timeout = 30  # for checkpoints: where the machine is busy brokers are away for seconds
history = os.open(os.environ["TQ_HISTORY"], os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
gate = Path(os.environ["TQ_GATE"])


def note(kind: str, number: int, task: Task[..., Any]) -> None:
    request = task.request
    os.write(history, f"{kind} {number} {request.id} {os.getpid()} {request.fence}\n".encode())


def is_open() -> bool:
    return gate.exists()


@app.task(bind=True)
def mark(self: Task[..., Any], number: int) -> int:
    note("start", number, self)
    note("end", number, self)
    return number


@app.task(bind=True)
def nap(self: Task[..., Any], number: int, seconds: float) -> int:
    note("start", number, self)
    time.sleep(seconds)
    note("end", number, self)
    return number


@app.task(bind=True)
def hold(self: Task[..., Any], number: int) -> int:
    """Ends when the gate is open: when that file exists."""
    note("start", number, self)
    while not is_open():
        time.sleep(0.02)
    note("end", number, self)
    return number


@app.task(bind=True)
async def ahold(self: Task[..., Any], number: int) -> int:
    """The same for a thousand at once in one process."""
    note("start", number, self)
    while not is_open():  # noqa: ASYNC110 - another process opens it, no event can tell
        await asyncio.sleep(0.5)
    note("end", number, self)
    return number


@app.task(bind=True)
def step(self: Task[..., Any], number: int) -> int:
    """Leaves a checkpoint on its way."""
    note("start", number, self)
    self.checkpoint(number)
    note("end", number, self)
    return number


@app.task(bind=True)
def die(self: Task[..., Any], number: int) -> int:
    """Takes its process with it."""
    note("start", number, self)
    os._exit(1)


@app.task(bind=True, default_retry_delay=0.05)
def flaky(self: Task[..., Any], number: int, failures: int) -> int:
    """Fails so many times before it succeeds."""
    note("start", number, self)
    note("end", number, self)
    if self.request.retries < failures:
        raise self.retry()
    return number


@app.task(bind=True, throws=(ValueError,))
def fail(self: Task[..., Any], number: int) -> int:
    note("start", number, self)
    note("end", number, self)
    raise ValueError(number)


@app.task(bind=True)
def add(self: Task[..., Any], handed: int, number: int) -> int:
    note("start", number, self)
    note("end", number, self)
    return handed + number


@app.task(bind=True)
def total(self: Task[..., Any], handed: list[int], number: int) -> int:
    note("start", number, self)
    note("end", number, self)
    return sum(handed) + number


@app.task(bind=True, rate_limit="500/s")
def paced(self: Task[..., Any], number: int) -> int:
    note("start", number, self)
    note("end", number, self)
    return number


@app.task(bind=True, max_concurrency=1)
def alone(self: Task[..., Any], number: int) -> int:
    """Fails when it meets another of its kind."""
    note("start", number, self)
    with Path(f"{gate}.alone").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(0.002)
    note("end", number, self)
    return number


@app.task
def tick() -> None:
    """What a schedule submits: it has no number."""
