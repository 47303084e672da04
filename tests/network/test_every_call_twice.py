"""Every call of every service, sent once to one broker and three times to another: both are as one in the end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from google.protobuf.message import Message
from tests.integration.broker_harness import EOF, SECONDS, running
from tests.integration.good_requests import BATCH, BESIDE, EVERY, FAILURE, HELD, IDS, PART, SCHEDULE
from tests.network.furnished import (
    AFTER_BROKEN,
    DONE,
    ENDED,
    FAILED,
    FLOW,
    FOLLOWER,
    GROUP,
    LATER,
    LIVE,
    NEW,
    NEW_FLOW,
    RUNNING,
    SAVED,
    TORN,
    Ready,
    ask,
    everything,
    furnish,
    ids,
    named,
    refused,
    text,
    timeless,
)
from tests.network.inputs import services

from tqbroker.v1 import admin_pb2, errors_pb2, job_pb2, queue_pb2, worker_pb2, workflow_pb2

pytestmark = pytest.mark.proof("T14")

TIMES = 3

Rule = Callable[[Any, Any], bool]


def _same(first: Any, later: Any) -> bool:
    return bool(timeless(first) == timeless(later))


def _gone(first: Any, later: Any) -> bool:
    """What was removed is not there to be removed."""
    return refused(later, errors_pb2.REASON_NOT_FOUND)


def _once(effect: str) -> Rule:
    """Done to one job, and refused by its state from then on."""
    return lambda first, later: (
        [each.effect for each in first.jobs] == [effect]
        and [bool(each.refusal) and not each.effect for each in later.jobs] == [True]
    )


def _changed(at_first: int, then: int) -> Rule:
    return lambda first, later: (first.changed, later.changed) == (at_first, then)


def _duplicate(first: Any, later: Any) -> bool:
    return (first.duplicate, later.duplicate, len(first.refused), len(later.refused)) == (False, True, 0, 0)


def _stored(first: Any, later: Any) -> bool:
    duplicates = [each.duplicate and not each.HasField("error") for each in later.exceptions]
    return (first.stored, len(first.exceptions), later.stored, duplicates) == (2, 0, 0, [True, True])


def _cancelled(first: Any, later: Any) -> bool:
    """What waited has ended then; what runs is marked, and stays so; the rest is as it was."""
    waiting, runs, final, unknown = (
        queue_pb2.CANCEL_EFFECT_CANCELLED,
        queue_pb2.CANCEL_EFFECT_RUNNING,
        queue_pb2.CANCEL_EFFECT_FINAL,
        queue_pb2.CANCEL_EFFECT_UNKNOWN,
    )
    effects = [list(first.effects), list(later.effects)]
    return effects == [[waiting, runs, final, unknown], [final, runs, final, unknown]]


def _edited_cancelled(first: Any, later: Any) -> bool:
    runs = "cancel requested"
    return [each.effect for each in first.jobs] == ["cancelled", runs] and (
        [(each.effect, bool(each.refusal)) for each in later.jobs] == [("", True), (runs, False)]
    )


class Write(NamedTuple):
    """A call that changes something: how it answers from the second time on is what docs/protocol.md says."""

    name: str
    request: Message
    rule: Rule = _same
    more_events: bool = False
    """What is done again is in the log again, and nothing else is."""


def _new(part: workflow_pb2.WorkflowPart) -> queue_pb2.SubmitWorkflowRequest:
    """A part of good_requests of a new workflow, with ids that are not used yet."""
    request = queue_pb2.SubmitWorkflowRequest(part=part)
    request.part.workflow = NEW_FLOW
    for join in request.part.joins:
        join.id = NEW
    for node in request.part.nodes:
        _fresh(node.jobs)
    return request


def _fresh(jobs: job_pb2.JobBatch) -> job_pb2.JobBatch:
    copies = job_pb2.Ids(uuids=jobs.ids.uuids.upper(), texts=[each + " 2" for each in jobs.ids.texts])
    jobs.ids.CopyFrom(copies)
    jobs.unique_keys[:] = [bytes([65 + at]) * 16 for at in range(len(jobs.unique_keys))]
    return jobs


def _another_batch() -> job_pb2.JobBatch:
    jobs = job_pb2.JobBatch()
    jobs.CopyFrom(BATCH)
    return _fresh(jobs)


def _edit(name: str, change: Message, **which: Any) -> admin_pb2.EditJobsRequest:
    request = admin_pb2.EditJobsRequest(**which)
    getattr(request, name).CopyFrom(change)
    return request


def _order(workflow: bytes, order: admin_pb2.WorkflowOrder.ValueType) -> admin_pb2.EditWorkflowRequest:
    return admin_pb2.EditWorkflowRequest(id=workflow, order=order)


PAUSED = admin_pb2.SetSchedulesRequest(put=[SCHEDULE, EVERY], app="app")
for _schedule in PAUSED.put:
    _schedule.paused = True  # both brokers are looked at, at different moments

WAITING = b"u" * 16
BOTH_WAITING = admin_pb2.JobFilter(states=[job_pb2.STATE_QUEUED], queue="bad", stamps=["a=b"])

WRITES: list[Write] = [
    Write("Enqueue", queue_pb2.EnqueueRequest(batches=[_another_batch()]), _stored),
    Write("Cancel", queue_pb2.CancelRequest(ids=ids(WAITING, LIVE, DONE, NEW), terminate=True), _cancelled),
    Write("Forget", queue_pb2.ForgetRequest(ids=ids(DONE)), lambda a, b: (a.forgotten, b.forgotten) == (1, 0)),
    Write("SubmitWorkflow", _new(PART), _duplicate),
    Write("SubmitWorkflow", _new(HELD), _duplicate),
    Write("SubmitWorkflow", _new(BESIDE), _duplicate),
    Write("SaveGroup", queue_pb2.SaveGroupRequest(id=NEW, ids=IDS)),
    Write("DeleteGroup", queue_pb2.DeleteGroupRequest(id=SAVED), lambda a, b: a.deleted and not b.deleted),
    Write(
        "EditJobs",
        _edit("redrive", admin_pb2.Redrive(spacing_ms=5), filter=admin_pb2.JobFilter(queue="work", error="E")),
        lambda a, b: [each.effect for each in a.jobs] == ["redriven"] * 2 and not b.jobs,
    ),
    Write("EditJobs", _edit("redrive", admin_pb2.Redrive(args=b"1"), ids=ids(FAILED)), _once("redriven")),
    Write("EditJobs", _edit("reschedule", admin_pb2.Reschedule(), ids=ids(LATER)), _once("rescheduled")),
    Write("EditJobs", _edit("move", admin_pb2.Move(priority=5), ids=ids(WAITING)), more_events=True),
    Write(
        "EditJobs",
        _edit("move", admin_pb2.Move(priority=5), filter=BOTH_WAITING),
        lambda a, b: [each.effect for each in a.jobs] == ["moved"] * 2 and not b.jobs,
    ),
    Write("EditJobs", _edit("cancel", admin_pb2.Cancel(terminate=True), ids=ids(WAITING, LIVE)), _edited_cancelled),
    Write("EditJobs", _edit("drop", admin_pb2.Drop(), ids=ids(DONE)), _once("dropped")),
    Write("SetQueue", admin_pb2.SetQueueRequest(queue="bad", paused=True, max_length=9, ttl_ms=9, weights={"a": 2})),
    Write("DeleteQueue", admin_pb2.DeleteQueueRequest(queue="empty"), _gone),
    Write("SetLimits", admin_pb2.SetLimitsRequest(set=[worker_pb2.LimitRule(name="mail", concurrency=1)])),
    Write("SetLimits", admin_pb2.SetLimitsRequest(remove=["other"]), _gone),
    Write("SetSchedules", PAUSED),
    Write("SetSchedules", admin_pb2.SetSchedulesRequest(put=[named("new")], pause=["b"], resume=["c"])),
    Write("SetSchedules", admin_pb2.SetSchedulesRequest(remove=["a"]), _gone),
    Write("RunSchedule", admin_pb2.RunScheduleRequest(name="tick", id=b"r" * 16)),
    Write("EditWorkflow", _order(FLOW, admin_pb2.WORKFLOW_ORDER_CANCEL), _changed(1, 0)),
    Write("EditWorkflow", _order(RUNNING, admin_pb2.WORKFLOW_ORDER_CANCEL), _changed(2, 1)),
    Write("EditWorkflow", _order(TORN, admin_pb2.WORKFLOW_ORDER_RETRY), _changed(1, 0)),
    Write("EditWorkflow", _order(ENDED, admin_pb2.WORKFLOW_ORDER_DELETE), _gone),
]
"""Every call with one answer that changes something, with what it finds something to change of."""

READS: list[tuple[str, Message]] = [
    ("Get", queue_pb2.GetRequest(ids=ids(DONE, FAILED, LIVE, NEW), with_args=True, with_children=True)),
    ("GetInputs", queue_pb2.GetInputsRequest(id=text(FOLLOWER))),
    ("GetGroup", queue_pb2.GetGroupRequest(id=GROUP)),
    ("GetBroker", admin_pb2.GetBrokerRequest()),
    ("ListQueues", admin_pb2.ListQueuesRequest()),
    ("ListWorkers", admin_pb2.ListWorkersRequest()),
    ("ListLimits", admin_pb2.ListLimitsRequest()),
    ("GetJob", admin_pb2.GetJobRequest(id=text(AFTER_BROKEN))),
    ("ListJobs", admin_pb2.ListJobsRequest(filter=BOTH_WAITING, limit=1)),
    ("ListWorkflows", admin_pb2.ListWorkflowsRequest(limit=2)),
    ("GetWorkflow", admin_pb2.GetWorkflowRequest(id=TORN, limit=1)),
    ("ListSchedules", admin_pb2.ListSchedulesRequest(after="a")),
    ("PreviewSchedule", admin_pb2.PreviewScheduleRequest(schedule=EVERY, after_unix_ms=5, count=2)),
    ("Control", admin_pb2.ControlRequest(command="ping", arguments=b"{}", destination=["nobody"], timeout_ms=1)),
]
"""Every other call with one answer: it changes nothing, however often it comes."""


@pytest.fixture
async def sites(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[tuple[Ready, Ready]]:
    """Two brokers with the same in them: in memory, but of that there is no backup."""
    storage = "" if "Backup" in request.node.name else "memory:"
    async with running(tmp_path / "once", storage) as once, running(tmp_path / "thrice", storage) as thrice:
        ready = await furnish(once), await furnish(thrice)
        assert await everything(once) == await everything(thrice)
        yield ready


def _of(ready: Ready, request: Message) -> Message:
    """The request for this broker: the token of what runs is its own."""
    copy = type(request)()
    copy.CopyFrom(request)
    if isinstance(copy, queue_pb2.SubmitWorkflowRequest) and copy.part.beside:
        copy.part.beside, copy.part.beside_token = text(LIVE), ready.token
    return copy


async def _settled(ready: Ready, write: Write) -> None:
    """What a call leaves to the background is done."""
    if not isinstance(write.request, admin_pb2.EditWorkflowRequest) or write.rule is not _gone:
        return
    question = admin_pb2.GetWorkflowRequest(id=write.request.id)
    async with asyncio.timeout(SECONDS):
        while not refused(await ask(ready.site, "GetWorkflow", question), errors_pb2.REASON_NOT_FOUND):  # noqa: ASYNC110 - nobody is told
            await asyncio.sleep(0.01)


def _names(rows: list[Any]) -> list[str]:
    return [f"{row[0]}{number}" for number, row in enumerate(rows)]


@pytest.mark.parametrize("write", WRITES, ids=_names(WRITES))
async def test_a_call_that_comes_again_has_done_once_what_it_asks(
    sites: tuple[Ready, Ready], write: Write, counts: Counter[str]
) -> None:
    once, thrice = sites
    before = await everything(once.site)

    alone = await ask(once.site, write.name, _of(once, write.request))
    await _settled(once, write)
    first = await ask(thrice.site, write.name, _of(thrice, write.request))
    await _settled(thrice, write)
    later = [await ask(thrice.site, write.name, _of(thrice, write.request)) for _ in range(TIMES - 1)]

    assert not isinstance(first, errors_pb2.Error), first
    assert timeless(alone) == timeless(first)
    assert all(write.rule(first, each) for each in later), (first, later)
    assert await everything(once.site) != before, "it has changed nothing"
    events = not write.more_events
    assert await everything(once.site, events=events) == await everything(thrice.site, events=events)
    counts["inputs"] += 1 + TIMES


@pytest.mark.parametrize(("name", "question"), READS, ids=_names(READS))
async def test_a_question_that_comes_again_is_answered_as_before_and_changes_nothing(
    sites: tuple[Ready, Ready], name: str, question: Message, counts: Counter[str]
) -> None:
    once, thrice = sites
    before = await everything(once.site)

    alone = await ask(once.site, name, question)
    answers = [await ask(thrice.site, name, question) for _ in range(TIMES)]

    assert not isinstance(alone, errors_pb2.Error), alone
    assert [timeless(each) for each in answers] == [timeless(alone)] * TIMES
    assert await everything(once.site) == before == await everything(thrice.site)
    counts["inputs"] += 1 + TIMES


# -- streams -----------------------------------------------------------------------------------------------------------


async def _all(call: Any, requests: list[Message]) -> list[Any]:
    """What comes down on a stream up to its end."""
    for request in requests:
        await call.write(request)
    if requests:
        await call.done_writing()
    answers: list[Any] = []
    while (answer := await call.read()) is not EOF:
        answers.append(answer)
    return answers


async def _enqueue_stream(ready: Ready, times: int) -> None:
    """Requests under one number each on one call: the jobs are stored by one of them."""
    request = queue_pb2.EnqueueRequest(batches=[_another_batch()])
    before = await everything(ready.site)
    requests: list[Message] = [queue_pb2.EnqueueStreamRequest(call=n, request=request) for n in range(1, times + 1)]
    answers = await _all(ready.site.queue.EnqueueStream(timeout=SECONDS), requests)
    assert sorted(each.response.stored for each in answers) == [0] * (times - 1) + [2]
    assert all(item.duplicate for each in answers for item in each.response.exceptions)
    assert await everything(ready.site) != before


async def _wait(ready: Ready, times: int) -> None:
    """What is final is told to each call."""
    watch = queue_pb2.WaitRequest(watch=ids(DONE, FAILED))
    answers = [await _all(ready.site.queue.Wait(timeout=SECONDS), [watch]) for _ in range(times)]
    jobs = [sorted((job.uuid, job.state) for each in answer for job in each.jobs) for answer in answers]
    assert jobs == [[(DONE, job_pb2.STATE_SUCCEEDED), (FAILED, job_pb2.STATE_FAILED)]] * times


async def _watch_events(ready: Ready, times: int) -> None:
    """The log is the same for each reader."""
    request = admin_pb2.WatchEventsRequest(after=2)
    answers = [await _all(ready.site.admin.WatchEvents(request, timeout=SECONDS), []) for _ in range(times)]
    assert answers[0]
    assert answers == [answers[0]] * times


async def _backup(ready: Ready, times: int) -> None:
    """Each copy is whole, of the same."""
    answers = [
        await _all(ready.site.admin.Backup(admin_pb2.BackupRequest(), timeout=SECONDS), []) for _ in range(times)
    ]
    ends = [answer[-1].end for answer in answers]
    assert all(sum(len(each.data) for each in answer) == answer[-1].end.size > 0 for answer in answers)
    assert [timeless(each) for each in ends] == [timeless(ends[0])] * times


LEASE_GONE = worker_pb2.VERDICT_RETRY, worker_pb2.VERDICT_LOST, worker_pb2.VERDICT_REQUEUED
FINAL = worker_pb2.VERDICT_FAILED, worker_pb2.VERDICT_REJECTED


def _outcomes(token: int) -> list[tuple[dict[str, Any], bool]]:
    """What a worker may say of a lease, and whether it is refused from the second time on, or acknowledged."""
    success = worker_pb2.Successes(tokens=[token], results=[b"8"], format="json", started_unix_ms=[1], runtime_us=[1])
    progress = worker_pb2.Annotation(token=token, progress=job_pb2.Progress(done=1, total=2))
    endings = [
        worker_pb2.Ending(
            token=token, verdict=verdict, failure=FAILURE, retry_in_ms=60_000, started_unix_ms=1, runtime_us=1
        )
        for verdict in FINAL + LEASE_GONE
    ]
    return [
        ({"successes": [success]}, False),
        ({"annotations": [progress]}, False),
        *(({"endings": [ending]}, ending.verdict in LEASE_GONE) for ending in endings),
        ({"returned": [token]}, False),  # of these none is refused
    ]


async def _work(ready: Ready, times: int, outcome: int = 0) -> None:
    """What a worker says of a lease counts once: it is the job's end already, or its token is dead."""
    said, refused_later = _outcomes(ready.token)[outcome]
    before = await everything(ready.site)
    await ready.worker.send(credit=worker_pb2.Credit(slots=0))  # nothing is handed out again meanwhile
    numbers = [await ready.worker.send(**said)]
    for each in [*said.get("successes", ()), *said.get("endings", ())]:
        each.ids.CopyFrom(ids(LIVE))  # a resend says whose end it is
    numbers += [await ready.worker.send(**said) for _ in range(times - 1)]
    told: list[Any] = []
    while not told or told[-1].acked < numbers[-1]:
        told.append(await ready.worker.until(lambda seen: True))
    reasons = [each.error.reason for answer in told for each in answer.refused]
    assert reasons == [errors_pb2.REASON_LEASE_LOST] * ((times - 1) * refused_later)
    assert await everything(ready.site) != before


STREAMS: dict[str, Callable[[Ready, int], Awaitable[None]]] = {
    "EnqueueStream": _enqueue_stream,
    "Wait": _wait,
    "WatchEvents": _watch_events,
    "Backup": _backup,
    "Work": _work,
}
"""Every call that streams."""


@pytest.mark.parametrize("name", STREAMS)
async def test_what_comes_again_on_a_stream_has_done_once_what_it_asks(
    sites: tuple[Ready, Ready], name: str, counts: Counter[str]
) -> None:
    once, thrice = sites
    await STREAMS[name](once, 1)
    await STREAMS[name](thrice, TIMES)
    assert await everything(once.site) == await everything(thrice.site)
    counts["inputs"] += 1 + TIMES


@pytest.mark.parametrize("outcome", range(1, len(_outcomes(0))))
async def test_an_outcome_that_comes_again_counts_once(
    sites: tuple[Ready, Ready], outcome: int, counts: Counter[str]
) -> None:
    once, thrice = sites
    await _work(once, 1, outcome)
    await _work(thrice, TIMES, outcome)
    assert await everything(once.site) == await everything(thrice.site)
    counts["inputs"] += 1 + TIMES


def test_every_call_of_every_service_is_sent_again_here() -> None:
    calls = {method.name for service in services() for method in service.methods}
    assert {write.name for write in WRITES} | {name for name, _ in READS} | set(STREAMS) == calls
    streams = {
        method.name
        for service in services()
        for method in service.methods
        if method.client_streaming or method.server_streaming
    }
    assert set(STREAMS) == streams
