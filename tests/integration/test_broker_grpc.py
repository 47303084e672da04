"""The broker over a real socket: a job's whole way, and everything a call can be refused for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
from grpc.aio import AioRpcError
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.integration.broker_harness import SECONDS, TASK, Site, column, error_of, request, running

from tqbroker.v1 import admin_pb2, errors_pb2, job_pb2, queue_pb2, worker_pb2


@pytest.fixture(params=["memory:", ""], ids=["memory", "lmdb"])
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    """A broker on each storage engine."""
    async with running(tmp_path, request.param) as site:
        yield site


async def test_a_job_goes_to_a_worker_and_its_result_is_pushed_back(site: Site) -> None:
    worker = site.attach()
    await worker.start()
    (job,) = await site.enqueue()
    ((delivered, token),) = await worker.delivered()
    assert delivered == job
    assert (await site.status(job)).state == job_pb2.STATE_RUNNING
    waiting = asyncio.create_task(site.wait([job]))
    number = await worker.succeed(token)
    assert (await waiting)[job].result == b"8"
    await worker.acked(number)


async def test_a_wait_for_what_has_ended_or_was_never_seen_is_answered_at_once(site: Site) -> None:
    worker = site.attach()
    await worker.start()
    (job,) = await site.enqueue()
    ((_, token),) = await worker.delivered()
    await worker.acked(await worker.succeed(token))
    never = uuid4()
    statuses = await site.wait([job, never])
    assert statuses[job].state == job_pb2.STATE_SUCCEEDED
    assert statuses[never].state == job_pb2.STATE_UNKNOWN


async def test_thousands_of_jobs_flow_through_one_stream(site: Site) -> None:
    worker = site.attach()
    await worker.start(slots=2, window=500, fast=[TASK])
    jobs = await site.enqueue(3000)
    waiting = asyncio.create_task(site.wait(jobs))
    done = 0
    while done < len(jobs):
        pairs = await worker.delivered()
        done += len(pairs)
        await worker.succeed(*(token for _, token in pairs))
    statuses = await waiting
    assert {status.state for status in statuses.values()} == {job_pb2.STATE_SUCCEEDED}
    assert len(statuses) == len(jobs)


async def test_stream_and_unary_enqueue_answer_the_same(site: Site) -> None:
    first, second = uuid4(), uuid4()
    call = site.queue.EnqueueStream(timeout=SECONDS)
    requests = [request([first]), request([first]), request([first], args=b"other"), request([second])]
    for number, each in enumerate(requests):
        await call.write(queue_pb2.EnqueueStreamRequest(call=number, request=each))
    await call.done_writing()
    answers = {answer.call: answer async for answer in call}
    assert [answers[n].response.stored for n in range(4)] == [1, 0, 0, 1]
    assert answers[1].response.exceptions[0].duplicate
    assert answers[2].response.exceptions[0].error.reason == errors_pb2.REASON_ID_CONFLICT
    unary = await site.queue.Enqueue(requests[2], timeout=SECONDS)
    assert unary.exceptions[0].error == answers[2].response.exceptions[0].error


async def test_one_bad_job_does_not_harm_the_others_of_its_request(site: Site) -> None:
    ids = [uuid4() for _ in range(3)]
    whole = request(ids)
    whole.batches[0].args[1] = b"x" * (1 << 20) + b"x"
    whole.batches.add().CopyFrom(request([uuid4()], priority=12).batches[0])
    response = await site.queue.Enqueue(whole, timeout=SECONDS)
    assert response.stored == 2
    reasons = {(item.batch, item.index): item.error.reason for item in response.exceptions}
    assert reasons == {(0, 1): errors_pb2.REASON_TOO_LARGE, (1, 0): errors_pb2.REASON_INVALID}
    assert (await site.status(ids[2])).state == job_pb2.STATE_QUEUED


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"priority": 10}, "priority"),
        ({"task": ""}, "task"),
        ({"task": "a\nb"}, "task"),
        ({"queue": "q" * 129}, "queue"),
        ({"format": ""}, "format"),
        ({"countdown_ms": 1, "eta_unix_ms": 1}, "countdown and eta"),
        ({"expires_in_ms": 1, "expires_unix_ms": 1}, "expires"),
        ({"eta_unix_ms": 1 << 63}, "year 9999"),
    ],
)
async def test_what_a_job_may_not_be_is_said_in_words(site: Site, change: dict[str, Any], words: str) -> None:
    response = await site.queue.Enqueue(request([uuid4()], **change), timeout=SECONDS)
    (item,) = response.exceptions
    assert item.error.reason == errors_pb2.REASON_INVALID
    assert words in item.error.message


async def test_a_malformed_request_is_refused_as_a_whole_with_its_reason(site: Site) -> None:
    broken = request([uuid4()])
    broken.batches[0].args.append(b"one too many")
    with pytest.raises(AioRpcError) as failure:
        await site.queue.Enqueue(broken, timeout=SECONDS)
    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error_of(failure.value).reason == errors_pb2.REASON_INVALID


async def test_ids_that_are_not_uuids_keep_their_text_and_order(site: Site) -> None:
    worker = site.attach()
    await worker.start(slots=9)
    mixed = request([uuid4()])
    mixed.batches[0].ids.texts.extend(["order-1", "order-2"])
    mixed.batches[0].args.extend([b"1", b"2"])
    assert (await site.queue.Enqueue(mixed, timeout=SECONDS)).stored == 3
    response = await worker.until(lambda seen: seen.deliveries)
    assert [list(batch.ids.texts) for batch in response.deliveries] == [[], ["order-1", "order-2"]]
    assert [list(batch.args)[-1] for batch in response.deliveries] == [b"[[4,4],{}]", b"2"]


async def test_a_cancel_stops_what_waits_and_tells_who_runs(site: Site) -> None:
    worker = site.attach()
    await worker.start()
    running_job, waiting_job = await site.enqueue(2)
    ((_, token),) = await worker.delivered()
    ids = column([running_job, waiting_job, uuid4()])
    response = await site.queue.Cancel(queue_pb2.CancelRequest(ids=ids), timeout=SECONDS)
    assert list(response.effects) == [
        queue_pb2.CANCEL_EFFECT_RUNNING,
        queue_pb2.CANCEL_EFFECT_CANCELLED,
        queue_pb2.CANCEL_EFFECT_UNKNOWN,
    ]
    told = await worker.until(lambda seen: seen.cancelled)
    assert list(told.cancelled) == [token]
    assert (await site.wait([waiting_job]))[waiting_job].state == job_pb2.STATE_CANCELLED


async def test_a_failure_comes_back_as_it_was_told(site: Site) -> None:
    worker = site.attach()
    await worker.start()
    (job,) = await site.enqueue()
    ((_, token),) = await worker.delivered()
    failure = job_pb2.Failure(type="ValueError", module="builtins", message="no", traceback="tasks.py:3")
    await worker.send(endings=[worker_pb2.Ending(token=token, verdict=worker_pb2.VERDICT_FAILED, failure=failure)])
    status = (await site.wait([job]))[job]
    assert status.state == job_pb2.STATE_FAILED
    assert status.failure == failure


async def test_a_result_above_the_limit_fails_the_job_in_words(site: Site) -> None:
    worker = site.attach()
    await worker.start()
    (job,) = await site.enqueue()
    ((_, token),) = await worker.delivered()
    await worker.succeed(token, result=b"x" * ((1 << 20) + 1))
    status = (await site.wait([job]))[job]
    assert status.state == job_pb2.STATE_FAILED
    assert status.failure.type == "ResultTooLarge"


async def test_an_outcome_without_a_lease_is_refused(site: Site) -> None:
    worker = site.attach()
    await worker.start()
    number = await worker.succeed(12345)
    response = await worker.acked(number)
    assert [(r.token, r.error.reason) for r in response.refused] == [(12345, errors_pb2.REASON_LEASE_LOST)]


async def test_a_worker_of_another_store_holds_nothing_here(site: Site) -> None:
    held = worker_pb2.Held(ids=column([uuid4()]), tokens=[77])
    worker = site.attach(store=b"another", held=held)
    await worker.send(hello=worker.hello)
    response = await worker.until(lambda seen: seen.HasField("welcome"))
    assert list(response.welcome.lost) == [77]
    assert [r.error.reason for r in response.refused] == [errors_pb2.REASON_OTHER_STORE]


async def test_a_name_in_use_is_refused(site: Site) -> None:
    await site.attach(instance=b"1" * 16).start()
    second = site.attach(instance=b"2" * 16)
    with pytest.raises(AioRpcError) as failure:
        await second.start()
    assert failure.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert error_of(failure.value).reason == errors_pb2.REASON_NAME_TAKEN


async def test_a_broken_stream_comes_back_and_goes_on(site: Site) -> None:
    worker = site.attach()
    welcome = await worker.start()
    (job,) = await site.enqueue()
    ((_, token),) = await worker.delivered()
    worker.call.cancel()
    held = worker_pb2.Held(ids=column([job]), tokens=[token])
    back = site.attach(store=welcome.store, held=held)
    again = await back.start()
    assert list(again.lost) == []
    await back.acked(await back.succeed(token))
    assert (await site.status(job)).state == job_pb2.STATE_SUCCEEDED


async def test_a_worker_that_leaves_ends_its_stream_and_gives_back(site: Site) -> None:
    worker = site.attach()
    await worker.start(slots=2)
    jobs = await site.enqueue(2)
    pairs = await worker.delivered()
    while len(pairs) < 2:
        pairs += await worker.delivered()
    number = await worker.succeed(pairs[0][1])
    await worker.send(returned=[pairs[1][1]], leaving=True)
    await worker.acked(number)
    await worker.ended()
    assert await worker.call.code() is grpc.StatusCode.OK
    assert (await site.admin.ListWorkers(admin_pb2.ListWorkersRequest(), timeout=SECONDS)).workers == []
    states = sorted([(await site.status(job)).state for job in jobs])
    assert states == [job_pb2.STATE_QUEUED, job_pb2.STATE_SUCCEEDED]


async def test_a_heartbeat_is_answered(site: Site) -> None:
    worker = site.attach()
    await worker.start()
    await worker.send(heartbeat=True)
    assert (await worker.until(lambda seen: seen.heartbeat)).heartbeat


async def anything_else(call: Any) -> None:
    """Reads whatever still comes."""
    while await call.read():
        pass


@pytest.mark.parametrize(
    "message",
    [
        worker_pb2.WorkRequest(number=1, heartbeat=True),
        worker_pb2.WorkRequest(number=1, hello=worker_pb2.Hello(name="", instance=b"i" * 16)),
        worker_pb2.WorkRequest(number=1, hello=worker_pb2.Hello(name="w", instance=b"short")),
        worker_pb2.WorkRequest(number=0, hello=worker_pb2.Hello(name="w", instance=b"i" * 16)),
        worker_pb2.WorkRequest(
            number=1,
            hello=worker_pb2.Hello(name="w", instance=b"i" * 16),
            successes=[worker_pb2.Successes(tokens=[1, 2], results=[b""])],
        ),
        worker_pb2.WorkRequest(
            number=1, hello=worker_pb2.Hello(name="w", instance=b"i" * 16), endings=[worker_pb2.Ending(token=1)]
        ),
    ],
)
async def test_a_worker_that_breaks_the_protocol_is_told_so(site: Site, message: worker_pb2.WorkRequest) -> None:
    call = site.worker.Work(timeout=SECONDS)
    await call.write(message)
    with pytest.raises(AioRpcError) as failure:
        await anything_else(call)
    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error_of(failure.value).reason == errors_pb2.REASON_INVALID


async def test_forgotten_results_are_gone_but_their_ids_are_known(site: Site) -> None:
    worker = site.attach()
    await worker.start()
    (job,) = await site.enqueue()
    ((_, token),) = await worker.delivered()
    await worker.acked(await worker.succeed(token))
    response = await site.queue.Forget(queue_pb2.ForgetRequest(ids=column([job])), timeout=SECONDS)
    assert response.forgotten == 1
    status = await site.status(job)
    assert (status.state, status.forgotten) == (job_pb2.STATE_UNKNOWN, True)


async def test_the_operator_sees_queues_workers_and_why_a_job_waits(site: Site) -> None:
    worker = site.attach(queues=["mail"])
    await worker.start()
    (job,) = await site.enqueue()
    queues = await site.admin.ListQueues(admin_pb2.ListQueuesRequest(), timeout=SECONDS)
    assert [(queue.name, queue.queued) for queue in queues.queues] == [("default", 1)]
    workers = await site.admin.ListWorkers(admin_pb2.ListWorkersRequest(), timeout=SECONDS)
    assert [(each.name, each.connected, list(each.queues)) for each in workers.workers] == [("w1", True, ["mail"])]
    found = await site.admin.GetJob(admin_pb2.GetJobRequest(id=str(job)), timeout=SECONDS)
    assert found.job.waits_for == "no worker takes queue default"
    assert found.job.args == b"[[4,4],{}]"
    broker = await site.admin.GetBroker(admin_pb2.GetBrokerRequest(), timeout=SECONDS)
    assert broker.version
    assert broker.durability == site.server.core.engine.durability


async def test_health_answers_for_the_whole_and_for_each_service(site: Site) -> None:
    stub: Any = health_pb2_grpc.HealthStub(site.channel)
    for name in ("", "tqbroker.v1.Queue", "tqbroker.v1.Worker", "tqbroker.v1.Admin"):
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=SECONDS)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_stopping_broker_tells_its_workers_and_keeps_their_last_outcomes(tmp_path: Path) -> None:
    async with running(tmp_path) as site:
        worker = site.attach()
        await worker.start()
        stopping = asyncio.create_task(site.server.stop())
        await worker.until(lambda seen: seen.stopping)
        await stopping
        with pytest.raises(AioRpcError) as failure:
            await site.queue.Enqueue(request([uuid4()]), timeout=1)
        assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
