"""Every call of every service, sent once to one broker and twice to another: both are as one in the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from grpc.aio import AioRpcError
from tests.integration.broker_harness import EOF, SECONDS, Site, error_of, running
from tests.integration.good_requests import BATCH, PART, RULE, SCHEDULE, STREAMS, UNARY, anew

from tqbroker.v1 import admin_pb2, errors_pb2, queue_pb2

pytestmark = pytest.mark.proof("T14")

TIMES = ("_unix_ms", "epoch", "store", "data_dir", "_bytes", "instance", "next_", "pid", "recovery_left_ms")
"""Fields that two brokers never have the same, by the end or the beginning of their names."""

DOCUMENTED: dict[str, Callable[[Any, Any], bool]] = {
    "Enqueue": lambda first, second: second.stored == 0 and all(each.duplicate for each in second.exceptions),
    "Cancel": lambda first, second: len(first.effects) == len(second.effects),
    "SubmitWorkflow": lambda first, second: second.duplicate,
    "Forget": lambda first, second: second.forgotten == 0,
    "DeleteGroup": lambda first, second: not second.deleted,
    "EditJobs": lambda first, second: all(each.refusal for each in second.jobs),
    "EditWorkflow": lambda first, second: second.changed == 0,
    "DeleteQueue": lambda first, second: second.reason == errors_pb2.REASON_NOT_FOUND,
    "GetBroker": lambda first, second: True,
}
"""How the second answer of a call may differ from its first: what is there to do is done."""


def may_differ(name: str, first: Any, second: Any) -> bool:
    """Whether this call may answer so when it comes again."""
    rule = DOCUMENTED.get(name)
    return rule is not None and rule(first, second)


@pytest.fixture
async def sites(tmp_path: Path) -> AsyncIterator[tuple[Site, Site]]:
    """Two brokers with the same in them."""
    async with running(tmp_path / "once") as once, running(tmp_path / "twice") as twice:
        yield once, twice


async def prepare(site: Site, workflow: Message) -> None:
    """Something of each kind, so that the calls find what they are about."""
    await site.queue.Enqueue(queue_pb2.EnqueueRequest(batches=[BATCH]), timeout=SECONDS)
    await site.queue.SubmitWorkflow(workflow, timeout=SECONDS)
    await site.admin.SetLimits(admin_pb2.SetLimitsRequest(set=[RULE]), timeout=SECONDS)
    await site.admin.SetSchedules(admin_pb2.SetSchedulesRequest(put=[SCHEDULE]), timeout=SECONDS)


async def ask(site: Site, service: str, name: str, request: Message) -> Any:
    """The answer, or the reason why there is none."""
    try:
        return await getattr(getattr(site, service), name)(request, timeout=SECONDS)
    except AioRpcError as failure:
        return error_of(failure)


async def everything(site: Site, *, events: bool = True) -> list[Message]:
    """What a broker says there is, without what two brokers never have the same."""
    answers = [
        await site.admin.ListQueues(admin_pb2.ListQueuesRequest(), timeout=SECONDS),
        await site.admin.ListJobs(admin_pb2.ListJobsRequest(with_args=True), timeout=SECONDS),
        await site.admin.ListLimits(admin_pb2.ListLimitsRequest(), timeout=SECONDS),
        await site.admin.ListSchedules(admin_pb2.ListSchedulesRequest(), timeout=SECONDS),
        await site.admin.ListWorkflows(admin_pb2.ListWorkflowsRequest(), timeout=SECONDS),
        await site.queue.GetGroup(queue_pb2.GetGroupRequest(id=b"g" * 16), timeout=SECONDS),
        *(await _events(site) if events else ()),
    ]
    return [timeless(each) for each in answers]


async def _events(site: Site) -> list[Message]:
    call = site.admin.WatchEvents(admin_pb2.WatchEventsRequest(), timeout=SECONDS)
    found: list[Message] = []
    while (answer := await call.read()) is not EOF:
        found.append(answer)
    return found


def timeless(message: Message) -> Message:
    """A copy without the fields of TIMES, at any depth."""
    copy = type(message)()
    copy.CopyFrom(message)
    for field, value in copy.ListFields():
        if field.name.startswith(TIMES) or field.name.endswith(TIMES):
            copy.ClearField(field.name)
        elif field.type == FieldDescriptor.TYPE_MESSAGE and not _is_map(field):
            for each in value if field.is_repeated else [value]:
                each.CopyFrom(timeless(each))
    return copy


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


@pytest.mark.parametrize(("service", "name", "good"), UNARY, ids=[f"{name}{n}" for n, (_, name, _) in enumerate(UNARY)])
async def test_a_call_that_comes_twice_does_once_what_it_asks(
    sites: tuple[Site, Site], service: str, name: str, good: Message, counts: Counter[str]
) -> None:
    once, twice = sites
    workflow = anew(queue_pb2.SubmitWorkflowRequest(part=PART))
    request = type(good)()
    request.CopyFrom(good)
    anew(request)
    if isinstance(request, admin_pb2.SetSchedulesRequest):
        for schedule in request.put:
            schedule.paused = True  # both brokers are looked at, at different moments
    for site in sites:
        await prepare(site, workflow)
    before = await everything(once)
    assert before == await everything(twice)

    alone = await ask(once, service, name, request)
    first, second = await ask(twice, service, name, request), await ask(twice, service, name, request)

    assert timeless(alone) == timeless(first)
    assert timeless(first) == timeless(second) or may_differ(name, first, second), (first, second)
    events = name != "EditJobs"  # a job that is moved to the end again has moved, and the log says so
    assert await everything(once, events=events) == await everything(twice, events=events)
    counts["inputs"] += 3


async def test_a_submit_that_comes_twice_on_a_stream_is_stored_once(
    sites: tuple[Site, Site], counts: Counter[str]
) -> None:
    once, twice = sites
    request = next(message for name, message in STREAMS if name == "EnqueueStream")
    answers = [await _stream(once, [request]), await _stream(twice, [request, request])]

    assert [each.response.stored for each in answers[0]] == [2]
    assert sorted(each.response.stored for each in answers[1]) == [0, 2]
    assert await everything(once) == await everything(twice)
    counts["inputs"] += 3


async def _stream(site: Site, requests: list[Any]) -> list[Any]:
    call = site.queue.EnqueueStream(timeout=SECONDS)
    for request in requests:
        await call.write(request)
    await call.done_writing()
    answers: list[Any] = []
    while (answer := await call.read()) is not EOF:
        answers.append(answer)
    return answers
