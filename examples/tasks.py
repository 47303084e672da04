"""First steps: an application with three tasks.

    tqbroker serve                               # terminal 1: the broker
    tqbroker worker -A tasks --loglevel=info     # terminal 2: a worker, started in this folder
    python -c "from tasks import add; print(add.delay(4, 4).get(timeout=5))"

The broker is the one at `TQBROKER_URL`, or else at tq://localhost.
"""

from __future__ import annotations

import time

from tqbroker import App

app = App("tasks")


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task
def sleep_and_tell(seconds: float) -> str:
    """Takes a while: `get(timeout=...)` raises TimeoutError meanwhile, and the job goes on."""
    time.sleep(seconds)
    return f"slept {seconds:g} s"


@app.task
def divide(x: float, y: float) -> float:
    """Fails for y = 0: `get()` raises ZeroDivisionError, and `result.traceback` says where."""
    return x / y
