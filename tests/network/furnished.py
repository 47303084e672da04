"""A broker with something of each kind in it, and all that it tells of it."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple
from uuid import UUID

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from grpc.aio import AioRpcError
from tests.integration.broker_harness import EOF, SECONDS, TASK, Site, WireWorker, error_of
from tests.integration.good_requests import BATCH, FAILURE, IDS, RULE, SCHEDULE

from tqbroker.v1 import admin_pb2, errors_pb2, job_pb2, queue_pb2, schedule_pb2, worker_pb2, workflow_pb2
from tqbroker_broker.lifecycle import COUNTER_BITS

DONE, FAILED, LATER, HEADER, FOLLOWER = b"d" * 16, b"f" * 16, b"t" * 16, b"h" * 16, b"j" * 16
BROKEN, AFTER_BROKEN, OVER, LIVE, AFTER_LIVE = b"k" * 16, b"q" * 16, b"o" * 16, b"l" * 16, b"m" * 16
"""Jobs: the last four are of workflows, as are HEADER and FOLLOWER. LIVE runs."""

FLOW, TORN, ENDED, RUNNING = b"W" * 16, b"X" * 16, b"Y" * 16, b"Z" * 16
"""Workflows: one whose header is done, one that FAILED, one that has ended, one whose first job runs."""

GROUP, LIVE_GROUP, SAVED, NEW = b"G" * 16, b"L" * 16, b"S" * 16, b"N" * 16
"""Groups: of FLOW, of RUNNING, a saved one, and one that is not known yet."""

NEW_FLOW = b"V" * 16

SCHEDULES = ("a", "b", "c", "tick")
"""All have ended long ago, so that none of them fires: two brokers are looked at at different moments."""

TIMES = ("_unix_ms", "epoch", "store", "data_dir", "_bytes", "instance", "next_", "pid", "recovery_left_ms")
"""Fields that two brokers never have the same, by the end or the beginning of their names."""


class Ready(NamedTuple):
    """A broker that is furnished. `token` is the lease of LIVE, which `worker` holds."""

    site: Site
    worker: WireWorker
    token: int


def batch(job: bytes, queue: str = "bad", **more: Any) -> job_pb2.JobBatch:
    """One job. Nobody takes the queue "bad"."""
    ids = job_pb2.Ids(uuids=job)
    return job_pb2.JobBatch(task=TASK, queue=queue, format="json", ids=ids, args=[b"[[],{}]"], **more)


def ids(*jobs: bytes) -> job_pb2.Ids:
    """A column of ids."""
    return job_pb2.Ids(uuids=b"".join(jobs))


def text(job: bytes) -> str:
    """An id as text."""
    return str(UUID(bytes=job))


def _chord(workflow: bytes, first: bytes, after: bytes | None, group: bytes = b"") -> queue_pb2.SubmitWorkflowRequest:
    """A job that the worker gets, and one that waits for it."""
    part = workflow_pb2.WorkflowPart(workflow=workflow, last=True, name="chord")
    if after is None:
        part.nodes.add(jobs=batch(first, "work"))
    else:
        part.joins.add(number=1, id=group, on=workflow_pb2.JOIN_ON_SUCCESS, shape=workflow_pb2.JOIN_SHAPE_LIST)
        part.nodes.add(jobs=batch(first, "work"), member_of=[1])
        part.nodes.add(jobs=batch(after), after=1)
    return queue_pb2.SubmitWorkflowRequest(part=part)


async def furnish(site: Site) -> Ready:
    """Something of each kind, so that the calls find what they are about."""
    queue, admin = site.queue, site.admin
    enqueue, limits = queue_pb2.EnqueueRequest, admin_pb2.SetLimitsRequest
    jobs = [BATCH, batch(LATER, countdown_ms=3_600_000)]
    await queue.Enqueue(enqueue(batches=jobs), timeout=SECONDS)
    await queue.SaveGroup(queue_pb2.SaveGroupRequest(id=SAVED, ids=IDS), timeout=SECONDS)
    other = worker_pb2.LimitRule(name="other", concurrency=2)
    await admin.SetLimits(limits(set=[RULE, other]), timeout=SECONDS)
    schedules = [named(name, paused=name in ("c", "tick")) for name in SCHEDULES]
    await admin.SetSchedules(admin_pb2.SetSchedulesRequest(put=schedules), timeout=SECONDS)
    await admin.SetQueue(admin_pb2.SetQueueRequest(queue="empty", max_length=5), timeout=SECONDS)
    worker = site.attach("w", queues=["work"])
    await worker.start()
    for job in (DONE, FAILED):
        await queue.Enqueue(enqueue(batches=[batch(job, "work")]), timeout=SECONDS)
        await _end(worker, job)
    for submit, job in (
        (_chord(FLOW, HEADER, FOLLOWER, GROUP), HEADER),
        (_chord(TORN, BROKEN, AFTER_BROKEN), BROKEN),
        (_chord(ENDED, OVER, None), OVER),
    ):
        await queue.SubmitWorkflow(submit, timeout=SECONDS)
        await _end(worker, job)
    await queue.SubmitWorkflow(_chord(RUNNING, LIVE, AFTER_LIVE, LIVE_GROUP), timeout=SECONDS)
    return Ready(site, worker, await _delivered(worker, LIVE))


def named(name: str, **more: Any) -> schedule_pb2.Schedule:
    """A schedule of another name."""
    schedule = schedule_pb2.Schedule()
    schedule.CopyFrom(SCHEDULE)
    schedule.MergeFrom(schedule_pb2.Schedule(name=name))
    schedule.paused = more.get("paused", False)
    return schedule


async def _delivered(worker: WireWorker, job: bytes) -> int:
    ((found, token),) = await worker.delivered()
    assert found.bytes == job
    return token


async def _end(worker: WireWorker, job: bytes) -> None:
    """What FAILED and BROKEN fail, everything else succeeds."""
    token = await _delivered(worker, job)
    if job in (FAILED, BROKEN):
        ending = worker_pb2.Ending(token=token, verdict=worker_pb2.VERDICT_FAILED, failure=FAILURE, started_unix_ms=1)
        await worker.acked(await worker.send(endings=[ending]))
    else:
        await worker.acked(await worker.succeed(token))


# -- what is told ------------------------------------------------------------------------------------------------------


async def ask(site: Site, name: str, request: Message) -> Any:
    """The answer of a unary call, or the reason why there is none."""
    call = getattr(site.queue, name, None) or getattr(site.admin, name)
    try:
        return await call(request, timeout=SECONDS)
    except AioRpcError as failure:
        return error_of(failure)


async def everything(site: Site, *, events: bool = True) -> dict[str, Any]:
    """All that a broker tells, without what two brokers never have the same."""
    jobs = (b"u" * 16, DONE, FAILED, LATER, HEADER, FOLLOWER, BROKEN, AFTER_BROKEN, OVER, LIVE, AFTER_LIVE)
    get = queue_pb2.GetRequest(ids=job_pb2.Ids(uuids=b"".join(jobs), texts=["text"]), with_args=True)
    get.with_children = True
    questions: list[tuple[str, Message]] = [
        ("Get", get),
        ("ListQueues", admin_pb2.ListQueuesRequest()),
        ("ListWorkers", admin_pb2.ListWorkersRequest()),
        ("ListJobs", admin_pb2.ListJobsRequest(with_args=True)),
        ("ListLimits", admin_pb2.ListLimitsRequest()),
        ("ListSchedules", admin_pb2.ListSchedulesRequest()),
        ("ListWorkflows", admin_pb2.ListWorkflowsRequest()),
        *(("GetWorkflow", admin_pb2.GetWorkflowRequest(id=each)) for each in (FLOW, TORN, ENDED, RUNNING, NEW_FLOW)),
        *(("GetGroup", queue_pb2.GetGroupRequest(id=each)) for each in (GROUP, LIVE_GROUP, SAVED, NEW)),
        ("GetInputs", queue_pb2.GetInputsRequest(id=text(FOLLOWER))),
    ]
    told: dict[str, Any] = {
        f"{name} {request}": timeless(await ask(site, name, request)) for name, request in questions
    }
    return {**told, "events": await _events(site)} if events else told


async def _events(site: Site) -> Counter[tuple[object, ...]]:
    """What has happened, job by job. A STARTED may come as late as the next commit."""
    call = site.admin.WatchEvents(admin_pb2.WatchEventsRequest(), timeout=SECONDS)
    found: Counter[tuple[object, ...]] = Counter()
    while (answer := await call.read()) is not EOF:
        for each in answer.events:
            if each.kind == admin_pb2.EVENT_KIND_STARTED:
                continue
            named = [each.ids.uuids[at : at + 16] for at in range(0, len(each.ids.uuids), 16)]
            for job in [*named, *each.ids.texts] or [None]:
                found[each.kind, job, each.task, each.queue, each.worker, each.error] += 1
    return found


def timeless(message: Any) -> Any:
    """A copy without the fields of TIMES, at any depth. Of a token only the counter is left, without the epoch."""
    copy = type(message)()
    copy.CopyFrom(message)
    for field, value in copy.ListFields():
        if field.name.startswith(TIMES) or field.name.endswith(TIMES):
            copy.ClearField(field.name)
        elif field.name == "token":
            setattr(copy, field.name, value % (1 << COUNTER_BITS))
        elif field.type == FieldDescriptor.TYPE_MESSAGE and not _is_map(field):
            for each in value if field.is_repeated else [value]:
                each.CopyFrom(timeless(each))
    return copy


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def refused(answer: Message, reason: errors_pb2.Reason.ValueType) -> bool:
    """Whether an answer is this reason."""
    return isinstance(answer, errors_pb2.Error) and answer.reason == reason
