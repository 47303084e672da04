"""Workflows over a real socket: what waits for what, what is handed on, and what becomes of all when one fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from tests.integration.broker_harness import SECONDS, Site, WireWorker, column, running
from tests.integration.wire_workflows import (
    FAILURE,
    LIST,
    VALUE,
    Workflow,
    acked,
    end,
    info_of,
    run,
    send,
    states,
    submit,
    take,
    takeover,
)

from tqbroker.v1 import admin_pb2, job_pb2, queue_pb2, worker_pb2, workflow_pb2


@pytest.fixture(params=["memory:", ""], ids=["memory", "lmdb"])
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    """A broker on each storage engine."""
    async with running(tmp_path, request.param) as site:
        yield site


@pytest.fixture
async def worker(site: Site) -> WireWorker:
    """A worker that takes what it can get."""
    worker = site.attach()
    await worker.start(slots=50)
    return worker


# -- what waits for what -----------------------------------------------------------------------------------------------


async def test_a_chain_hands_each_job_what_the_one_before_returned(site: Site, worker: WireWorker) -> None:
    workflow = await submit(site, Workflow().chain("a", "b", "c"))
    waiting = await site.status(workflow["b"])
    assert (waiting.state, waiting.waits_for) == (job_pb2.STATE_WAITING, "1 job of its workflow")

    (a,) = await run(worker, workflow["a"], result=b"1")
    (b,) = await run(worker, workflow["b"], result=b"2")
    (c,) = await run(worker, workflow["c"], result=b"3")

    assert a.place
    assert b.place
    assert c.place
    assert not a.place.HasField("inputs")
    assert (a.place.workflow, a.place.root, a.place.parent) == (workflow.id, str(workflow["a"]), "")
    assert b.place.inputs == workflow_pb2.Inputs(shape=VALUE, values=[b"1"], formats=["json"], count=1)
    assert (c.place.root, c.place.parent) == (str(workflow["a"]), str(workflow["b"]))
    assert c.place.inputs.values == [b"2"]
    assert (await site.wait([workflow["c"]]))[workflow["c"]].result == b"3"
    assert (await info_of(site, workflow)).state == workflow_pb2.WORKFLOW_STATE_SUCCEEDED


async def test_a_chord_hands_its_body_the_results_in_the_order_of_the_members(site: Site, worker: WireWorker) -> None:
    workflow = Workflow()
    group = workflow.chord("a", "b", "c", body="body")
    await submit(site, workflow)
    members = await take(worker, 3)
    assert (await site.status(workflow["body"])).waits_for == "3 of 3 jobs of its workflow"
    for index in (2, 0, 1):
        await acked(worker, await worker.succeed(members[index].token, result=str(index).encode()))
    (body,) = await run(worker, workflow["body"])

    for index, member in enumerate(members):
        assert member.place
        assert (member.place.group, member.place.group_index, member.place.in_chord) == (group, index, True)
    assert body.place
    assert body.place.inputs == workflow_pb2.Inputs(shape=LIST, values=[b"0", b"1", b"2"], formats=["json"], count=3)
    assert body.place.parent == str(workflow["b"])


async def test_a_silent_follower_is_handed_nothing(site: Site, worker: WireWorker) -> None:
    workflow = Workflow()
    join = workflow.join()
    await submit(site, workflow.add("a", of=join).add("b", after=join, silent=True))
    await run(worker, workflow["a"])
    (b,) = await run(worker, workflow["b"])

    assert b.place
    assert not b.place.HasField("inputs")


async def test_a_countdown_counts_from_the_release(site: Site, worker: WireWorker) -> None:
    workflow = Workflow()
    join = workflow.join()
    await submit(site, workflow.add("a", of=join).add("b", after=join, countdown_ms=60_000))
    assert (await site.status(workflow["b"])).due_unix_ms == 0
    await run(worker, workflow["a"])

    released = await site.status(workflow["b"])
    assert released.state == job_pb2.STATE_SCHEDULED
    assert released.due_unix_ms > 60_000


async def test_a_job_with_a_countdown_begins_when_it_is_due(site: Site, worker: WireWorker) -> None:
    workflow = Workflow()
    join = workflow.join()
    await submit(site, workflow.add("a", of=join, countdown_ms=50).add("b", after=join, countdown_ms=50))
    await run(worker, workflow["a"])
    await run(worker, workflow["b"])


# -- when one fails ----------------------------------------------------------------------------------------------------


async def test_what_waits_for_a_job_that_failed_fails_at_once_and_its_waiters_hear_of_it(
    site: Site, worker: WireWorker
) -> None:
    workflow = await submit(site, Workflow().chain("a", "b", "c"))
    waiting = asyncio.create_task(site.wait([workflow["c"]]))
    (a,) = await take(worker)
    await end(worker, a.token)

    last = (await waiting)[workflow["c"]]
    assert (last.state, last.failure.type, last.cause) == (job_pb2.STATE_FAILED, "ValueError", str(workflow["b"]))
    assert (await site.status(workflow["b"])).cause == str(workflow["a"])
    info = await info_of(site, workflow)
    assert (info.state, info.failed, info.first_failed) == (workflow_pb2.WORKFLOW_STATE_FAILED, 3, str(workflow["a"]))


async def test_the_body_of_a_chord_says_which_member_failed(site: Site, worker: WireWorker) -> None:
    workflow = Workflow()
    workflow.chord("a", "b", body="body")
    await submit(site, workflow)
    _, b = await take(worker, 2)
    await end(worker, b.token)

    body = await site.status(workflow["body"])
    assert (body.failure.type, body.cause) == ("ChordError", str(workflow["b"]))
    assert body.failure.message == f"Dependency {workflow['b']} raised ValueError: no"
    assert await states(site, workflow["a"]) == ["RUNNING"]


async def test_an_error_callback_is_handed_the_job_that_failed(site: Site, worker: WireWorker) -> None:
    workflow = Workflow()
    chain, error = workflow.join(), workflow.join(FAILURE)
    workflow.add("a", of=chain, args=[b"[[1],{}]"]).add("b", after=chain).add("rescue", after=error)
    workflow.nodes[0].member_of.append(error)
    await submit(site, workflow)
    assert (await site.status(workflow["rescue"])).waits_for == "a failure in its workflow"
    (a,) = await take(worker)
    await end(worker, a.token)
    (rescue,) = await run(worker, workflow["rescue"])

    assert rescue.place
    cause = rescue.place.cause
    assert (cause.uuid, cause.args, cause.failure.message) == (workflow["a"].bytes, b"[[1],{}]", "no")
    assert not rescue.place.HasField("inputs")


async def test_an_error_callback_that_is_not_needed_is_cancelled(site: Site, worker: WireWorker) -> None:
    workflow = Workflow()
    error = workflow.join(FAILURE)
    await submit(site, workflow.add("a", of=error).add("rescue", after=error))
    await run(worker, workflow["a"])

    assert (await site.wait([workflow["rescue"]]))[workflow["rescue"]].state == job_pb2.STATE_CANCELLED
    info = await info_of(site, workflow)
    assert (info.state, info.succeeded, info.unneeded) == (workflow_pb2.WORKFLOW_STATE_SUCCEEDED, 1, 1)


async def test_a_cancel_ends_what_waits_for_the_job_and_tells_who_waits(site: Site) -> None:
    workflow = await submit(site, Workflow().chain("a", "b", "c"))
    waiting = asyncio.create_task(site.wait([workflow["c"]]))
    await site.queue.Cancel(queue_pb2.CancelRequest(ids=column([workflow["a"]])), timeout=SECONDS)

    assert (await waiting)[workflow["c"]].state == job_pb2.STATE_CANCELLED
    assert (await info_of(site, workflow)).state == workflow_pb2.WORKFLOW_STATE_CANCELLED


async def test_what_waits_for_a_job_that_expired_expires_too(site: Site) -> None:
    workflow = Workflow()
    join = workflow.join()
    await submit(site, workflow.add("a", of=join, expires_in_ms=30).add("b", after=join))

    ended = await site.wait([workflow["a"], workflow["b"]])
    assert {job.state for job in ended.values()} == {job_pb2.STATE_EXPIRED}


# -- large inputs ------------------------------------------------------------------------------------------------------


async def test_inputs_that_are_too_large_for_a_delivery_come_in_pages(site: Site, worker: WireWorker) -> None:
    workflow = Workflow()
    workflow.chord(*"abcdef", body="body")
    await submit(site, workflow)
    members = await take(worker, 6)
    for index, member in enumerate(members):
        await acked(worker, await worker.succeed(member.token, result=bytes([index]) * 400_000))
    (body,) = await take(worker)
    assert body.place
    assert (list(body.place.inputs.values), body.place.inputs.count) == ([], 6)

    values: list[bytes] = []
    calls = 0
    while len(values) < 6:
        page = await _inputs(site, workflow["body"], len(values))
        assert (page.shape, page.count) == (LIST, 6)
        values += page.values
        calls += 1
    assert [(value[0], len(value)) for value in values] == [(index, 400_000) for index in range(6)]
    assert 2 <= calls < 6
    assert not (await _inputs(site, workflow["body"], 6)).values


async def _inputs(site: Site, job: UUID, first: int) -> workflow_pb2.Inputs:
    request = queue_pb2.GetInputsRequest(id=str(job), first=first)
    inputs: workflow_pb2.Inputs = (await site.queue.GetInputs(request, timeout=SECONDS)).inputs
    return inputs


async def test_many_jobs_with_large_inputs_reach_one_worker(site: Site, worker: WireWorker) -> None:
    workflow = Workflow()
    join = workflow.join(shape=LIST)
    await submit(site, workflow.add("a", of=join).add(*(str(n) for n in range(40)), after=join))
    await run(worker, workflow["a"], result=b"x" * 1_000_000)
    taken = await take(worker, 40)

    assert {len(each.place.inputs.values[0]) for each in taken if each.place} == {1_000_000}
    assert [each.id for each in taken] == [workflow[str(n)] for n in range(40)]


# -- from inside a job -------------------------------------------------------------------------------------------------


async def test_a_workflow_takes_the_place_of_a_job(site: Site, worker: WireWorker) -> None:
    workflow = await submit(site, Workflow().chain("a", "b"))
    (a,) = await take(worker)
    held = Workflow()
    join = held.join()
    held.add("first", of=join)
    held.nodes.append(takeover(b"[[7],{}]", after=join))
    await send(site, held.part(held=True))
    assert (await site.status(held["first"])).waits_for == "the rest of its workflow"

    await end(worker, a.token, worker_pb2.VERDICT_REPLACED, workflow=held.id)
    assert await states(site, workflow["a"], workflow["b"]) == ["WAITING", "WAITING"]
    await run(worker, held["first"], result=b"1")
    (again,) = await run(worker, workflow["a"], result=b"2")
    (b,) = await run(worker, workflow["b"])

    assert again.args == b"[[7],{}]"
    assert again.place
    assert b.place
    assert again.place.inputs.values == [b"1"]
    assert b.place.inputs.values == [b"2"]
    assert again.token > a.token


async def test_a_plain_job_can_be_replaced_too(site: Site, worker: WireWorker) -> None:
    (job,) = await site.enqueue()
    (first,) = await take(worker)
    held = Workflow()
    held.nodes.append(takeover(b"[[7],{}]"))
    await send(site, held.part(held=True))
    await end(worker, first.token, worker_pb2.VERDICT_REPLACED, workflow=held.id)
    (again,) = await run(worker, job, result=b"9")

    assert again.args == b"[[7],{}]"
    assert (await site.status(job)).result == b"9"


async def test_a_replacement_that_is_not_there_counts_as_a_lost_lease(site: Site, worker: WireWorker) -> None:
    (job,) = await site.enqueue()
    (first,) = await take(worker)
    await end(worker, first.token, worker_pb2.VERDICT_REPLACED, workflow=uuid4().bytes)

    await take(worker)
    assert (await site.status(job)).lost_leases == 1


async def test_a_member_of_a_chord_adds_another_while_it_runs(site: Site, worker: WireWorker) -> None:
    workflow = Workflow()
    workflow.chord("a", body="body")
    await submit(site, workflow)
    (a,) = await take(worker)
    more = Workflow().add("b")
    more.nodes[0].beside = True
    await send(site, more.part(beside=str(workflow["a"]), beside_token=a.token))
    await acked(worker, await worker.succeed(a.token, result=b"1"))
    assert await states(site, workflow["body"]) == ["WAITING"]
    await run(worker, more["b"], result=b"2")
    (body,) = await run(worker, workflow["body"])

    assert body.place
    assert body.place.inputs.values == [b"1", b"2"]
    assert (await info_of(site, workflow)).total == 3


async def test_what_a_body_has_submitted_is_remembered_as_its_children(site: Site, worker: WireWorker) -> None:
    workflow = await submit(site, Workflow().chain("a", "b"))
    (a,) = await take(worker)
    (child,) = await site.enqueue(queue="other", parent=str(workflow["a"]), root=str(workflow["a"]))
    trail = worker_pb2.Trail(index=0, children=column([child]))
    successes = worker_pb2.Successes(tokens=[a.token], results=[b"1"], format="json", trails=[trail])
    await acked(worker, await worker.send(successes=[successes]))

    request = queue_pb2.GetRequest(ids=column([workflow["a"], child]), with_children=True)
    parent, plain = (await site.queue.Get(request, timeout=SECONDS)).jobs
    assert parent.children.uuids == child.bytes + workflow["b"].bytes
    assert (plain.parent, plain.root) == (str(workflow["a"]), str(workflow["a"]))
    without = await site.queue.Get(queue_pb2.GetRequest(ids=column([workflow["a"]])), timeout=SECONDS)
    assert not without.jobs[0].HasField("children")


async def test_a_plain_job_is_delivered_with_the_job_that_submitted_it(site: Site, worker: WireWorker) -> None:
    await site.enqueue(parent="P", root="R")
    (job,) = await take(worker)

    assert (job.batch.parent, job.batch.root, job.place) == ("P", "R", None)


# -- counts ------------------------------------------------------------------------------------------------------------


async def test_queues_count_the_jobs_that_wait_for_others(site: Site) -> None:
    await submit(site, Workflow().chain("a", "b", "c"))
    (info,) = (await site.admin.ListQueues(admin_pb2.ListQueuesRequest(), timeout=SECONDS)).queues

    assert (info.queued, info.waiting) == (1, 2)
