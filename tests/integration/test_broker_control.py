"""Commands to workers over real streams: complete answers, or the missing worker by name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from grpc.aio import AioRpcError
from tests.integration.broker_harness import SECONDS, Site, WireWorker, error_of, running

from tqbroker.v1 import admin_pb2 as pb
from tqbroker.v1 import errors_pb2, worker_pb2


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with running(tmp_path) as site:
        yield site


async def started(site: Site, name: str) -> WireWorker:
    worker = site.attach(name, instance=name.encode().ljust(16, b"."))
    await worker.start(slots=0)
    return worker


async def answer(worker: WireWorker, **reply: Any) -> worker_pb2.Command:
    """Reads the next command and answers it."""
    response = await worker.until(lambda seen: seen.commands)
    command: worker_pb2.Command = response.commands[0]
    await worker.send(replies=[worker_pb2.CommandReply(command=command.command, **reply)])
    return command


def control(site: Site, command: str = "ping", **fields: Any) -> asyncio.Task[pb.ControlResponse]:
    async def call() -> pb.ControlResponse:
        response: pb.ControlResponse = await site.admin.Control(
            pb.ControlRequest(command=command, **fields), timeout=SECONDS
        )
        return response

    return asyncio.create_task(call())


async def is_connected(site: Site, name: str) -> bool:
    response = await site.admin.ListWorkers(pb.ListWorkersRequest(), timeout=SECONDS)
    return any(info.connected for info in response.workers if info.name == name)


async def test_every_worker_is_asked_and_each_answer_comes_back_under_its_name(site: Site) -> None:
    workers = [await started(site, name) for name in ("w1", "w2")]
    asking = control(site, "stats", arguments=b'{"all":true}', timeout_ms=9000)
    commands = await asyncio.gather(answer(workers[0], body=b'{"jobs":1}'), answer(workers[1], error="broken"))
    assert {(command.name, command.arguments) for command in commands} == {("stats", b'{"all":true}')}
    response = await asking
    assert [(each.worker, each.body, each.error) for each in response.replies] == [
        ("w1", b'{"jobs":1}', ""),
        ("w2", b"", "broken"),
    ]
    assert response.missing == []


async def test_a_command_without_arguments_has_an_empty_object(site: Site) -> None:
    worker = await started(site, "w1")
    asking = control(site)
    assert (await answer(worker, body=b'"pong"')).arguments == b"{}"
    assert (await asking).replies[0].body == b'"pong"'


async def test_only_the_workers_meant_are_asked_and_unknown_ones_are_named(site: Site) -> None:
    worker = await started(site, "w1")
    other = await started(site, "w2")
    asking = control(site, destination=["w1", "nobody"], timeout_ms=200)
    await answer(worker)
    response = await asking
    assert [each.worker for each in response.replies] == ["w1"]
    assert response.missing == ["nobody"]
    await other.send(heartbeat=True)
    await other.until(lambda seen: seen.heartbeat)
    assert not any(seen.commands for seen in other.seen)


async def test_who_does_not_answer_in_time_or_is_away_is_missing(site: Site) -> None:
    await started(site, "mute")
    away = await started(site, "away")
    away.call.cancel()
    while await is_connected(site, "away"):
        pass
    response = await control(site, timeout_ms=100)
    assert response.replies == []
    assert response.missing == ["away", "mute"]


async def test_without_workers_nobody_is_missing(site: Site) -> None:
    assert await control(site, timeout_ms=60_000) == pb.ControlResponse()


async def test_an_answer_to_nothing_is_not_heard(site: Site) -> None:
    worker = await started(site, "w1")
    number = await worker.send(replies=[worker_pb2.CommandReply(command=99, body=b"?")])
    await worker.acked(number)


@pytest.mark.parametrize(
    "fields",
    [
        {"command": ""},
        {"command": "c" * 65},
        {"arguments": b"["},
        {"arguments": b"[1]"},
        {"arguments": b'{"a":"' + b"x" * 70_000 + b'"}'},
        {"timeout_ms": 60_001},
        {"destination": [""]},
    ],
)
async def test_a_command_that_breaks_a_rule_is_refused(site: Site, fields: dict[str, Any]) -> None:
    with pytest.raises(AioRpcError) as failure:
        await control(site, **fields)
    assert error_of(failure.value).reason == errors_pb2.REASON_INVALID
