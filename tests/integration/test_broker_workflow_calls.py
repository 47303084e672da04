"""Submitting workflows in parts, groups, and what operators do with whole workflows, over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from grpc.aio import AioRpcError
from tests.integration.broker_harness import SECONDS, Site, column, error_of, running
from tests.integration.wire_workflows import Workflow, acked, end, info_of, jobs, run, send, states, submit, take

from tqbroker.v1 import admin_pb2, errors_pb2, job_pb2, queue_pb2, worker_pb2, workflow_pb2

REJECT = job_pb2.Traits(
    unique=job_pb2.Unique(until=job_pb2.UNIQUE_UNTIL_FINISHED, conflict=job_pb2.UNIQUE_CONFLICT_REJECT)
)


@pytest.fixture(params=["memory:", ""], ids=["memory", "lmdb"])
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    """A broker on each storage engine."""
    async with running(tmp_path, request.param, max_workflow_jobs=20) as site:
        yield site


async def refusal(call: Awaitable[Any]) -> errors_pb2.Error:
    with pytest.raises(AioRpcError) as failure:
        await call
    return error_of(failure.value)


# -- parts -------------------------------------------------------------------------------------------------------------


async def test_nothing_of_a_workflow_runs_before_its_last_part_is_there(site: Site) -> None:
    worker = site.attach()
    await worker.start(slots=9)
    workflow = Workflow().chain("a", "b")
    await send(site, workflow.part(nodes=workflow.nodes[:1], last=False))
    assert (await site.status(workflow["a"])).waits_for == "the rest of its workflow"
    assert (await info_of(site, workflow)).state == workflow_pb2.WORKFLOW_STATE_UPLOADING

    await send(site, workflow.part(part=1, nodes=workflow.nodes[1:], joins=[]))
    await run(worker, workflow["a"])
    await run(worker, workflow["b"])


async def test_a_part_that_is_sent_again_is_a_duplicate(site: Site) -> None:
    workflow = Workflow().chain("a", "b")
    first, second = (
        workflow.part(nodes=workflow.nodes[:1], last=False),
        workflow.part(part=1, nodes=workflow.nodes[1:], joins=[]),
    )
    answers = [await send(site, part) for part in (first, first, second, first, second)]

    assert [answer.duplicate for answer in answers] == [False, True, False, True, True]
    assert (await info_of(site, workflow)).total == 2


async def test_another_part_under_a_known_number_is_refused(site: Site) -> None:
    workflow = await submit(site, Workflow().chain("a", "b"))
    other = Workflow().chain("c", "d")

    for part in (other.part(workflow=workflow.id), other.part(workflow=workflow.id, part=1)):
        assert (await refusal(send(site, part))).reason == errors_pb2.REASON_ID_CONFLICT
    assert await states(site, other["c"]) == ["UNKNOWN"]


async def test_a_part_without_those_before_it_is_refused_and_says_to_begin_again(site: Site) -> None:
    error = await refusal(send(site, Workflow().add("a").part(part=1)))

    assert error.reason == errors_pb2.REASON_NOT_FOUND
    assert "from part 0 on" in error.message


async def test_a_workflow_has_no_more_jobs_than_the_broker_allows(site: Site) -> None:
    error = await refusal(send(site, Workflow().add(*map(str, range(21))).part()))

    assert (error.reason, error.facts["limit_jobs"]) == (errors_pb2.REASON_TOO_LARGE, "20")


async def test_joins_that_do_not_fit_are_refused(site: Site) -> None:
    for workflow in (Workflow().add("a", after=1), Workflow().add("a", of=1)):
        assert (await refusal(send(site, workflow.part()))).reason == errors_pb2.REASON_INVALID
        assert await states(site, workflow["a"]) == ["UNKNOWN"]


async def test_a_workflow_is_added_only_to_a_job_that_runs_under_the_token(site: Site) -> None:
    (job,) = await site.enqueue()
    error = await refusal(send(site, Workflow().add("a").part(beside=str(job), beside_token=5)))

    assert error.reason == errors_pb2.REASON_LEASE_LOST
    assert str(job) in error.message


async def test_with_one_job_refused_nothing_is_stored_and_each_refusal_has_its_reason(site: Site) -> None:
    (known,) = await site.enqueue()
    (holder,) = await site.enqueue(traits=REJECT, unique_keys=[b"k" * 16])
    await site.admin.SetQueue(admin_pb2.SetQueueRequest(queue="full", max_length=1), timeout=SECONDS)
    await site.enqueue(queue="full")
    workflow = Workflow().add("good").add("full", queue="full").add("unique", traits=REJECT, unique_keys=[b"k" * 16])
    workflow.nodes.append(workflow_pb2.NodeBatch(jobs=jobs([uuid4(), known])))
    response = await send(site, workflow.part())

    assert {(item.batch, item.index): item.error.reason for item in response.refused} == {
        (1, 0): errors_pb2.REASON_QUEUE_FULL,
        (2, 0): errors_pb2.REASON_NOT_UNIQUE,
        (3, 1): errors_pb2.REASON_ID_CONFLICT,
    }
    assert response.refused[1].error.facts["holder"] == str(holder)
    assert str(known) in response.refused[2].error.message
    assert await states(site, workflow["good"]) == ["UNKNOWN"]


async def test_what_is_wrong_with_a_job_itself_is_said_of_it_too(site: Site) -> None:
    workflow = Workflow().add("good").add("bad", priority=12)
    (item,) = (await send(site, workflow.part())).refused

    assert (item.batch, item.index, item.error.reason) == (1, 0, errors_pb2.REASON_INVALID)
    assert await states(site, workflow["good"]) == ["UNKNOWN"]


# -- groups ------------------------------------------------------------------------------------------------------------


async def test_the_members_of_a_group_of_a_workflow_are_known_by_its_id(site: Site) -> None:
    workflow = Workflow()
    group = workflow.chord("a", "b", "c", body="body")
    await submit(site, workflow)
    response = await _group(site, group)

    assert response == queue_pb2.GetGroupResponse(ids=column([workflow["a"], workflow["b"], workflow["c"]]), count=3)
    rest = await _group(site, group, first=2)
    assert (rest.ids, rest.count) == (column([workflow["c"]]), 3)


async def test_a_group_is_saved_and_forgotten(site: Site) -> None:
    group, ids = uuid4().bytes, [uuid4() for _ in range(3)]
    assert await _group(site, group) == queue_pb2.GetGroupResponse(unknown=True)
    for members in (ids[:1], ids):
        await site.queue.SaveGroup(queue_pb2.SaveGroupRequest(id=group, ids=column(members)), timeout=SECONDS)
    assert await _group(site, group) == queue_pb2.GetGroupResponse(ids=column(ids), count=3)

    request = queue_pb2.DeleteGroupRequest(id=group)
    deleted = [(await site.queue.DeleteGroup(request, timeout=SECONDS)).deleted for _ in range(2)]
    assert deleted == [True, False]
    assert (await _group(site, group)).unknown


async def test_a_page_of_a_group_keeps_the_order_of_ids_of_both_kinds(site: Site) -> None:
    group, ids = uuid4().bytes, job_pb2.Ids(uuids=b"u" * 32, texts=["x", "y"])
    await site.queue.SaveGroup(queue_pb2.SaveGroupRequest(id=group, ids=ids), timeout=SECONDS)
    first, rest = await _group(site, group), await _group(site, group, first=2)

    assert (first.ids, first.count) == (job_pb2.Ids(uuids=b"u" * 32), 4)
    assert rest.ids == job_pb2.Ids(texts=["x", "y"])


async def _group(site: Site, group: bytes, first: int = 0) -> queue_pb2.GetGroupResponse:
    response: queue_pb2.GetGroupResponse = await site.queue.GetGroup(
        queue_pb2.GetGroupRequest(id=group, first=first), timeout=SECONDS
    )
    return response


async def test_a_job_that_is_handed_nothing_has_no_inputs(site: Site) -> None:
    (job,) = await site.enqueue()
    for text in (str(job), str(uuid4())):
        call = site.queue.GetInputs(queue_pb2.GetInputsRequest(id=text), timeout=SECONDS)
        assert (await refusal(call)).reason == errors_pb2.REASON_NOT_FOUND


# -- whole workflows ---------------------------------------------------------------------------------------------------


async def test_workflows_are_listed_by_state_a_page_at_a_time(site: Site) -> None:
    workflows = [await submit(site, Workflow(f"workflow {n}").chain("a", "b")) for n in range(5)]
    await _edit(site, workflows[0], admin_pb2.WORKFLOW_ORDER_CANCEL)
    names: list[str] = []
    cursor = b""
    while True:
        page = await _list(site, cursor=cursor, limit=2)
        names += [info.name for info in page.workflows]
        cursor = page.cursor
        if not cursor:
            break

    assert names == [f"workflow {n}" for n in range(5)]
    running = await _list(site, states=[workflow_pb2.WORKFLOW_STATE_RUNNING])
    assert [info.id for info in running.workflows] == [workflow.id for workflow in workflows[1:]]
    assert running.workflows[0].total == running.workflows[0].left == 2


async def _list(site: Site, **fields: Any) -> admin_pb2.ListWorkflowsResponse:
    response: admin_pb2.ListWorkflowsResponse = await site.admin.ListWorkflows(
        admin_pb2.ListWorkflowsRequest(**fields), timeout=SECONDS
    )
    return response


async def test_a_workflow_is_shown_with_its_jobs_and_joins_a_page_at_a_time(site: Site) -> None:
    workflow = Workflow()
    group = workflow.chord("a", "b", "c", body="body")
    await submit(site, workflow)
    whole = await site.admin.GetWorkflow(admin_pb2.GetWorkflowRequest(id=workflow.id), timeout=SECONDS)

    assert [(UUID(bytes=node.job.uuid), node.after, list(node.member_of)) for node in whole.nodes] == [
        (workflow["a"], 0, [1]),
        (workflow["b"], 0, [1]),
        (workflow["c"], 0, [1]),
        (workflow["body"], 1, []),
    ]
    (join,) = whole.joins
    assert (join.join, join.members, join.left, join.released) == (workflow.joins[0], 3, 3, False)
    assert join.join.id == group
    assert whole.nodes[3].job.waits_for == "3 of 3 jobs of its workflow"

    first = await site.admin.GetWorkflow(admin_pb2.GetWorkflowRequest(id=workflow.id, limit=3), timeout=SECONDS)
    request = admin_pb2.GetWorkflowRequest(id=workflow.id, limit=3, cursor=first.cursor)
    second = await site.admin.GetWorkflow(request, timeout=SECONDS)
    assert [*first.nodes, *second.nodes] == list(whole.nodes)
    assert not second.cursor


async def test_a_page_of_jobs_with_large_failures_stays_small(site: Site) -> None:
    worker = site.attach()
    await worker.start(slots=50)
    workflow = await submit(site, Workflow().add(*map(str, range(20))))
    failure = job_pb2.Failure(type="E", message="m" * 65_000, traceback="t" * 65_000, args=b"a" * 65_000)
    for each in await take(worker, 20):
        await end(worker, each.token, failure=failure)
    pages, count, cursor = 0, 0, b""
    while cursor or not pages:
        page = await site.admin.GetWorkflow(
            admin_pb2.GetWorkflowRequest(id=workflow.id, cursor=cursor), timeout=SECONDS
        )
        assert page.ByteSize() < 4 << 20
        pages, count, cursor = pages + 1, count + len(page.nodes), page.cursor

    assert count == 20
    assert pages > 1


async def test_an_unknown_workflow_is_not_found(site: Site) -> None:
    workflow = Workflow()
    assert (await refusal(info_of(site, workflow))).reason == errors_pb2.REASON_NOT_FOUND
    for order in admin_pb2.WorkflowOrder.values()[1:]:
        assert (await refusal(_edit(site, workflow, order))).reason == errors_pb2.REASON_NOT_FOUND


async def _edit(site: Site, workflow: Workflow, order: admin_pb2.WorkflowOrder.ValueType, **fields: Any) -> int:
    request = admin_pb2.EditWorkflowRequest(id=workflow.id, order=order, **fields)
    changed: int = (await site.admin.EditWorkflow(request, timeout=SECONDS)).changed
    return changed


async def test_a_cancel_ends_every_job_of_a_workflow_and_stops_what_runs(site: Site) -> None:
    worker = site.attach()
    await worker.start()
    workflow = Workflow()
    workflow.chord("a", "b", body="body")
    await submit(site, workflow)
    (a,) = await take(worker)
    waiting = asyncio.create_task(site.wait([workflow["body"]]))
    changed = await _edit(site, workflow, admin_pb2.WORKFLOW_ORDER_CANCEL, terminate=True, signal="SIGINT")

    assert changed == 3
    assert await states(site, workflow["a"], workflow["b"], workflow["body"]) == ["RUNNING", "CANCELLED", "CANCELLED"]
    told = await worker.until(lambda seen: seen.cancelled)
    assert told.terminate[0] == worker_pb2.Terminate(token=a.token, signal="SIGINT")
    assert (await waiting)[workflow["body"]].state == job_pb2.STATE_CANCELLED


async def test_a_retry_runs_what_failed_by_itself_and_what_waited_for_it(site: Site) -> None:
    worker = site.attach()
    await worker.start(slots=9)
    workflow = await submit(site, Workflow().chain("a", "b", "c"))
    await run(worker, workflow["a"])
    (b,) = await take(worker)
    await end(worker, b.token)
    assert await states(site, workflow["b"], workflow["c"]) == ["FAILED", "FAILED"]

    assert await _edit(site, workflow, admin_pb2.WORKFLOW_ORDER_RETRY) == 1
    assert await states(site, workflow["c"]) == ["WAITING"]
    await run(worker, workflow["b"])
    await run(worker, workflow["c"])
    assert (await info_of(site, workflow)).state == workflow_pb2.WORKFLOW_STATE_SUCCEEDED


async def test_a_job_that_failed_because_of_another_says_so_when_it_is_redriven(site: Site) -> None:
    worker = site.attach()
    await worker.start()
    workflow = await submit(site, Workflow().chain("a", "b"))
    (a,) = await take(worker)
    await end(worker, a.token)
    request = admin_pb2.EditJobsRequest(ids=column([workflow["b"]]), redrive=admin_pb2.Redrive())
    (edited,) = (await site.admin.EditJobs(request, timeout=SECONDS)).jobs

    assert edited.refusal == f"it ended because job {workflow['a']} of its workflow did: redrive that"


async def test_a_workflow_that_has_ended_is_deleted_with_all_its_jobs(site: Site) -> None:
    worker = site.attach()
    await worker.start()
    workflow = await submit(site, Workflow().chain("a", "b"))
    error = await refusal(_edit(site, workflow, admin_pb2.WORKFLOW_ORDER_DELETE))
    assert (error.reason, "cancel it first" in error.message) == (errors_pb2.REASON_INVALID, True)
    (a,) = await run(worker, workflow["a"])
    await acked(worker, await worker.succeed((await take(worker))[0].token))
    assert a.place

    assert await _edit(site, workflow, admin_pb2.WORKFLOW_ORDER_DELETE) == 2
    async with asyncio.timeout(SECONDS):
        while await states(site, workflow["a"]) != ["UNKNOWN"]:  # noqa: ASYNC110 - nobody is told of what is dropped
            await asyncio.sleep(0.02)
    assert (await refusal(info_of(site, workflow))).reason == errors_pb2.REASON_NOT_FOUND


async def test_an_order_that_is_none_is_refused(site: Site) -> None:
    workflow = await submit(site, Workflow().chain("a", "b"))
    for order, fields in ((admin_pb2.WORKFLOW_ORDER_UNSPECIFIED, {}), (1, {"signal": "SIGINT"})):
        error = await refusal(_edit(site, workflow, admin_pb2.WorkflowOrder.ValueType(order), **fields))
        assert error.reason == errors_pb2.REASON_INVALID
