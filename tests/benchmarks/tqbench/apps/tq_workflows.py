"""Ours, workflows: the tasks, and the client's steps: `python -m tqbench.apps.tq_workflows STEP NUMBERS...`.

Each step prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from operator import truediv
from statistics import median

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tqbroker import App, chain, chord, group

WARM_UP = 200
"""Jobs of each kind before the clock starts: connections, imports, caches, and the worker's processes."""
PAUSE = 0.002
"""Seconds between an answer to the question whether the broker is well, and the next question."""
PATIENCE = 300.0

Figures = dict[str, float]

app = App("bench")
app.conf.request_timeout = 30.0


@app.task(name="add")
def add(x: int, y: int) -> int:
    return x + y


@app.task(name="total")
def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task(name="increased")
def increased(number: int) -> int:
    return number + 1


def plain(count: int) -> int:
    """The same jobs without a workflow; the caller waits for all, and adds up."""
    results = add.delay_many((number, number) for number in range(count))
    return sum(app.ResultSet(results).get(timeout=PATIENCE))


def grouped(count: int) -> int:
    """As a group; the caller waits for all, and adds up."""
    return sum(group(add.s(number, number) for number in range(count))().get(timeout=PATIENCE))


def chorded(count: int) -> int:
    """As a chord: a job adds up, and the caller waits for that one only."""
    found: int = chord(add.s(number, number) for number in range(count))(total.s()).get(timeout=PATIENCE)
    return found


def chained(count: int) -> int:
    """So many jobs, each handed what the one before returned."""
    found: int = chain(increased.s(0), *(increased.s() for _ in range(count - 1)))().get(timeout=PATIENCE)
    return found


KINDS: dict[str, Callable[[int], int]] = {"plain": plain, "group": grouped, "chord": chorded}


def compare(count: int, rounds: int) -> Figures:
    """Seconds of each kind, and the ratio to the same jobs alone: all in turn, so that they meet the same weather."""
    laps: dict[str, list[float]] = {name: [] for name in KINDS}
    for run in KINDS.values():
        run(WARM_UP)
    for _ in range(rounds):
        for name, run in KINDS.items():
            laps[name].append(_seconds(run, count))
    ratios = {name: median(map(truediv, laps[name], laps["plain"])) for name in KINDS if name != "plain"}
    return {f"{name}_s": median(each) for name, each in laps.items()} | {
        f"{name}_ratio": ratio for name, ratio in ratios.items()
    }


def once(name: str, count: int) -> Figures:
    """Seconds of one kind, once."""
    KINDS[name](WARM_UP)
    return {"seconds": _seconds(KINDS[name], count)}


def links(count: int) -> Figures:
    """Milliseconds of a link of a chain."""
    chained(WARM_UP)
    return {"link_ms": 1000 * _seconds(chained, count) / count}


def _seconds(run: Callable[[int], int], count: int) -> float:
    """From the call until the value is here, which is compared with what it must be."""
    begun = time.monotonic()
    found = run(count)
    seconds = time.monotonic() - begun
    expected = count if run is chained else count * (count - 1)
    if found != expected:
        raise SystemExit(f"a wrong result: {run.__name__}({count}) gave {found} and not {expected}")
    return seconds


def probe() -> Figures:
    """Asks the broker all the time whether it is well, until SIGTERM, and says how long the slowest answer took."""
    asked_to_end: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: asked_to_end.append(number))
    channel = grpc.insecure_channel(os.environ["TQBROKER_URL"].removeprefix("tq://"))
    check, request, laps = health_pb2_grpc.HealthStub(channel).Check, health_pb2.HealthCheckRequest(), []
    check(request, timeout=30)
    print("probing", flush=True)
    while not asked_to_end:
        begun = time.perf_counter()
        check(request, timeout=30)
        laps.append(time.perf_counter() - begun)
        time.sleep(PAUSE)
    laps.sort()
    return {"longest_ms": 1000 * laps[-1], "p99_ms": 1000 * laps[len(laps) * 99 // 100]}


STEPS: dict[str, Callable[..., Figures]] = {
    "compare": compare,
    **{name: partial(once, name) for name in KINDS},
    "links": links,
    "probe": probe,
}


def main() -> None:
    step, *numbers = sys.argv[1:]
    print(json.dumps(STEPS[step](*map(int, numbers))), flush=True)


if __name__ == "__main__":
    main()
