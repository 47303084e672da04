"""Traits over a real socket: refused in words, carried to the worker, and what they do to the answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest
from grpc.aio import AioRpcError
from tests.integration.broker_harness import SECONDS, TASK, Site, column, error_of, request, running

from tqbroker.v1 import admin_pb2, errors_pb2, job_pb2, queue_pb2, worker_pb2
from tqbroker_broker.attempts import Refusal
from tqbroker_broker.storage import StoreFull


@pytest.fixture(params=["memory:", ""], ids=["memory", "lmdb"])
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    """A broker on each storage engine."""
    async with running(tmp_path, request.param) as site:
        yield site


def unique(conflict: job_pb2.UniqueConflict.ValueType) -> dict[str, Any]:
    rule = job_pb2.Unique(until=job_pb2.UNIQUE_UNTIL_FINISHED, conflict=conflict)
    return {"traits": job_pb2.Traits(unique=rule), "unique_keys": [b"k" * 16]}


async def submit(site: Site, job: UUID, **options: Any) -> queue_pb2.EnqueueResponse:
    response: queue_pb2.EnqueueResponse = await site.queue.Enqueue(request([job], **options), timeout=SECONDS)
    return response


async def why(site: Site, job: UUID) -> str:
    response = await site.admin.GetJob(admin_pb2.GetJobRequest(id=str(job)), timeout=SECONDS)
    return str(response.job.waits_for)


async def test_a_delivery_and_a_status_carry_the_traits(site: Site) -> None:
    worker = site.attach(labels=["gpu"])
    await worker.start()
    traits = job_pb2.Traits(
        tenant="acme", requires=["gpu"], stamps=["customer=12"], time_limit_ms=900, soft_time_limit_ms=800, shadow="s"
    )
    (job,) = await site.enqueue(traits=traits, expires_in_ms=60_000)
    response = await worker.until(lambda seen: seen.deliveries)
    (batch,) = response.deliveries
    assert batch.traits == traits
    assert batch.expires_unix_ms[0] > 0
    status = await site.status(job)
    assert (status.state, status.traits) == (job_pb2.STATE_RUNNING, traits)


async def test_a_plain_delivery_has_no_traits(site: Site) -> None:
    worker = site.attach()
    await worker.start()
    await site.enqueue()
    (batch,) = (await worker.until(lambda seen: seen.deliveries)).deliveries
    assert not batch.HasField("traits")
    assert (len(batch.due_unix_ms), len(batch.expires_unix_ms), len(batch.checkpoints)) == (0, 0, 0)


@pytest.mark.parametrize(
    ("traits", "words"),
    [
        (job_pb2.Traits(tenant="t" * 129), "tenant"),
        (job_pb2.Traits(ordering_key="k" * 300), "ordering_key"),
        (job_pb2.Traits(ordering_key="a\x07b"), "ordering_key"),
        (job_pb2.Traits(limits=["mail*"]), "limits"),
        (job_pb2.Traits(stamps=["no value"]), "name=value"),
        (job_pb2.Traits(time_limit_ms=1, soft_time_limit_ms=2), "soft"),
    ],
)
async def test_what_a_trait_may_not_be_refuses_its_batch_and_no_other(
    site: Site, traits: job_pb2.Traits, words: str
) -> None:
    whole = request([uuid4()], traits=traits)
    whole.batches.add().CopyFrom(request([uuid4()]).batches[0])
    response = await site.queue.Enqueue(whole, timeout=SECONDS)
    (item,) = response.exceptions
    assert response.stored == 1
    assert (item.batch, item.error.reason) == (0, errors_pb2.REASON_INVALID)
    assert words in item.error.message


async def test_the_same_job_with_other_traits_is_another_job(site: Site) -> None:
    (job,) = await site.enqueue(traits=job_pb2.Traits(tenant="a"))
    assert (await submit(site, job, traits=job_pb2.Traits(tenant="a"))).exceptions[0].duplicate
    (item,) = (await submit(site, job)).exceptions
    assert item.error.reason == errors_pb2.REASON_ID_CONFLICT


async def test_a_unique_key_that_is_held_refuses_and_names_the_holder(site: Site) -> None:
    (holder,) = await site.enqueue(**unique(job_pb2.UNIQUE_CONFLICT_REJECT))
    (item,) = (await submit(site, uuid4(), **unique(job_pb2.UNIQUE_CONFLICT_REJECT))).exceptions
    assert item.error.reason == errors_pb2.REASON_NOT_UNIQUE
    assert item.error.facts["holder"] == str(holder)
    assert str(holder) in item.error.message


async def test_a_unique_key_can_keep_its_holder_which_stands_for_the_new_job(site: Site) -> None:
    (holder,) = await site.enqueue(**unique(job_pb2.UNIQUE_CONFLICT_KEEP))
    response = await submit(site, uuid4(), **unique(job_pb2.UNIQUE_CONFLICT_KEEP))
    (item,) = response.exceptions
    assert response.stored == 0
    assert item.kept == str(holder)
    assert not item.HasField("error")


async def test_who_waits_for_a_job_that_is_replaced_is_told(site: Site) -> None:
    (holder,) = await site.enqueue(**unique(job_pb2.UNIQUE_CONFLICT_REPLACE))
    call = site.queue.Wait(timeout=SECONDS)
    await call.write(queue_pb2.WaitRequest(watch=column([holder])))
    await call.done_writing()
    await site.enqueue(**unique(job_pb2.UNIQUE_CONFLICT_REPLACE))
    (status,) = (await call.read()).jobs
    assert (status.uuid, status.state) == (holder.bytes, job_pb2.STATE_CANCELLED)


async def test_a_full_queue_refuses_with_its_reason(site: Site) -> None:
    await site.admin.SetQueue(admin_pb2.SetQueueRequest(queue="small", max_length=1), timeout=SECONDS)
    await site.enqueue(queue="small")
    (item,) = (await submit(site, uuid4(), queue="small")).exceptions
    assert item.error.reason == errors_pb2.REASON_QUEUE_FULL
    assert item.error.retry_after_ms > 0


# -- what attempts say -------------------------------------------------------------------------------------------------


async def test_progress_is_seen_while_the_job_runs(site: Site) -> None:
    worker = site.attach()
    await worker.start()
    (job,) = await site.enqueue()
    ((_, token),) = await worker.delivered()
    progress = job_pb2.Progress(state="LOADING", meta=b'{"at":3}', format="json", done=3, total=10, note="rows")
    number = await worker.send(annotations=[worker_pb2.Annotation(token=token, progress=progress)])
    response = await worker.acked(number)
    assert len(response.refused) == 0
    seen = (await site.status(job)).progress
    assert seen.at_unix_ms > 0
    seen.at_unix_ms = 0
    assert seen == progress


async def test_a_checkpoint_comes_with_the_next_delivery(site: Site) -> None:
    worker = site.attach()
    await worker.start()
    await site.enqueue()
    ((_, token),) = await worker.delivered()
    checkpoint = worker_pb2.Checkpoint(data=b"row 7", format="json")
    await worker.send(
        annotations=[worker_pb2.Annotation(token=token, checkpoint=checkpoint)],
        endings=[worker_pb2.Ending(token=token, verdict=worker_pb2.VERDICT_RETRY, args=b"[[5],{}]")],
    )
    (batch,) = (await worker.until(lambda seen: seen.deliveries)).deliveries
    assert list(batch.checkpoints) == [checkpoint]
    assert list(batch.args) == [b"[[5],{}]"]
    assert list(batch.retries) == [1]


async def test_an_annotation_without_a_lease_is_refused_and_acknowledged(site: Site) -> None:
    worker = site.attach()
    await worker.start()
    annotation = worker_pb2.Annotation(token=12345, progress=job_pb2.Progress(state="X"))
    response = await worker.acked(await worker.send(annotations=[annotation]))
    assert [(each.token, each.error.reason) for each in response.refused] == [(12345, errors_pb2.REASON_LEASE_LOST)]


async def test_a_checkpoint_that_is_too_large_is_refused_and_its_lease_goes_on(site: Site) -> None:
    worker = site.attach()
    await worker.start()
    (job,) = await site.enqueue()
    ((_, token),) = await worker.delivered()
    checkpoint = worker_pb2.Checkpoint(data=bytes((1 << 20) + 1))
    sent = await worker.send(annotations=[worker_pb2.Annotation(token=token, checkpoint=checkpoint)])
    (refused,) = (await worker.acked(sent)).refused
    assert refused.error.reason == errors_pb2.REASON_TOO_LARGE
    await worker.acked(await worker.succeed(token))
    assert (await site.status(job)).state == job_pb2.STATE_SUCCEEDED


async def test_earlier_attempts_are_in_the_jobs_history(site: Site) -> None:
    worker = site.attach()
    await worker.start()
    (job,) = await site.enqueue()
    failure = job_pb2.Failure(type="ValueError", module="builtins", message="no")
    for verdict in (worker_pb2.VERDICT_RETRY, worker_pb2.VERDICT_REQUEUED, worker_pb2.VERDICT_REJECTED):
        ((_, token),) = await worker.delivered()
        number = await worker.send(endings=[worker_pb2.Ending(token=token, verdict=verdict, failure=failure)])
    await worker.acked(number)
    response = await site.admin.GetJob(admin_pb2.GetJobRequest(id=str(job)), timeout=SECONDS)
    assert response.job.state == job_pb2.STATE_FAILED
    assert [attempt.verdict for attempt in response.job.attempts] == ["retry", "requeued", "rejected"]
    assert {attempt.worker for attempt in response.job.attempts} == {"w1"}


# -- cancel by force ---------------------------------------------------------------------------------------------------


async def test_a_cancel_by_force_reaches_the_worker_with_its_signal(site: Site) -> None:
    worker = site.attach()
    await worker.start()
    jobs = await site.enqueue()
    ((_, token),) = await worker.delivered()
    cancel = queue_pb2.CancelRequest(ids=column(jobs), terminate=True, signal="SIGKILL")
    await site.queue.Cancel(cancel, timeout=SECONDS)
    told = await worker.until(lambda seen: seen.cancelled)
    assert list(told.cancelled) == [token]
    assert [(each.token, each.signal) for each in told.terminate] == [(token, "SIGKILL")]


async def test_a_worker_that_comes_back_is_told_again_what_to_stop_by_force(site: Site) -> None:
    worker = site.attach()
    welcome = await worker.start()
    jobs = await site.enqueue()
    ((_, token),) = await worker.delivered()
    await site.queue.Cancel(queue_pb2.CancelRequest(ids=column(jobs), terminate=True), timeout=SECONDS)
    worker.call.cancel()
    back = site.attach(store=welcome.store, held=worker_pb2.Held(ids=column(jobs), tokens=[token]))
    await back.send(hello=back.hello)
    told = await back.until(lambda seen: seen.cancelled)
    assert [(each.token, each.signal) for each in told.terminate] == [(token, "")]


@pytest.mark.parametrize(
    "fields", [{"signal": "SIGTERM"}, {"terminate": True, "signal": "TERM"}, {"terminate": True, "signal": "9"}]
)
async def test_a_signal_that_makes_no_sense_is_refused(site: Site, fields: dict[str, Any]) -> None:
    with pytest.raises(AioRpcError) as failure:
        await site.queue.Cancel(queue_pb2.CancelRequest(ids=column([uuid4()]), **fields), timeout=SECONDS)
    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error_of(failure.value).reason == errors_pb2.REASON_INVALID


# -- queues and labels of a worker -------------------------------------------------------------------------------------


async def test_a_worker_changes_its_queues_on_the_way(site: Site) -> None:
    worker = site.attach()
    await worker.start(slots=5)
    (mail,) = await site.enqueue(queue="mail")
    await worker.send(consume=worker_pb2.Consume(queues=["mail"]))
    assert [job for job, _ in await worker.delivered()] == [mail]
    (info,) = (await site.admin.ListWorkers(admin_pb2.ListWorkersRequest(), timeout=SECONDS)).workers
    assert list(info.queues) == ["mail"]


async def test_labels_decide_and_are_shown(site: Site) -> None:
    (job,) = await site.enqueue(traits=job_pb2.Traits(requires=["gpu"]))
    plain = site.attach("plain")
    await plain.start()
    assert await why(site, job) == "no worker has the labels gpu"
    able = site.attach("able", instance=b"a" * 16, labels=["gpu", "ssd"])
    await able.start()
    assert [taken for taken, _ in await able.delivered()] == [job]
    workers = (await site.admin.ListWorkers(admin_pb2.ListWorkersRequest(), timeout=SECONDS)).workers
    assert [list(info.labels) for info in workers] == [["gpu", "ssd"], []]


async def test_a_worker_brings_the_limits_of_its_app(site: Site) -> None:
    rule = worker_pb2.LimitRule(name=f"task:{TASK}", concurrency=1)
    worker = site.attach(limits=[rule])
    await worker.start(slots=5)
    _, second = await site.enqueue(2)
    assert len(await worker.delivered()) == 1
    assert await why(site, second) == f"limit task:{TASK}"
    (limit,) = (await site.admin.ListLimits(admin_pb2.ListLimitsRequest(), timeout=SECONDS)).limits
    assert (limit.rule, limit.source, limit.running) == (rule, "app", 1)


async def test_an_outcome_does_not_wait_for_what_its_job_said_and_has_no_room(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object) -> dict[int, Refusal]:
        raise StoreFull("no room")

    monkeypatch.setattr(site.server.core.engine, "annotate", full)
    worker = site.attach()
    await worker.start()
    (job,) = await site.enqueue()
    ((_, token),) = await worker.delivered()
    annotation = worker_pb2.Annotation(token=token, progress=job_pb2.Progress(state="HALF"))
    successes = worker_pb2.Successes(tokens=[token], results=[b"8"], format="json")
    number = await worker.send(annotations=[annotation], successes=[successes])
    refusal = await worker.until(lambda seen: seen.refused)
    assert [each.error.reason for each in refusal.refused] == [errors_pb2.REASON_STORE_FULL]
    if not refusal.acked:
        await worker.acked(number)
    assert (await site.status(job)).state == job_pb2.STATE_SUCCEEDED
