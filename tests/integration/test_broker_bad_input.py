"""Whatever a client in another language may send: each field of each request, one after another, filled with nonsense.

The answer is a result or an error with a reason. It is never an internal error, and the broker goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from google.protobuf.message import Message
from grpc.aio import AioRpcError
from tests.integration.broker_harness import EOF, SECONDS, TASK, Site, WireWorker, column, error_of, request, running
from tests.integration.good_requests import HELLO, SAYS, STREAMS, UNARY, anew
from tests.integration.nonsense import spoilt

from tqbroker.v1 import admin_pb2, errors_pb2, job_pb2, queue_pb2, worker_pb2


@pytest.fixture(params=["memory:", ""], ids=["memory", "lmdb"])
async def site(request: pytest.FixtureRequest, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Site]:
    """A broker on each storage engine, which is well afterwards and has logged no error."""
    async with running(tmp_path, request.param) as site:
        yield site
        worker = site.attach("well", instance=b"w" * 16, queues=["well"])
        await worker.start()
        (job,) = await site.enqueue(queue="well")
        ((delivered, token),) = await worker.delivered()
        await worker.acked(await worker.succeed(token))
        assert delivered == job
        assert (await site.status(job)).state == job_pb2.STATE_SUCCEEDED
    assert [record.getMessage() for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")] == []


class Findings(list[str]):
    """What was not answered as it must be; all of it, because one finding seldom comes alone."""

    def check(self, what: str, failure: BaseException) -> None:
        """A call that failed must have said why, as data."""
        if not isinstance(failure, AioRpcError):
            self.append(f"{what}: {type(failure).__name__} {failure}")
            return
        try:
            known = bool(error_of(failure).reason)
        except KeyError:
            known = False
        if not known:
            self.append(f"{what}: {failure.code()} {failure.details()}")


def test_every_call_of_every_service_is_walked() -> None:
    walked = {name for _, name, _ in UNARY} | {name for name, _ in STREAMS} | {"WatchEvents", "Backup", "Work"}
    files = (queue_pb2, admin_pb2, worker_pb2)
    services = [service for file in files for service in file.DESCRIPTOR.services_by_name.values()]
    assert walked == {method.name for service in services for method in service.methods}


@pytest.mark.parametrize(("service", "name", "good"), UNARY, ids=[f"{name}{n}" for n, (_, name, _) in enumerate(UNARY)])
async def test_a_malformed_request_gets_an_answer_or_a_reason(
    site: Site, service: str, name: str, good: Message
) -> None:
    findings = Findings()
    call = getattr(getattr(site, service), name)
    for what, bad in [("good", good), *spoilt(good)]:
        try:
            answer = await call(anew(bad), timeout=SECONDS)
        except AioRpcError as failure:
            findings.check(what, failure)
        else:
            if isinstance(answer, queue_pb2.EnqueueResponse):
                findings += _unexplained(what, answer)
            if isinstance(answer, queue_pb2.SubmitWorkflowResponse):
                findings += [f"{what}: {item}" for item in answer.refused if not item.error.reason]
    assert findings == []


BROKEN = [b"\xff", b"\x0a\x7fx", b"\x0a\x02\xff\xfe" * 3, b"\x0b" * 1000, b"\x80" * 11]
"""What is no message: a tag without an end, a length that lies, a text that is not UTF-8, groups, an endless number."""


def _paths() -> list[tuple[str, bool]]:
    """Every call as gRPC names it, and whether it is a stream."""
    services = [
        service for file in (queue_pb2, admin_pb2, worker_pb2) for service in file.DESCRIPTOR.services_by_name.values()
    ]
    return [
        (f"/{service.full_name}/{method.name}", method.client_streaming or method.server_streaming)
        for service in services
        for method in service.methods
    ]


async def test_bytes_that_are_no_message_are_refused_with_a_reason_by_every_call(site: Site) -> None:
    findings = Findings()
    channel: Any = site.channel  # its stubs want serializers, which would stand in the way of such bytes
    for (path, streams), raw in product(_paths(), BROKEN):
        try:
            if streams:
                call = channel.stream_stream(path)(timeout=SECONDS)
                await call.write(raw)
                await asyncio.wait_for(call.read(), SECONDS)
            else:
                await channel.unary_unary(path)(raw, timeout=SECONDS)
        except AioRpcError as failure:
            findings.check(f"{path} {raw[:10]!r}", failure)
    assert findings == []


async def test_an_argument_of_ten_megabytes_is_refused_with_its_limit(site: Site) -> None:
    with pytest.raises(AioRpcError) as failure:
        await site.queue.Enqueue(request([uuid4()], args=b"x" * 10_000_000), timeout=SECONDS)
    error = error_of(failure.value)
    assert error.reason == errors_pb2.REASON_TOO_LARGE
    assert error.facts["limit_bytes"] == "1048576"


def _unexplained(what: str, answer: queue_pb2.EnqueueResponse) -> list[str]:
    """The jobs that were not stored without a reason."""
    return [f"{what}: {item}" for item in answer.exceptions if not (item.duplicate or item.kept or item.error.reason)]


@pytest.mark.parametrize(("name", "good"), STREAMS, ids=[name for name, _ in STREAMS])
async def test_a_malformed_message_of_a_stream_gets_an_answer_or_a_reason(site: Site, name: str, good: Message) -> None:
    findings = Findings()
    for what, bad in spoilt(good):
        try:
            answers = await _talk(getattr(site.queue, name), bad)
        except AioRpcError as failure:
            findings.check(what, failure)
            continue
        for answer in answers:
            if isinstance(answer, queue_pb2.EnqueueStreamResponse):
                findings += _unexplained(what, answer.response)
                if answer.HasField("error") and not answer.error.reason:
                    findings.append(f"{what}: {answer.error}")
    assert findings == []


async def test_a_malformed_watch_of_events_gets_an_answer_or_a_reason(site: Site) -> None:
    findings = Findings()
    await site.enqueue(3)
    for what, bad in spoilt(admin_pb2.WatchEventsRequest(after=1, kinds=[admin_pb2.EVENT_KIND_SENT])):
        call = site.admin.WatchEvents(bad, timeout=SECONDS)
        try:
            await asyncio.wait_for(call.read(), SECONDS)
        except AioRpcError as failure:
            findings.check(what, failure)
        finally:
            call.cancel()
    assert findings == []


LOST = "Internal error from Core"
"""What gRPC's asyncio client says when it half-closes a call that the broker has just ended: the reason is lost."""


async def _talk(stub: Any, message: Message) -> list[Any]:
    """Sends a message on a new stream, half-closes, and reads to the end."""
    for _ in range(20):
        call = stub(timeout=SECONDS)
        try:
            await call.write(message)
            await call.done_writing()
            return await _rest(call)
        except AioRpcError as failure:
            if failure.details() != LOST:
                raise
    raise AssertionError("gRPC lost every answer")


async def _rest(call: Any) -> list[Any]:
    """Everything up to the end of a stream."""
    answers: list[Any] = []
    while (answer := await asyncio.wait_for(call.read(), SECONDS)) is not EOF:
        answers.append(answer)
    return answers


async def test_a_malformed_introduction_of_a_worker_gets_a_welcome_or_a_reason(site: Site) -> None:
    findings = Findings()
    good = worker_pb2.WorkRequest(number=1, hello=HELLO, credit=worker_pb2.Credit(slots=1, window=1, fast=[TASK]))
    for what, bad in spoilt(good):
        bad.leaving = True
        call = site.worker.Work(timeout=SECONDS)
        try:
            await call.write(bad)
            await _rest(call)
        except AioRpcError as failure:
            findings.check(what, failure)
    assert findings == []


async def _token(worker: WireWorker, job: UUID) -> int:
    """The token of this job's delivery, which others may precede."""
    while True:
        tokens = dict(await worker.delivered())
        if job in tokens:
            return tokens[job]


def _about(message: worker_pb2.WorkRequest, token: int) -> worker_pb2.WorkRequest:
    """The message with this token where it says 1, as the last of its worker."""
    message.leaving = True
    for batch in message.successes:
        batch.tokens[:] = [token if known == 1 else known for known in batch.tokens]
    items: list[worker_pb2.Ending | worker_pb2.Annotation] = [*message.endings, *message.annotations]
    for item in items:
        item.token = token if item.token == 1 else item.token
    message.returned[:] = [token if known == 1 else known for known in message.returned]
    return message


@pytest.mark.parametrize(("name", "good"), SAYS, ids=[name for name, _ in SAYS])
async def test_a_malformed_word_of_a_worker_about_its_job_is_kept_or_refused(
    site: Site, name: str, good: worker_pb2.WorkRequest
) -> None:
    findings = Findings()
    for what, bad in spoilt(good):
        worker = site.attach("bad", instance=uuid4().bytes)
        await worker.start()
        (job,) = await site.enqueue()
        try:
            token = await _token(worker, job)
            await worker.call.write(_about(bad, token))
            await _rest(worker.call)
        except AioRpcError as failure:
            findings.check(what, failure)
        try:
            status = await site.status(job)
            await site.admin.GetJob(admin_pb2.GetJobRequest(id=str(job)), timeout=SECONDS)
            await site.admin.ListJobs(admin_pb2.ListJobsRequest(), timeout=SECONDS)
        except AioRpcError as failure:
            findings.append(f"{what}: afterwards {failure.code()} {failure.details()}")
        else:
            if status.state in (job_pb2.STATE_UNKNOWN, job_pb2.STATE_UNSPECIFIED):
                findings.append(f"{what}: {status}")
        await site.queue.Cancel(queue_pb2.CancelRequest(ids=column([job])), timeout=SECONDS)
    assert findings == []
