"""The client process of a measurement: `python -m tqbench.apps.driver APP STEP NUMBERS...` prints one line of JSON.

Runs in our environment and in the rivals', so it needs nothing but the standard library.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any, Protocol

from . import records

WARM_UP = 20
"""Calls before the clock starts: connections, imports and caches are not what is measured here."""
THREADS = 4
SLICE = 100_000
"""Jobs of one `delay_many`: who has more goes in slices, to bound what he holds himself."""
POLL = 0.025
PAUSE = 0.2
"""Seconds after a call that raised, so that a server that is starting is not told off by all the calls there are."""
PATIENCE = 300.0
"""Seconds that a queue may take to drain."""

Figures = dict[str, float]


class Client(Protocol):
    """What each app offers."""

    def delay(self, x: int, y: int) -> Any:
        """Submits one job, returns when the system says that it has it."""
        ...

    def submit(self, number: int) -> None:
        """Submits one job that leaves a record of its number, returns when the system says that it has it."""
        ...

    def get(self, handle: Any) -> int:
        """Waits for a job's result."""
        ...

    def stored(self) -> int:
        """How many results are stored."""
        ...


def calls(client: Client, count: int) -> Figures:
    """One caller, one call after the other."""
    return _timed(lambda number: client.delay(number, number), count)


def round_trips(client: Client, count: int) -> Figures:
    """One caller that waits for each result before the next call."""

    def once(number: int) -> None:
        total = client.get(client.delay(number, 1))
        if total != number + 1:
            raise SystemExit(f"a wrong result: {number} + 1 gave {total}")

    return _timed(once, count)


def threads(client: Client, count: int) -> Figures:
    """Several threads of one process, each one call after the other."""
    _repeat(lambda number: client.delay(number, number), WARM_UP)
    share = count // THREADS
    with ThreadPoolExecutor(THREADS) as pool:
        begun = time.monotonic()
        running = [pool.submit(_repeat, lambda n: client.delay(n, n), share) for _ in range(THREADS)]
        for each in running:
            each.result()
        seconds = time.monotonic() - begun
    return {"submitted": share * THREADS + WARM_UP, "per_second": share * THREADS / seconds}


def submit(client: Client, count: int, first: int) -> Figures:
    """Jobs numbered from `first`, from several threads. Each that is told OK is written down, in BENCH_ACKS, at once.

    A call that raises is not repeated: its caller has been told that there may be no such job.
    """
    acks = os.open(os.environ["BENCH_ACKS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def once(number: int) -> bool:
        try:
            client.submit(number)
        except Exception as error:  # of any system, each has its own
            print(repr(error), file=sys.stderr)
            time.sleep(PAUSE)
            return False
        os.write(acks, records.packed(number))
        return True

    with ThreadPoolExecutor(THREADS) as pool:
        acknowledged = sum(pool.map(once, range(first, first + count)))
    return {"submitted": count, "acknowledged": acknowledged}


def bulk(client: Any, count: int) -> Figures:
    """Calls that submit many at a time."""
    _repeat(lambda number: client.delay(number, number), WARM_UP)
    begun = time.monotonic()
    for at in range(0, count, SLICE):
        client.delay_many(min(SLICE, count - at))
    return {"submitted": count + WARM_UP, "per_second": count / (time.monotonic() - begun)}


def drained(client: Client, count: int) -> Figures:
    """Says "ready", waits until so many results are stored, and says when that was."""
    client.stored()
    print("ready", flush=True)
    deadline = time.monotonic() + PATIENCE
    while (stored := client.stored()) < count:
        if time.monotonic() > deadline:
            raise SystemExit(f"only {stored:,} of {count:,} results are stored after {PATIENCE:.0f} s")
        time.sleep(POLL)
    return {"at": time.monotonic()}


def _repeat(call: Callable[[int], object], count: int) -> None:
    for number in range(count):
        call(number)


def _timed(call: Callable[[int], object], count: int) -> Figures:
    _repeat(call, WARM_UP)
    clock, laps = time.perf_counter, [0.0] * count
    begun = clock()
    for number in range(count):
        before = clock()
        call(number)
        laps[number] = clock() - before
    seconds = clock() - begun
    laps.sort()
    return {
        "submitted": count + WARM_UP,
        "per_second": count / seconds,
        "p50_ms": 1000 * laps[count // 2],
        "p99_ms": 1000 * laps[min(count - 1, count * 99 // 100)],
    }


STEPS: dict[str, Callable[..., Figures]] = {
    "calls": calls,
    "round_trips": round_trips,
    "threads": threads,
    "submit": submit,
    "bulk": bulk,
    "drained": drained,
}


def main() -> None:
    app, step, *numbers = sys.argv[1:]
    client = import_module(f"tqbench.apps.{app}").Client()
    print(json.dumps(STEPS[step](client, *map(int, numbers))), flush=True)


if __name__ == "__main__":
    main()
