"""The file of the first-steps guide, with three more tasks for what a newcomer tries next."""

from __future__ import annotations

import time

from tqbroker import App

app = App("tasks")


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task
def slow_add(x: int, y: int, seconds: float = 1.0) -> int:
    time.sleep(seconds)
    return x + y


class NotEnoughError(Exception):
    """An exception of the application's own."""


@app.task
def spend(amount: int) -> None:
    raise NotEnoughError(f"cannot spend {amount}")
