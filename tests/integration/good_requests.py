"""A good message for each call and each word of a worker, to be spoilt field by field."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from google.protobuf.message import Message
from tests.integration.broker_harness import TASK

from tqbroker.v1 import admin_pb2, job_pb2, queue_pb2, schedule_pb2, worker_pb2, workflow_pb2

UNIQUE = job_pb2.Unique(until=job_pb2.UNIQUE_UNTIL_FINISHED, conflict=job_pb2.UNIQUE_CONFLICT_REJECT, for_ms=1000)
TRAITS = job_pb2.Traits(
    tenant="acme",
    ordering_key="key",
    limits=["api"],
    requires=["gpu"],
    stamps=["a=b"],
    time_limit_ms=2000,
    soft_time_limit_ms=1000,
    unique=UNIQUE,
    shadow="name",
)
BATCH = job_pb2.JobBatch(
    task=TASK,
    queue="bad",
    priority=3,
    format="json",
    ids=job_pb2.Ids(uuids=b"u" * 16, texts=["text"]),
    args=[b"[[],{}]"] * 2,
    traits=TRAITS,
    unique_keys=[b"1" * 16, b"2" * 16],
)
NODE = job_pb2.JobBatch(
    task=TASK,
    queue="bad",
    format="json",
    ids=job_pb2.Ids(uuids=b"n" * 16),
    args=[b"[[],{}]"],
    countdown_ms=5,
    expires_in_ms=60_000,
    parent="parent",
    root="root",
)
IDS = job_pb2.Ids(uuids=b"u" * 16, texts=["text"])
FILTER = admin_pb2.JobFilter(
    states=[job_pb2.STATE_QUEUED], queue="bad", task=TASK, stamps=["a=b"], worker="w", error="E"
)
RULE = worker_pb2.LimitRule(name="api", concurrency=1, rates=[worker_pb2.Rate(count=10, period_ms=1000)])

JOIN = workflow_pb2.Join(number=1, id=b"g" * 16, on=workflow_pb2.JOIN_ON_SUCCESS, shape=workflow_pb2.JOIN_SHAPE_LIST)
PART = workflow_pb2.WorkflowPart(
    workflow=b"w" * 16,
    last=True,
    name="chord",
    joins=[JOIN],
    nodes=[
        workflow_pb2.NodeBatch(jobs=BATCH, member_of=[1]),
        workflow_pb2.NodeBatch(jobs=NODE, after=1, silent=True),
    ],
)
HELD = workflow_pb2.WorkflowPart(
    workflow=b"w" * 16,
    last=True,
    held=True,
    nodes=[
        workflow_pb2.NodeBatch(jobs=job_pb2.JobBatch(task=TASK, format="json", args=[b"[[],{}]"]), takes_over=True),
        workflow_pb2.NodeBatch(jobs=NODE),
    ],
)
BESIDE = workflow_pb2.WorkflowPart(
    workflow=b"w" * 16,
    last=True,
    nodes=[workflow_pb2.NodeBatch(jobs=NODE, beside=True)],
    beside="text",
    beside_token=1,
)
SCHEDULE = schedule_pb2.Schedule(
    name="tick",
    crontab=schedule_pb2.Crontab(minute="1", hour="*/2", day_of_month="*", month_of_year="*", day_of_week="*"),
    zone="Europe/Berlin",
    jitter_ms=5,
    start_unix_ms=1,
    end_unix_ms=1 << 40,
    overlap=schedule_pb2.OVERLAP_SKIP,
    misfire=schedule_pb2.MISFIRE_ALL,
    misfire_max=5,
    deadline_ms=5,
    paused=True,
    job=job_pb2.JobBatch(task=TASK, format="json", args=[b"[[],{}]"]),
)

EVERY = schedule_pb2.Schedule(
    name="often",
    every_ms=1000,
    relative=True,
    job=job_pb2.JobBatch(
        task=TASK,
        format="json",
        args=[b"[[],{}]"],
        countdown_ms=5,
        expires_in_ms=5,
        traits=TRAITS,
        unique_keys=[b"1" * 16],
    ),
)

CANCEL = admin_pb2.WORKFLOW_ORDER_CANCEL

UNARY: list[tuple[str, str, Message]] = [
    ("queue", "Enqueue", queue_pb2.EnqueueRequest(batches=[BATCH])),
    ("queue", "Get", queue_pb2.GetRequest(ids=IDS, with_args=True, with_children=True)),
    ("queue", "Cancel", queue_pb2.CancelRequest(ids=IDS, terminate=True, signal="SIGTERM")),
    ("queue", "Forget", queue_pb2.ForgetRequest(ids=IDS)),
    ("queue", "SubmitWorkflow", queue_pb2.SubmitWorkflowRequest(part=PART)),
    ("queue", "SubmitWorkflow", queue_pb2.SubmitWorkflowRequest(part=HELD)),
    ("queue", "SubmitWorkflow", queue_pb2.SubmitWorkflowRequest(part=BESIDE)),
    ("queue", "GetInputs", queue_pb2.GetInputsRequest(id="text", first=1)),
    ("queue", "GetGroup", queue_pb2.GetGroupRequest(id=b"g" * 16, first=1)),
    ("queue", "SaveGroup", queue_pb2.SaveGroupRequest(id=b"g" * 16, ids=IDS)),
    ("queue", "DeleteGroup", queue_pb2.DeleteGroupRequest(id=b"g" * 16)),
    ("admin", "GetBroker", admin_pb2.GetBrokerRequest()),
    ("admin", "ListQueues", admin_pb2.ListQueuesRequest()),
    ("admin", "ListWorkers", admin_pb2.ListWorkersRequest()),
    ("admin", "ListLimits", admin_pb2.ListLimitsRequest()),
    ("admin", "GetJob", admin_pb2.GetJobRequest(id="text")),
    ("admin", "ListJobs", admin_pb2.ListJobsRequest(filter=FILTER, limit=10)),
    ("admin", "ListJobs", admin_pb2.ListJobsRequest(limit=10)),
    ("admin", "EditJobs", admin_pb2.EditJobsRequest(filter=FILTER, limit=10, redrive=admin_pb2.Redrive(spacing_ms=5))),
    ("admin", "EditJobs", admin_pb2.EditJobsRequest(ids=IDS, redrive=admin_pb2.Redrive(args=b"1", spacing_ms=5))),
    ("admin", "EditJobs", admin_pb2.EditJobsRequest(ids=IDS, reschedule=admin_pb2.Reschedule(due_unix_ms=5))),
    ("admin", "EditJobs", admin_pb2.EditJobsRequest(ids=IDS, move=admin_pb2.Move(queue="bad", priority=5))),
    ("admin", "EditJobs", admin_pb2.EditJobsRequest(ids=IDS, cancel=admin_pb2.Cancel(terminate=True, signal="SIGINT"))),
    ("admin", "EditJobs", admin_pb2.EditJobsRequest(ids=IDS, drop=admin_pb2.Drop())),
    (
        "admin",
        "SetQueue",
        admin_pb2.SetQueueRequest(
            queue="bad", paused=False, max_length=9, overflow=admin_pb2.OVERFLOW_REFUSE, ttl_ms=9, weights={"a": 2}
        ),
    ),
    ("admin", "DeleteQueue", admin_pb2.DeleteQueueRequest(queue="bad")),
    ("admin", "SetLimits", admin_pb2.SetLimitsRequest(set=[RULE], remove=["other"])),
    ("admin", "ListWorkflows", admin_pb2.ListWorkflowsRequest(states=[workflow_pb2.WORKFLOW_STATE_RUNNING], limit=5)),
    ("admin", "GetWorkflow", admin_pb2.GetWorkflowRequest(id=b"w" * 16, limit=5)),
    (
        "admin",
        "EditWorkflow",
        admin_pb2.EditWorkflowRequest(id=b"w" * 16, order=CANCEL, terminate=True, signal="SIGINT"),
    ),
    ("admin", "ListSchedules", admin_pb2.ListSchedulesRequest(after="a")),
    ("admin", "SetSchedules", admin_pb2.SetSchedulesRequest(put=[SCHEDULE, EVERY], app="app")),
    ("admin", "SetSchedules", admin_pb2.SetSchedulesRequest(put=[EVERY, SCHEDULE])),
    ("admin", "SetSchedules", admin_pb2.SetSchedulesRequest(remove=["a"], pause=["b"], resume=["c"])),
    ("admin", "RunSchedule", admin_pb2.RunScheduleRequest(name="tick", id=b"r" * 16)),
    ("admin", "PreviewSchedule", admin_pb2.PreviewScheduleRequest(schedule=SCHEDULE, after_unix_ms=5, count=2)),
    ("admin", "PreviewSchedule", admin_pb2.PreviewScheduleRequest(name="tick")),
    ("admin", "Control", admin_pb2.ControlRequest(command="ping", arguments=b"{}", destination=["w"], timeout_ms=1)),
]
"""A good request for each call that has one answer."""

HELLO = worker_pb2.Hello(
    name="bad",
    instance=b"b" * 16,
    queues=["bad"],
    tasks=[TASK],
    slots=1,
    pool="solo",
    host="h",
    pid=1,
    version="1",
    held=worker_pb2.Held(ids=IDS, tokens=[1, 2]),
    labels=["gpu"],
    limits=[RULE],
    schedules=schedule_pb2.DeclaredSchedules(app="app", schedules=[SCHEDULE]),
)
FAILURE = job_pb2.Failure(type="E", module="m", message="no", traceback="t", args=b"[]", format="json")


STREAMS: list[tuple[str, Message]] = [
    (
        "EnqueueStream",
        queue_pb2.EnqueueStreamRequest(call=1, request=queue_pb2.EnqueueRequest(batches=[BATCH])),
    ),
    ("Wait", queue_pb2.WaitRequest(watch=IDS, unwatch=IDS)),
]


SAYS: list[tuple[str, worker_pb2.WorkRequest]] = [
    (
        "success",
        worker_pb2.WorkRequest(
            number=2,
            successes=[
                worker_pb2.Successes(
                    tokens=[1],
                    results=[b"1"],
                    format="json",
                    started_unix_ms=[1],
                    runtime_us=[1],
                    trails=[worker_pb2.Trail(index=0, children=IDS)],
                )
            ],
        ),
    ),
    (
        "replaced",
        worker_pb2.WorkRequest(
            number=2,
            endings=[
                worker_pb2.Ending(
                    token=1, verdict=worker_pb2.VERDICT_REPLACED, workflow=b"w" * 16, children=job_pb2.Ids(texts=["c"])
                )
            ],
        ),
    ),
    *(
        (
            worker_pb2.Verdict.Name(verdict).lower(),
            worker_pb2.WorkRequest(
                number=2,
                endings=[
                    worker_pb2.Ending(
                        token=1, verdict=verdict, failure=FAILURE, retry_in_ms=1, started_unix_ms=1, runtime_us=1
                    )
                ],
            ),
        )
        for verdict in (worker_pb2.VERDICT_FAILED, worker_pb2.VERDICT_RETRY, worker_pb2.VERDICT_LOST)
    ),
    (
        "annotation",
        worker_pb2.WorkRequest(
            number=2,
            annotations=[
                worker_pb2.Annotation(
                    token=1,
                    progress=job_pb2.Progress(state="S", meta=b"{}", format="json", done=1, total=2, note="n"),
                    checkpoint=worker_pb2.Checkpoint(data=b"1", format="json"),
                )
            ],
        ),
    ),
    (
        "other",
        worker_pb2.WorkRequest(
            number=2,
            credit=worker_pb2.Credit(slots=1, window=1, fast=[TASK]),
            returned=[1],
            replies=[worker_pb2.CommandReply(command=1, error="e", body=b"{}")],
            consume=worker_pb2.Consume(queues=["default"]),
        ),
    ),
]


def anew(message: Any) -> Any:
    """A workflow under ids that are not used yet, where its ids are good: else all but the first were known."""
    if isinstance(message, queue_pb2.SubmitWorkflowRequest):
        if message.part.workflow == b"w" * 16:
            message.part.workflow = uuid4().bytes
        for node in message.part.nodes:
            if node.jobs.ids.uuids in (b"u" * 16, b"n" * 16):
                node.jobs.ids.uuids = uuid4().bytes
            if node.jobs.ids.texts == ["text"]:
                node.jobs.ids.texts[0] = str(uuid4()).upper()
            if node.jobs.unique_keys == [b"1" * 16, b"2" * 16]:
                node.jobs.unique_keys[:] = [uuid4().bytes, uuid4().bytes]
    return message
