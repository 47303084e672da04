"""Why a job waits, as an operator reads it, on both engines and over real streams."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest
from tests.integration.broker_harness import SECONDS, Site, running

from tqbroker.v1 import admin_pb2 as pb
from tqbroker.v1 import job_pb2, worker_pb2


@pytest.fixture(params=["memory:", ""], ids=["memory", "lmdb"])
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    """A broker on each storage engine."""
    async with running(tmp_path, request.param) as site:
        yield site


async def why(site: Site, job: UUID) -> str:
    """What GetJob says, which is what ListJobs says too."""
    one = (await site.admin.GetJob(pb.GetJobRequest(id=str(job)), timeout=SECONDS)).job.waits_for
    listed = (await site.admin.ListJobs(pb.ListJobsRequest(), timeout=SECONDS)).jobs
    assert {UUID(bytes=each.uuid): each.waits_for for each in listed}[job] == one
    return str(one)


async def test_paused(site: Site) -> None:
    await site.attach().start()
    await site.admin.SetQueue(pb.SetQueueRequest(queue="default", paused=True), timeout=SECONDS)
    (job,) = await site.enqueue()
    assert await why(site, job) == "paused"


@pytest.mark.parametrize(
    "rule",
    [
        worker_pb2.LimitRule(name="mail", concurrency=1),
        worker_pb2.LimitRule(name="mail", rates=[worker_pb2.Rate(count=1, period_ms=60_000)]),
        worker_pb2.LimitRule(name="ma*", concurrency=1),
    ],
)
async def test_a_limit(site: Site, rule: worker_pb2.LimitRule) -> None:
    worker = site.attach()
    await worker.start(slots=5)
    await site.admin.SetLimits(pb.SetLimitsRequest(set=[rule]), timeout=SECONDS)
    first, second = await site.enqueue(2, traits=job_pb2.Traits(limits=["mail"]))
    assert [job for job, _ in await worker.delivered()] == [first]
    assert await why(site, second) == "limit mail"


async def test_an_ordering_key(site: Site) -> None:
    worker = site.attach()
    await worker.start(slots=5)
    first, second = await site.enqueue(2, traits=job_pb2.Traits(ordering_key="order-7"))
    ((_, token),) = await worker.delivered()
    assert await why(site, second) == "ordering key order-7"
    await worker.succeed(token)
    assert [job for job, _ in await worker.delivered()] == [second]
    assert await why(site, first) == ""


async def test_workers_that_cannot_have_it(site: Site) -> None:
    (job,) = await site.enqueue(traits=job_pb2.Traits(requires=["gpu", "region=eu"]))
    assert await why(site, job) == "no worker knows tasks.add"
    await site.attach("w1", instance=b"1" * 16, queues=["mail"]).start()
    assert await why(site, job) == "no worker takes queue default"
    await site.attach("w2", instance=b"2" * 16, tasks=["tasks.other"]).start()
    assert await why(site, job) == "no worker of queue default knows tasks.add"
    await site.attach("w3", instance=b"3" * 16, labels=["gpu"]).start()
    assert await why(site, job) == "no worker has the labels gpu, region=eu"
    await site.attach("w4", instance=b"4" * 16, labels=["gpu", "region=eu"]).start(slots=0)
    assert await why(site, job) == ""


async def test_recovering(tmp_path: Path) -> None:
    async with running(tmp_path, "") as site:
        await site.attach().start(slots=0)
        (job,) = await site.enqueue()
    async with running(tmp_path, "") as site:
        assert await why(site, job) == "recovering"
