"""Ours, beyond plain jobs: the tasks, and the client's steps: `python -m tqbench.apps.tq_features STEP NUMBERS...`.

Each step prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from statistics import median
from typing import Any

import grpc

from tqbroker import App
from tqbroker.operations import JobFilter
from tqbroker.states import Phase
from tqbroker.task import Task
from tqbroker.v1 import admin_pb2, admin_pb2_grpc

from . import records

RATE = 500
"""Starts a second of the task `limited`."""
PAGE = 1000
"""Dead letters of one page: the most that the broker puts into one."""
STEPS_A_SECOND = 10
"""Different moments at which delayed jobs become due."""
SLICE = 100_000
"""Jobs of one batch, to bound what the client holds."""

POLL = 0.025
PATIENCE = 300.0
"""Seconds that jobs may take to end."""

Figures = dict[str, float]

app = App("bench")
app.conf.request_timeout = 30.0


@app.task(name="plain")
def plain(number: int) -> int:
    return number


@app.task(name="recorded", bind=True)
def recorded(self: Task[..., Any], number: int) -> None:
    records.leave(number, self.request.lost_leases)


@app.task(name="limited", rate_limit=f"{RATE}/s")
def limited(number: int) -> None:
    records.leave(number, 0)


@app.task(name="failing")
def failing(number: int) -> None:
    raise ValueError(f"job {number} always fails")


def fill(count: int) -> Figures:
    """Plain jobs."""
    begun = time.monotonic()
    for at in range(0, count, SLICE):
        plain.delay_many((number,) for number in range(at, min(at + SLICE, count)))
    return {"per_second": count / (time.monotonic() - begun)}


def delay(first: int, count: int, due_ms: int, span_ms: int) -> Figures:
    """Jobs that become due from a moment on, spread over a span; numbered from `first`."""
    begun = time.monotonic()
    moments = max(1, span_ms * STEPS_A_SECOND // 1000)
    for at in range(0, count, SLICE):
        with app.batch():
            for number in range(at, min(at + SLICE, count)):
                eta = datetime.fromtimestamp((due_ms + number * moments // count * span_ms // moments) / 1000, UTC)
                recorded.apply_async((first + number,), eta=eta)
    return {"per_second": count / (time.monotonic() - begun)}


def lanes(first: int, count: int) -> Figures:
    """So many ordering keys, numbered from `first`, every other one with two jobs instead of one."""
    begun, jobs = time.monotonic(), 0
    for at in range(0, count, SLICE // 2):
        with app.batch() as batch:
            for lane in range(first + at, first + min(at + SLICE // 2, count)):
                for number in range(1 + lane % 2):
                    plain.apply_async((number,), ordering_key=f"customer-{lane}")
        jobs += len(batch.results)
    return {"jobs": jobs, "per_second": jobs / (time.monotonic() - begun)}


def limit(count: int) -> Figures:
    """Jobs of the task with a rate."""
    limited.delay_many((number,) for number in range(count))
    return {}


def fail(count: int) -> Figures:
    """Jobs that end as dead letters."""
    failing.delay_many((number,) for number in range(count))
    return {}


def page(times: int) -> Figures:
    """Asks for the first page of dead letters, again and again."""
    laps, found = [], 0
    for _ in range(times + 1):  # the first call connects
        begun = time.perf_counter()
        found = len(list(app.operator.jobs(JobFilter(phases=frozenset({Phase.FAILED})), PAGE)))
        laps.append(1000 * (time.perf_counter() - begun))
    return {"jobs": found, "page_ms": median(laps[1:])}


def scan() -> Figures:
    """Reads through all jobs, again and again, until SIGTERM; nothing is made of what comes."""
    asked_to_end: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: asked_to_end.append(number))
    admin, request = _admin(), admin_pb2.ListJobsRequest(limit=PAGE)
    begun, seen = time.monotonic(), 0
    print("scanning", flush=True)
    while not asked_to_end:
        answer = admin.ListJobs(request, timeout=30)
        seen += len(answer.jobs)
        request.cursor = answer.cursor  # empty at the end, so that the next one is the first page again
    return {"per_second": seen / (time.monotonic() - begun)}


def drained(count: int) -> Figures:
    """Says "ready", waits until so many jobs have ended, and says when that was, and when the first was seen to have.

    The broker may be away meanwhile.
    """
    admin = _admin()
    before = _ended(admin)
    print("ready", flush=True)
    deadline, first = time.monotonic() + PATIENCE, 0.0
    while (ended := _ended(admin)) < count:
        if ended > before and not first:
            first = time.monotonic()
        if time.monotonic() > deadline:
            raise SystemExit(f"only {ended:,} of {count:,} jobs have ended after {PATIENCE:.0f} s")
        time.sleep(POLL)
    return {"first": first, "at": time.monotonic(), "at_unix": time.time()}


def _ended(admin: admin_pb2_grpc.AdminStub) -> int:
    try:
        queues = admin.ListQueues(admin_pb2.ListQueuesRequest(), timeout=10).queues
    except grpc.RpcError:
        return 0
    return sum(queue.succeeded + queue.failed for queue in queues)


def _admin() -> admin_pb2_grpc.AdminStub:
    quick = [(f"grpc.{name}_reconnect_backoff_ms", 100) for name in ("initial", "min", "max")]
    address = os.environ["TQBROKER_URL"].removeprefix("tq://")
    return admin_pb2_grpc.AdminStub(grpc.insecure_channel(address, quick))


STEPS: dict[str, Callable[..., Figures]] = {
    "fill": fill,
    "delay": delay,
    "lanes": lanes,
    "limit": limit,
    "fail": fail,
    "page": page,
    "scan": scan,
    "drained": drained,
}


def main() -> None:
    step, *numbers = sys.argv[1:]
    print(json.dumps(STEPS[step](*map(int, numbers))), flush=True)


if __name__ == "__main__":
    main()
