"""A program that ends while it is busy: a thread waits for a result, another follows events, and it asks once more."""

from __future__ import annotations

import asyncio
import atexit
import os
import sys
import threading

from tests.acceptance.hosts.calls import FIRST, ask, ask_async, call, forked, note, reaped, tasks


def busy() -> None:
    """Nobody waits for these threads."""
    note("invoke", FIRST + 1)
    slow = tasks.nap.delay(FIRST + 1, 3.0)
    note("ok", FIRST + 1, slow.id)
    for work in (slow.get, lambda: [None for _ in tasks.app.events.follow(after=0)]):
        threading.Thread(target=work, daemon=True).start()


def main(how: str) -> None:
    ask(0)
    busy()
    if how == "atexit":
        atexit.register(ask, 2)
    elif how == "coroutines":
        asyncio.run(ask_async(2, 3))
    elif how == "child":
        reaped([forked(lambda: call(2)), forked(lambda: call(3), sys.exit)])
    elif how == "at once":
        os._exit(0)


if __name__ == "__main__":
    main(sys.argv[2])
