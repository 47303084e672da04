"""Who takes and does not read costs the broker a bounded amount of memory, and nobody else anything."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any
from uuid import UUID, uuid4

import grpc.aio
import pytest
from tests.acceptance.harness.daemon import Daemon
from tests.acceptance.harness.footprint import KIB, MIB, footprint, spent
from tests.acceptance.harness.load import submit_many
from tests.acceptance.harness.site import Site
from tests.acceptance.harness.waiting import PATIENCE, until
from tests.integration.broker_harness import WireWorker
from tests.mutants.catching import catches
from tests.network.deaf import OPTIONS, deaf
from tests.proof.amount import amount

from tqbroker.v1 import job_pb2, queue_pb2, worker_pb2, worker_pb2_grpc

pytestmark = pytest.mark.proof("T19")

SHORT = ("--lease-ttl", "1", "--grace", "0.5")

UNREAD = 6 * MIB
"""Bytes of one stream that is not read: gRPC takes about 4 MiB before it lets nobody write any more."""

SUBMITS = 28 * MIB
"""Bytes of one stream of submits that is not read: up to 32 answers, and what gRPC holds of both ways. Measured: 20."""

FLAT = 48 * MIB
"""Bytes that the broker may take more for its work."""

SERVED = 1.0
"""Seconds within which others are served."""

LARGE = 64 * KIB
"""Bytes of each argument, or of each result."""

OFFERED = 14 * MIB
"""Bytes that are on offer on each stream of those who wait or follow."""

QUIET = 16 * MIB
"""Bytes that a broker may take more when there is nothing to do but to tell those who wait or follow."""

RESTING = 0.03
"""Seconds of processor time that a broker takes in half a second while nobody reads, at most."""


def submit(site: Site, count: int, queue: str, size: int = LARGE) -> list[UUID]:
    """Jobs with large arguments that nobody else takes."""
    ids = [uuid4() for _ in range(count)]
    for first in range(0, count, 50):
        some = ids[first : first + 50]
        batch = job_pb2.JobBatch(
            task="tasks.mark",
            queue=queue,
            format="json",
            ids=job_pb2.Ids(uuids=b"".join(each.bytes for each in some)),
            args=[b'[["' + b"x" * size + b'"],{}]'] * len(some),
        )
        site.wire.queue.Enqueue(queue_pb2.EnqueueRequest(batches=[batch]), timeout=PATIENCE)
    return ids


def flat(broker: Daemon, before: int, streams: int, each: int = UNREAD, more: int = FLAT) -> None:
    """Fails when the broker has grown by more than what so many streams may hold that are not read."""
    grown = footprint(broker.pid).anonymous - before
    assert grown < more + streams * each, f"{grown:,} bytes more"


async def test_a_worker_that_does_not_read_costs_little_and_its_jobs_go_elsewhere(
    site: Site, counts: Counter[str]
) -> None:
    broker = site.broker("--lease-ttl", "2", "--grace", "0.5")
    before = footprint(broker.pid).anonymous
    jobs = amount(1100, 4050)
    assert jobs * LARGE > FLAT + 2 * UNREAD, "what is on offer is more than what may be held"
    async with deaf(site.address, 2) as them:
        for number, each in enumerate(them):
            await each.work(f"deaf{number}", "tasks.mark", "large")
        await asyncio.to_thread(submit, site, 50, "large")
        await asyncio.to_thread(until, lambda: site.wire.counts("large").running, "them to be given jobs")
        await asyncio.to_thread(submit, site, jobs - 50, "large")
        (job,) = submit_many(site.calls.mark, site.history, 1)
        flat(broker, before, 2)
        assert site.wire.health(PATIENCE) < SERVED
        await asyncio.to_thread(until, lambda: not site.wire.counts("large").running, "their jobs to be queued again")
        worker = site.worker()
        assert await asyncio.to_thread(job.get, PATIENCE) is not None
        flat(broker, before, 2)
        worker.stop()
    assert broker.stop() == 0
    counts["jobs"] += jobs


async def test_a_worker_that_goes_on_saying_it_is_there_and_does_not_read_loses_its_jobs_too(
    site: Site, counts: Counter[str]
) -> None:
    site.broker(*SHORT)
    await _is_given_up(site, PATIENCE)
    counts["jobs"] += 60


@catches("deaf_worker_kept")
async def test_a_broker_that_believes_who_does_not_read_is_found(site: Site, mutant: str) -> None:
    site.broker(*SHORT, mutant=mutant)
    with pytest.raises(AssertionError, match="the broker to give it up"):
        await _is_given_up(site, 5)


async def _is_given_up(site: Site, seconds: float) -> None:
    """Fails when a worker that beats and does not read has its jobs after so long."""
    async with deaf(site.address, 1) as (one,):
        call = await one.work("deaf", "tasks.mark", "large")
        await asyncio.to_thread(submit, site, 60, "large")
        until(lambda: site.wire.counts("large").running, "it to be given jobs")
        beating = asyncio.create_task(_beat(call))
        try:
            gone = lambda: not any(each.connected for each in site.wire.workers().values())  # noqa: E731
            await asyncio.to_thread(until, gone, "the broker to give it up", seconds)
            await asyncio.to_thread(until, lambda: not site.wire.counts("large").running, "its jobs to be queued again")
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)


async def _beat(call: object) -> None:
    """Heartbeats, whatever comes."""
    number = 1
    while True:
        number += 1
        await call.write(worker_pb2.WorkRequest(number=number, heartbeat=True))  # type: ignore[attr-defined]
        await asyncio.sleep(0.2)


async def test_those_who_wait_and_do_not_read_cost_little(site: Site, counts: Counter[str]) -> None:
    broker = site.broker()
    await _waiters_cost_little(site, broker, amount(6, 60))
    counts["connections"] += amount(6, 60)


async def test_those_who_follow_and_do_not_read_cost_little(site: Site, counts: Counter[str]) -> None:
    broker = site.broker()
    await _followers_cost_little(site, broker, amount(6, 60))
    counts["connections"] += amount(6, 60)


@catches("answers_hoarded")
@pytest.mark.parametrize("who", ["waiters", "followers"])
async def test_a_broker_that_keeps_what_nobody_reads_is_found(site: Site, mutant: str, who: str) -> None:
    broker = site.broker(mutant=mutant)
    with pytest.raises(AssertionError, match="bytes more"):
        await (_waiters_cost_little(site, broker, 6) if who == "waiters" else _followers_cost_little(site, broker, 6))


async def _waiters_cost_little(site: Site, broker: Daemon, streams: int) -> None:
    """Fails when results that nobody reads pile up: far more than may be held is on offer."""
    ids = await asyncio.to_thread(submit, site, OFFERED // LARGE, "large", 1)
    await _finish(site, len(ids), "large")
    before = footprint(broker.pid).anonymous
    async with deaf(site.address, streams) as them:
        for each in them:
            await each.wait(ids)
        await _is_flat(site, broker, before, streams)
    await _is_left(broker)


async def _followers_cost_little(site: Site, broker: Daemon, streams: int) -> None:
    """The same with events: those of jobs with the longest ids."""
    await asyncio.to_thread(_say_much, site)
    before = footprint(broker.pid).anonymous
    async with deaf(site.address, streams) as them:
        for each in them:
            await each.follow()
        await _is_flat(site, broker, before, streams)
    await _is_left(broker)


async def _is_flat(site: Site, broker: Daemon, before: int, streams: int) -> None:
    """Fails when it grows by more than the streams may hold, up to the time when it rests."""
    assert QUIET + streams * UNREAD < streams * OFFERED * 3 // 4, "what is on offer is more than what may be held"
    used, slowest = -1.0, 0.0
    while (now := spent(broker.pid)) - used > RESTING:
        used = now
        slowest = max(slowest, site.wire.health(PATIENCE))
        flat(broker, before, streams, more=QUIET)
        await asyncio.sleep(0.5)
    flat(broker, before, streams, more=QUIET)
    assert slowest < SERVED


async def _is_left(broker: Daemon) -> None:
    """The streams are gone from a broker, and it stops as ever."""
    await asyncio.to_thread(until, lambda: footprint(broker.pid).descriptors < 30, "them to be gone", 60)
    assert broker.stop() == 0


async def _finish(site: Site, count: int, queue: str) -> None:
    """A worker that succeeds with so many jobs, each with a large result."""
    async with grpc.aio.insecure_channel(site.address, options=OPTIONS) as channel:
        stub: Any = worker_pb2_grpc.WorkerStub(channel)
        worker = WireWorker(stub.Work(timeout=PATIENCE), "done", tasks=["tasks.mark"], queues=[queue])
        await worker.start(slots=1, window=50, fast=["tasks.mark"])
        last = 0
        while count:
            tokens = [token for _, token in await worker.delivered()]
            last = await worker.succeed(*tokens, result=b'"' + b"x" * LARGE + b'"')
            count -= len(tokens)
        await worker.acked(last)


def _say_much(site: Site) -> None:
    """Events: of jobs that come, and of their end at once."""
    texts = [f"{number:06}".ljust(128, "\u20ac") for number in range(OFFERED // 2 // 370)]
    for first in range(0, len(texts), 5000):
        some = job_pb2.Ids(texts=texts[first : first + 5000])
        batch = job_pb2.JobBatch(
            task="tasks.mark", queue="told", format="json", ids=some, args=[b"[[],{}]"] * len(some.texts)
        )
        site.wire.queue.Enqueue(queue_pb2.EnqueueRequest(batches=[batch]), timeout=PATIENCE)
        site.wire.queue.Cancel(queue_pb2.CancelRequest(ids=some), timeout=PATIENCE)


async def test_who_submits_and_does_not_read_the_answers_costs_little(site: Site, counts: Counter[str]) -> None:
    broker = site.broker(*SHORT)
    before = footprint(broker.pid).anonymous
    most = amount(4, 20)
    async with deaf(site.address, most) as them:
        writers = [asyncio.create_task(_flood(await each.submit())) for each in them]
        await asyncio.wait(writers, timeout=amount(2, 20))
        assert site.wire.health(PATIENCE) < SERVED
        flat(broker, before, most, SUBMITS)
        for writer in writers:
            writer.cancel()
        await asyncio.gather(*writers, return_exceptions=True)
    assert broker.stop() == 0
    counts["connections"] += most


async def _flood(call: object) -> None:
    """Requests of half a megabyte, whose answers soon fill the way back: a long reason for each of a hundred jobs."""
    for number in range(1, 400):
        bad = [
            job_pb2.JobBatch(task="t" * 500, queue="q" * 900, format="json", ids=_column([uuid4()]), args=[b"x" * 5000])
            for _ in range(100)
        ]
        request = queue_pb2.EnqueueRequest(batches=bad)
        await call.write(queue_pb2.EnqueueStreamRequest(call=number, request=request))  # type: ignore[attr-defined]


def _column(ids: list[UUID]) -> job_pb2.Ids:
    return job_pb2.Ids(uuids=b"".join(each.bytes for each in ids))
