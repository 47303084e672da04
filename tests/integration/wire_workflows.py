"""Workflows on the wire, by hand: jobs by name, and what a worker is handed of them."""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import UUID, uuid4

from tests.integration.broker_harness import SECONDS, TASK, Site, WireWorker

from tqbroker.v1 import admin_pb2, job_pb2, queue_pb2, worker_pb2, workflow_pb2

SUCCESS, FAILURE = workflow_pb2.JOIN_ON_SUCCESS, workflow_pb2.JOIN_ON_FAILURE
VALUE, LIST = workflow_pb2.JOIN_SHAPE_VALUE, workflow_pb2.JOIN_SHAPE_LIST


class Workflow:
    """A workflow on its way in."""

    def __init__(self, name: str = "workflow") -> None:
        self.id = uuid4().bytes
        self.name = name
        self.ids: dict[str, UUID] = {}
        self.joins: list[workflow_pb2.Join] = []
        self.nodes: list[workflow_pb2.NodeBatch] = []

    def __getitem__(self, name: str) -> UUID:
        return self.ids[name]

    def join(
        self,
        on: workflow_pb2.JoinOn.ValueType = SUCCESS,
        shape: workflow_pb2.JoinShape.ValueType = VALUE,
        group: bytes = b"",
    ) -> int:
        """Something to wait for, by its number."""
        number = len(self.joins) + 1
        self.joins.append(workflow_pb2.Join(number=number, on=on, shape=shape, id=group))
        return number

    def add(self, *names: str, after: int = 0, of: int = 0, silent: bool = False, **options: Any) -> Workflow:
        """Jobs with the same place: after one join, member of another."""
        ids = [uuid4() for _ in names]
        self.ids.update(zip(names, ids, strict=True))
        self.nodes.append(
            workflow_pb2.NodeBatch(jobs=jobs(ids, **options), after=after, member_of=[of] if of else [], silent=silent)
        )
        return self

    def chain(self, *names: str) -> Workflow:
        """Each waits for the one before it."""
        after = 0
        for name in names:
            of = self.join() if name != names[-1] else 0
            self.add(name, after=after, of=of)
            after = of
        return self

    def chord(self, *names: str, body: str = "") -> bytes:
        """A group, and perhaps a job that waits for it. Returns the id of the group."""
        group = uuid4().bytes
        number = self.join(shape=LIST, group=group)
        self.add(*names, of=number)
        if body:
            self.add(body, after=number)
        return group

    def part(self, **fields: Any) -> workflow_pb2.WorkflowPart:
        """All of it."""
        whole = {"workflow": self.id, "last": True, "name": self.name, "joins": self.joins, "nodes": self.nodes}
        return workflow_pb2.WorkflowPart(**{**whole, **fields})


def jobs(ids: list[UUID], **options: Any) -> job_pb2.JobBatch:
    """A batch."""
    fields: dict[str, Any] = {"task": TASK, "format": "json", "args": [b"[[],{}]"] * len(ids), **options}
    return job_pb2.JobBatch(ids=job_pb2.Ids(uuids=b"".join(job.bytes for job in ids)), **fields)


def takeover(args: bytes, after: int = 0) -> workflow_pb2.NodeBatch:
    """The one job of a held workflow that has no id."""
    return workflow_pb2.NodeBatch(
        jobs=job_pb2.JobBatch(task=TASK, format="json", args=[args]), after=after, takes_over=True
    )


async def send(site: Site, part: workflow_pb2.WorkflowPart) -> queue_pb2.SubmitWorkflowResponse:
    """Submits a part."""
    request = queue_pb2.SubmitWorkflowRequest(part=part)
    response: queue_pb2.SubmitWorkflowResponse = await site.queue.SubmitWorkflow(request, timeout=SECONDS)
    return response


async def submit(site: Site, workflow: Workflow) -> Workflow:
    """Submits a workflow, all of which is stored."""
    assert await send(site, workflow.part()) == queue_pb2.SubmitWorkflowResponse()
    return workflow


class Taken(NamedTuple):
    """A job as a worker is handed it."""

    id: UUID
    token: int
    args: bytes
    place: workflow_pb2.Place | None
    batch: worker_pb2.DeliveryBatch


async def take(worker: WireWorker, count: int = 1) -> list[Taken]:
    """The next jobs that the worker is handed."""
    taken: list[Taken] = []
    while len(taken) < count:
        response = await worker.until(lambda seen: seen.deliveries)
        if response.acked:
            worker.seen.append(worker_pb2.WorkResponse(acked=response.acked))
        taken += [each for batch in response.deliveries for each in _taken(batch)]
    assert len(taken) == count
    return taken


def _taken(batch: worker_pb2.DeliveryBatch) -> list[Taken]:
    raw, places = batch.ids.uuids, list(batch.places)
    ids = [UUID(bytes=raw[at : at + 16]) for at in range(0, len(raw), 16)]
    return [
        Taken(job, batch.tokens[n], batch.args[n], places[n] if places else None, batch) for n, job in enumerate(ids)
    ]


async def run(worker: WireWorker, *expected: UUID, result: bytes = b"8") -> list[Taken]:
    """Runs these jobs, which must be the next ones, to success."""
    taken = await take(worker, len(expected))
    assert [each.id for each in taken] == list(expected)
    await acked(worker, await worker.succeed(*(each.token for each in taken), result=result))
    return taken


async def acked(worker: WireWorker, number: int) -> None:
    """Returns when a message has been dealt with. Deliveries that came with the news stay to be read."""
    response = await worker.acked(number)
    if response.deliveries:
        worker.seen.insert(0, worker_pb2.WorkResponse(deliveries=response.deliveries))


async def end(
    worker: WireWorker, token: int, verdict: worker_pb2.Verdict.ValueType = worker_pb2.VERDICT_FAILED, **fields: Any
) -> None:
    """Ends an attempt other than by success."""
    if verdict == worker_pb2.VERDICT_FAILED:
        fields.setdefault("failure", job_pb2.Failure(type="ValueError", module="builtins", message="no"))
    await acked(worker, await worker.send(endings=[worker_pb2.Ending(token=token, verdict=verdict, **fields)]))


async def states(site: Site, *ids: UUID) -> list[str]:
    """States of jobs, by name."""
    return [job_pb2.State.Name((await site.status(job)).state).removeprefix("STATE_") for job in ids]


async def info_of(site: Site, workflow: Workflow) -> workflow_pb2.WorkflowInfo:
    """How the workflow does."""
    request = admin_pb2.GetWorkflowRequest(id=workflow.id)
    info: workflow_pb2.WorkflowInfo = (await site.admin.GetWorkflow(request, timeout=SECONDS)).workflow
    return info
