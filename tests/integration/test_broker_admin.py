"""What operators list, change and rule, over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest
from grpc.aio import AioRpcError
from tests.integration.broker_harness import SECONDS, TASK, Site, WireWorker, column, error_of, running

from tqbroker.v1 import admin_pb2 as pb
from tqbroker.v1 import errors_pb2, job_pb2, worker_pb2


@pytest.fixture(params=["memory:", ""], ids=["memory", "lmdb"])
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    """A broker on each storage engine."""
    async with running(tmp_path, request.param) as site:
        yield site


async def found(site: Site, limit: int = 0, **wanted: Any) -> list[job_pb2.JobStatus]:
    """All jobs that match, page by page."""
    jobs: list[job_pb2.JobStatus] = []
    cursor = b""
    while True:
        request = pb.ListJobsRequest(filter=pb.JobFilter(**wanted), cursor=cursor, limit=limit)
        response = await site.admin.ListJobs(request, timeout=SECONDS)
        jobs += response.jobs
        cursor = response.cursor
        if not cursor:
            return jobs


def ids(jobs: list[job_pb2.JobStatus]) -> set[UUID]:
    return {UUID(bytes=job.uuid) for job in jobs}


async def edit(site: Site, **fields: Any) -> pb.EditJobsResponse:
    response: pb.EditJobsResponse = await site.admin.EditJobs(pb.EditJobsRequest(**fields), timeout=SECONDS)
    return response


async def refusal(call: Any) -> errors_pb2.Error:
    with pytest.raises(AioRpcError) as failure:
        await call
    return error_of(failure.value)


async def fail(site: Site, worker: WireWorker, job: UUID, kind: str = "ValueError") -> None:
    """Lets a job become a dead letter."""
    ((delivered, token),) = await worker.delivered()
    assert delivered == job
    failure = job_pb2.Failure(type=kind, module="builtins", message="no")
    await worker.acked(
        await worker.send(endings=[worker_pb2.Ending(token=token, verdict=worker_pb2.VERDICT_FAILED, failure=failure)])
    )


# -- listing -----------------------------------------------------------------------------------------------------------


async def test_jobs_are_listed_by_what_is_asked_for_a_page_at_a_time(site: Site) -> None:
    mail = await site.enqueue(5, queue="mail")
    other = await site.enqueue(3, task="tasks.other", traits=job_pb2.Traits(stamps=["customer=12"]))
    later = await site.enqueue(1, countdown_ms=60_000)
    assert ids(await found(site, limit=2)) == {*mail, *other, *later}
    assert ids(await found(site, queue="mail")) == set(mail)
    assert ids(await found(site, stamps=["customer=12"])) == set(other)
    assert ids(await found(site, states=[job_pb2.STATE_SCHEDULED])) == set(later)
    assert await found(site, task="tasks.nobody") == []


async def test_a_page_has_no_more_jobs_than_asked_for(site: Site) -> None:
    await site.enqueue(5)
    response = await site.admin.ListJobs(pb.ListJobsRequest(limit=3), timeout=SECONDS)
    assert len(response.jobs) == 3
    assert response.cursor


async def test_arguments_are_listed_on_request_and_large_ones_make_short_pages(site: Site) -> None:
    large = b"x" * (1 << 20)
    for _ in range(5):
        await site.enqueue(2, args=large)
    plain = await site.admin.ListJobs(pb.ListJobsRequest(), timeout=SECONDS)
    assert len(plain.jobs) == 10
    assert {job.args for job in plain.jobs} == {b""}
    page = await site.admin.ListJobs(pb.ListJobsRequest(with_args=True), timeout=SECONDS)
    assert 0 < len(page.jobs) < 10
    assert {job.args for job in page.jobs} == {large}
    rest = await site.admin.ListJobs(pb.ListJobsRequest(with_args=True, cursor=page.cursor), timeout=SECONDS)
    assert not ids(page.jobs) & ids(rest.jobs)


@pytest.mark.parametrize(
    "request_",
    [
        pb.ListJobsRequest(limit=1001),
        pb.ListJobsRequest(cursor=b"x" * 2000),
        pb.ListJobsRequest(filter=pb.JobFilter(queue="a\nb")),
        pb.ListJobsRequest(filter=pb.JobFilter(states=[job_pb2.STATE_UNKNOWN])),
    ],
)
async def test_a_listing_that_breaks_a_rule_is_refused(site: Site, request_: pb.ListJobsRequest) -> None:
    assert (await refusal(site.admin.ListJobs(request_, timeout=SECONDS))).reason == errors_pb2.REASON_INVALID


# -- editing -----------------------------------------------------------------------------------------------------------


async def test_a_dead_letter_is_redriven_with_other_arguments(site: Site) -> None:
    worker = site.attach()
    await worker.start()
    (job,) = await site.enqueue()
    await fail(site, worker, job)
    (answer,) = (await edit(site, ids=column([job]), redrive=pb.Redrive(args=b"[[1],{}]"))).jobs
    assert (answer.id, answer.effect, answer.refusal) == (str(job), "redriven", "")
    (batch,) = (await worker.until(lambda seen: seen.deliveries)).deliveries
    assert list(batch.args) == [b"[[1],{}]"]


async def test_dead_letters_are_found_by_their_error_and_redriven_with_spacing(site: Site) -> None:
    worker = site.attach()
    await worker.start()
    jobs = []
    for kind in ("ValueError", "KeyError", "ValueError"):
        (job,) = await site.enqueue()
        await fail(site, worker, job, kind)
        jobs.append(job)
    await worker.send(credit=worker_pb2.Credit())
    response = await edit(
        site, filter=pb.JobFilter(error="ValueError"), redrive=pb.Redrive(spacing_ms=60_000), already=1
    )
    assert {each.id for each in response.jobs} == {str(jobs[0]), str(jobs[2])}
    assert {each.effect for each in response.jobs} == {"redriven"}
    assert response.cursor == b""
    scheduled = await found(site, states=[job_pb2.STATE_SCHEDULED])
    assert len({job.due_unix_ms for job in scheduled}) == 2
    assert (await site.status(jobs[1])).state == job_pb2.STATE_FAILED


async def test_a_dry_run_answers_the_same_and_changes_nothing(site: Site) -> None:
    waiting, other = await site.enqueue(2)
    (scheduled,) = await site.enqueue(countdown_ms=60_000)
    never = uuid4()
    order: dict[str, Any] = {"ids": column([waiting, scheduled, never]), "cancel": pb.Cancel()}
    dry = await edit(site, **order, dry_run=True)
    assert (await site.status(waiting)).state == job_pb2.STATE_QUEUED
    wet = await edit(site, **order)
    assert list(dry.jobs) == list(wet.jobs)
    assert [(each.effect, bool(each.refusal)) for each in wet.jobs] == [
        ("cancelled", False), ("cancelled", False), ("", True)
    ]  # fmt: skip
    assert (await site.status(waiting)).state == job_pb2.STATE_CANCELLED
    assert (await site.status(other)).state == job_pb2.STATE_QUEUED


async def test_each_change_refuses_what_it_is_not_for(site: Site) -> None:
    worker = site.attach()
    await worker.start()
    running_job, waiting = await site.enqueue(2)
    await worker.delivered()
    both = column([running_job, waiting])
    redriven = await edit(site, ids=both, redrive=pb.Redrive())
    assert [each.effect for each in redriven.jobs] == ["", ""]
    assert "only what is FAILED" in redriven.jobs[1].refusal
    moved = await edit(site, ids=both, move=pb.Move(queue="mail", priority=3))
    assert [each.effect for each in moved.jobs] == ["", "moved"]
    assert "a worker has it" in moved.jobs[0].refusal
    status = await site.status(waiting)
    assert (status.queue, status.priority) == ("mail", 3)


async def test_jobs_are_moved_by_filter_to_the_end_and_each_once(site: Site) -> None:
    jobs = await site.enqueue(5)
    seen: list[str] = []
    cursor = b""
    while True:
        response = await edit(site, filter=pb.JobFilter(task=TASK), cursor=cursor, limit=2, move=pb.Move(queue="mail"))
        seen += [each.id for each in response.jobs]
        cursor = response.cursor
        if not cursor:
            break
    assert sorted(seen) == sorted(map(str, jobs))
    assert ids(await found(site, queue="mail")) == set(jobs)


async def test_scheduled_jobs_can_run_now(site: Site) -> None:
    worker = site.attach()
    await worker.start()
    (job,) = await site.enqueue(countdown_ms=3_600_000)
    (answer,) = (await edit(site, ids=column([job]), reschedule=pb.Reschedule())).jobs
    assert answer.effect == "rescheduled"
    assert [taken for taken, _ in await worker.delivered()] == [job]


async def test_finished_jobs_are_dropped(site: Site) -> None:
    worker = site.attach()
    await worker.start()
    (job,) = await site.enqueue()
    await fail(site, worker, job)
    response = await edit(site, filter=pb.JobFilter(states=[job_pb2.STATE_FAILED]), drop=pb.Drop())
    assert [each.effect for each in response.jobs] == ["dropped"]
    assert (await site.status(job)).forgotten


async def test_a_cancel_by_filter_ends_what_waits_and_marks_what_runs(site: Site) -> None:
    worker = site.attach()
    await worker.start()
    running_job, waiting = await site.enqueue(2)
    ((_, token),) = await worker.delivered()
    waits = asyncio.create_task(site.wait([waiting]))
    cancel = pb.Cancel(terminate=True, signal="SIGINT")
    response = await edit(site, filter=pb.JobFilter(task=TASK), cancel=cancel)
    effects = {each.id: each.effect for each in response.jobs}
    assert effects == {str(running_job): "cancel requested", str(waiting): "cancelled"}
    told = await worker.until(lambda seen: seen.terminate)
    assert [(each.token, each.signal) for each in told.terminate] == [(token, "SIGINT")]
    assert (await waits)[waiting].state == job_pb2.STATE_CANCELLED


@pytest.mark.parametrize(
    "fields",
    [
        {"drop": pb.Drop()},
        {"ids": job_pb2.Ids(texts=["a"]), "filter": pb.JobFilter(), "drop": pb.Drop()},
        {"ids": job_pb2.Ids(texts=["a"])},
        {"filter": pb.JobFilter(), "limit": 2001, "drop": pb.Drop()},
        {"filter": pb.JobFilter(states=[job_pb2.STATE_QUEUED]), "redrive": pb.Redrive()},
        {"filter": pb.JobFilter(), "redrive": pb.Redrive(args=b"[]")},
        {"filter": pb.JobFilter(), "move": pb.Move(priority=10)},
    ],
)
async def test_an_order_that_makes_no_sense_is_refused(site: Site, fields: dict[str, Any]) -> None:
    assert (await refusal(edit(site, **fields))).reason == errors_pb2.REASON_INVALID


# -- rules -------------------------------------------------------------------------------------------------------------


async def set_queue(site: Site, queue: str, **fields: Any) -> pb.QueueRule:
    response = await site.admin.SetQueue(pb.SetQueueRequest(queue=queue, **fields), timeout=SECONDS)
    rule: pb.QueueRule = response.rule
    return rule


async def test_a_queue_is_paused_and_resumed_and_says_so(site: Site) -> None:
    worker = site.attach()
    await worker.start()
    await set_queue(site, "default", paused=True, weights={"acme": 3})
    (job,) = await site.enqueue()
    assert (await site.status(job)).waits_for == "paused"
    (info,) = (await site.admin.ListQueues(pb.ListQueuesRequest(), timeout=SECONDS)).queues
    assert (info.name, info.queued, info.rule.paused, dict(info.rule.weights)) == ("default", 1, True, {"acme": 3})
    rule = await set_queue(site, "default", paused=False)
    assert (rule.paused, dict(rule.weights)) == (False, {"acme": 3})
    assert [taken for taken, _ in await worker.delivered()] == [job]


async def test_a_queue_with_a_rule_is_listed_before_its_first_job_and_gone_when_deleted(site: Site) -> None:
    await set_queue(site, "new", ttl_ms=5000)
    (info,) = (await site.admin.ListQueues(pb.ListQueuesRequest(), timeout=SECONDS)).queues
    assert (info.name, info.rule.ttl_ms) == ("new", 5000)
    await site.admin.DeleteQueue(pb.DeleteQueueRequest(queue="new"), timeout=SECONDS)
    assert (await site.admin.ListQueues(pb.ListQueuesRequest(), timeout=SECONDS)).queues == []


async def test_a_queue_that_is_not_there_or_not_empty_cannot_be_deleted(site: Site) -> None:
    error = await refusal(site.admin.DeleteQueue(pb.DeleteQueueRequest(queue="nobody's"), timeout=SECONDS))
    assert error.reason == errors_pb2.REASON_NOT_FOUND
    await site.enqueue(queue="mail")
    error = await refusal(site.admin.DeleteQueue(pb.DeleteQueueRequest(queue="mail"), timeout=SECONDS))
    assert error.reason == errors_pb2.REASON_INVALID


@pytest.mark.parametrize("fields", [{"queue": ""}, {"queue": "q", "ttl_ms": 1 << 60}, {"queue": "q", "overflow": 9}])
async def test_a_rule_that_no_queue_can_have_is_refused(site: Site, fields: dict[str, Any]) -> None:
    error = await refusal(site.admin.SetQueue(pb.SetQueueRequest(**fields), timeout=SECONDS))
    assert error.reason == errors_pb2.REASON_INVALID


async def test_limits_are_set_listed_and_removed_and_hold_at_once(site: Site) -> None:
    worker = site.attach()
    await worker.start(slots=9)
    rule = worker_pb2.LimitRule(name="queue:default", concurrency=2)
    await site.admin.SetLimits(pb.SetLimitsRequest(set=[rule]), timeout=SECONDS)
    jobs = await site.enqueue(3)
    assert len(await worker.delivered()) == 2
    assert (await site.status(jobs[2])).waits_for == "limit queue:default"
    (info,) = (await site.admin.ListLimits(pb.ListLimitsRequest(), timeout=SECONDS)).limits
    assert (info.rule, info.source, info.running) == (rule, "operator", 2)
    await site.admin.SetLimits(pb.SetLimitsRequest(remove=["queue:default"]), timeout=SECONDS)
    assert len(await worker.delivered()) == 1


async def test_a_rate_lets_the_next_job_go_when_its_time_has_come(site: Site) -> None:
    worker = site.attach()
    await worker.start(slots=9)
    rule = worker_pb2.LimitRule(name="mail", rates=[worker_pb2.Rate(count=1, period_ms=100)])
    await site.admin.SetLimits(pb.SetLimitsRequest(set=[rule]), timeout=SECONDS)
    clock = asyncio.get_running_loop().time
    began = clock()
    jobs = await site.enqueue(4, traits=job_pb2.Traits(limits=["mail"]))
    got: list[UUID] = []
    while len(got) < 4:
        got += [job for job, _ in await worker.delivered()]
    assert got == jobs
    assert 0.3 <= clock() - began < 1.0


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (pb.SetLimitsRequest(set=[worker_pb2.LimitRule(name="")]), errors_pb2.REASON_INVALID),
        (
            pb.SetLimitsRequest(set=[worker_pb2.LimitRule(name="a", rates=[worker_pb2.Rate(count=1, period_ms=1)])]),
            errors_pb2.REASON_INVALID,
        ),
        (pb.SetLimitsRequest(set=[worker_pb2.LimitRule(name="a")], remove=["a"]), errors_pb2.REASON_INVALID),
        (pb.SetLimitsRequest(remove=["a"]), errors_pb2.REASON_NOT_FOUND),
    ],
)
async def test_a_limit_that_makes_no_sense_is_refused(
    site: Site, request_: pb.SetLimitsRequest, reason: errors_pb2.Reason.ValueType
) -> None:
    assert (await refusal(site.admin.SetLimits(request_, timeout=SECONDS))).reason == reason


async def test_an_unknown_job_is_an_answer_and_not_an_error(site: Site) -> None:
    response = await site.admin.GetJob(pb.GetJobRequest(id=str(uuid4())), timeout=SECONDS)
    assert response.job.state == job_pb2.STATE_UNKNOWN
    with pytest.raises(AioRpcError) as failure:
        await site.admin.GetJob(pb.GetJobRequest(id="x" * 300), timeout=SECONDS)
    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT
