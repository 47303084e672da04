"""What calls say beside their arguments, against a real broker: unique and idempotent jobs, full queues, traits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.broker_harness import SECONDS, Site, running

from tqbroker import App, AsyncResult, Task
from tqbroker.exceptions import BatchError, NotUniqueError, OperationalError, QueueFull
from tqbroker.v1 import admin_pb2, job_pb2


@pytest.fixture(params=["memory:", ""], ids=["memory", "lmdb"])
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    """A broker on each storage engine."""
    async with running(tmp_path, request.param) as site:
        yield site


@pytest.fixture
async def app(site: Site) -> AsyncIterator[App]:
    app = App("tasks", broker=f"tq://{site.address}", submit_timeout=SECONDS)
    yield app
    await app.aclose()
    await asyncio.to_thread(app.close)


def add(x: int, y: int = 0) -> int:
    return x + y


async def known(site: Site, result: AsyncResult[Any]) -> job_pb2.JobStatus:
    response = await site.admin.GetJob(admin_pb2.GetJobRequest(id=result.id), timeout=SECONDS)
    job: job_pb2.JobStatus = response.job
    return job


async def test_a_second_job_with_the_same_arguments_is_refused_and_names_the_first(app: App) -> None:
    task: Task[..., int] = app.task(unique_until="finished")(add)
    first = await task.adelay(1, y=2)
    with pytest.raises(NotUniqueError, match=first.id) as caught:
        await task.adelay(1, y=2)

    assert caught.value.holder == first
    assert await task.adelay(1, y=3) != first
    with pytest.raises(NotUniqueError):
        await asyncio.to_thread(task.apply_async, (1,), {"y": 2})


async def test_a_chosen_key_stands_for_the_arguments_and_the_order_of_keywords_does_not_matter(app: App) -> None:
    task = app.task(unique_for=60)(add)
    await task.aapply_async((1,), unique_key="k")
    await task.aapply_async(kwargs={"x": 5, "y": 6})

    with pytest.raises(NotUniqueError):
        await task.aapply_async((2,), unique_key="k")
    with pytest.raises(NotUniqueError):
        await task.aapply_async(kwargs={"y": 6, "x": 5})


async def test_a_kept_job_is_the_result_of_each_call_also_in_a_batch_and_of_many(app: App) -> None:
    task = app.task(unique_until="finished", unique_on_conflict="keep")(add)
    first = await task.adelay(1)

    assert await task.adelay(1) == first
    async with app.batch():
        same, other = await task.adelay(1), await task.adelay(2)
    assert (same, other == first) == (first, False)
    many = await asyncio.to_thread(task.delay_many, [(1,), (2,), (3,)])
    assert many[:2] == [first, other]
    assert len(set(many)) == 3


async def test_a_waiting_job_is_replaced_when_asked_for(site: Site, app: App) -> None:
    task = app.task(unique_until="finished", unique_on_conflict="replace")(add)
    first, second = await task.adelay(1), await task.adelay(1)

    assert (await known(site, first)).state == job_pb2.STATE_CANCELLED
    assert (await known(site, second)).state == job_pb2.STATE_QUEUED


async def test_of_a_batch_only_the_jobs_that_are_not_unique_are_refused(app: App) -> None:
    task = app.task(unique_until="finished")(add)
    first = await task.adelay(1)
    with pytest.raises(BatchError) as caught:
        await asyncio.to_thread(task.delay_many, [(1,), (2,)])

    assert len(caught.value.stored) == 1
    assert len(caught.value.rejected_ids) == 1
    assert first not in caught.value.stored


async def test_an_idempotency_key_makes_the_same_call_the_same_job(app: App) -> None:
    task = app.task(name="tasks.add")(add)
    first = await task.aapply_async((1,), idempotency_key="order-7")

    assert first.id[14] == "8"
    assert await task.aapply_async((1,), idempotency_key="order-7") == first
    assert await app.asend_task("tasks.add", (1,), idempotency_key="order-7") == first
    assert await app.asend_task("tasks.other", (1,), idempotency_key="order-7") != first
    with pytest.raises(OperationalError, match=r"idempotency_key 'order-7' was used for a call of tasks\.add"):
        await task.aapply_async((2,), idempotency_key="order-7")


async def test_a_full_queue_is_an_error_of_its_own(site: Site, app: App) -> None:
    change = admin_pb2.SetQueueRequest(queue="small", max_length=1, overflow=admin_pb2.OVERFLOW_REFUSE)
    await site.admin.SetQueue(change, timeout=SECONDS)
    task = app.task(queue="small")(add)
    await task.adelay(1)

    with pytest.raises(QueueFull, match="QUEUE_FULL") as caught:
        await task.adelay(2)
    assert caught.value.rejected


async def test_every_trait_arrives_at_the_broker(site: Site, app: App) -> None:
    task = app.task(tenant="acme", limits=["b", "a"], requires="gpu", time_limit=60)(add)
    result = await task.aapply_async(
        (1,), ordering_key="k", stamps={"order": 7}, shadow="adding", time_limit=9, soft_time_limit=8.5
    )
    traits = (await known(site, result)).traits

    assert (traits.tenant, traits.ordering_key, traits.shadow) == ("acme", "k", "adding")
    assert (list(traits.limits), list(traits.requires), list(traits.stamps)) == (["a", "b"], ["gpu"], ["order=7"])
    assert (traits.time_limit_ms, traits.soft_time_limit_ms) == (9000, 8500)


async def test_a_compressed_call_is_stored_as_it_was_sent(site: Site, app: App) -> None:
    result = await app.task(compression="gzip")(add).adelay(1)
    response = await site.admin.ListJobs(admin_pb2.ListJobsRequest(with_args=True), timeout=SECONDS)

    assert [(job.format, job.uuid.hex()) for job in response.jobs] == [("json+zlib", result.id.replace("-", ""))]
