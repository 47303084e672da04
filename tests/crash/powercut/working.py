"""A broker's engine goes on with what a power cut has left: recovery, every job to its end, new work, the counts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

from tests.contracts.witness import counted
from tests.crash.powercut.clients import OTHER, PARKED, TASK, WORKED
from tests.crash.powercut.judge import TICK

from tqbroker_broker.answers import Job
from tqbroker_broker.attempts import Successes, Want
from tqbroker_broker.config import MIB, StorageConfig
from tqbroker_broker.lifecycle import FINAL
from tqbroker_broker.questions import Filter
from tqbroker_broker.records import Head, NewJobs, State, Time
from tqbroker_broker.storage import Engine, create_engine
from tqbroker_broker.storage.lmdb.verifying import verify

CONFIG = StorageConfig(map_size=256 * MIB)
QUEUES, WORKER, INSTANCE = (WORKED, PARKED, OTHER), "after", b"a" * 16
NEW = b"new job         "
ROUNDS = 200
"""Hand-outs after which everything must have ended."""
HOUR_MS = 3_600_000


def problems_of(directory: Path) -> list[str]:
    """What is wrong in the store in this directory, and what does not work with it. It is another one afterwards."""
    return [*verify(directory).faults, *asyncio.run(_work(directory)), *verify(directory).faults]


async def _work(directory: Path) -> list[str]:
    engine = create_engine(f"lmdb:{directory}", CONFIG)
    wall_ms = int(time.time() * 1000)
    await engine.open(Time(wall_ms, 0.0))
    now = Time(wall_ms + HOUR_MS, CONFIG.lease_ttl + 1)  # retries are due, and nobody waits for former workers
    try:
        await engine.join(WORKER, INSTANCE, [], now)
        head = Head(TASK, WORKED, 0, "json")
        await engine.enqueue([NewJobs(head, [NEW], [b"[[],{}]"], [b"d" * 16])], now)
        await _finish_all(engine, now)
        jobs = await _scan(engine)
        stats = await engine.stats()
        return [
            *_unfinished(jobs),
            *([] if counted(jobs) == stats.queues else ["the counts are not those of the jobs"]),
        ]
    finally:
        await engine.close()


async def _finish_all(engine: Engine, now: Time) -> None:
    want = Want(WORKER, QUEUES, frozenset({TASK, TICK}), 500, 500)
    for _ in range(ROUNDS):
        while (await engine.due(now, 500)).more or (await engine.expire(now, 500)).more:
            pass
        (batches,) = (await engine.lease([want], now)).batches
        if not batches:
            return
        for leased in batches:
            count = len(leased.ids)
            ended = Successes(leased.tokens, [b"1"] * count, "json", [now.wall_ms] * count, [1] * count)
            assert not (await engine.finish(WORKER, [ended], [], now)).refused


async def _scan(engine: Engine) -> list[Job]:
    jobs, cursor = [], b""
    while True:
        page = await engine.scan(Filter(), cursor, 1000)
        jobs += page.jobs
        if not (cursor := page.cursor):
            return jobs


def _unfinished(jobs: list[Job]) -> Iterator[str]:
    for job in jobs:
        if job.state not in FINAL:
            yield f"job {job.id.hex()} is still {job.state.name}"
        if job.id == NEW and job.state is not State.SUCCEEDED:
            yield "a new job did not succeed"
