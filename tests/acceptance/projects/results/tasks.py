"""Tasks whose results are looked at. One fails until the file `mended` is there, one waits for the file `gate`."""

from __future__ import annotations

import time
from pathlib import Path

from tqbroker import App

app = App("tasks")
HERE = Path(__file__).parent


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task
def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task
def mends(x: int) -> int:
    if not (HERE / "mended").exists():
        raise ArithmeticError(f"{x} is broken")
    return x


@app.task
def waits(x: int) -> int:
    while not (HERE / "gate").exists():
        time.sleep(0.02)
    return x


@app.task
def submits(count: int) -> int:
    for number in range(count):
        add.delay(number, number)
    return count


@app.task
def asks() -> str:
    """Tries to wait for another job."""
    try:
        return str(add.delay(1, 1).get(timeout=5))
    except RuntimeError as error:
        return str(error)
