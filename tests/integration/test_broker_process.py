"""`tqbroker serve` as a process: what it prints, when it refuses, how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
from grpc.aio import AioRpcError, insecure_channel
from tests.acceptance.harness.footprint import spent
from tests.integration.broker_harness import SECONDS, error_of, request
from tests.mutants.catching import catches

from tqbroker.v1 import admin_pb2, admin_pb2_grpc, errors_pb2, queue_pb2, queue_pb2_grpc

ROOT = Path(__file__).resolve().parents[2]


class Broker:
    """A `tqbroker serve` process and what it logged so far."""

    def __init__(self, folder: Path) -> None:
        self.data_dir = folder / "data"
        self.log: list[dict[str, Any]] = []
        self.process: asyncio.subprocess.Process

    async def start(self, *flags: str, mutant: str = "", **environ: str) -> Broker:
        """Starts it without waiting for anything, with a planted bug if one is named."""
        program = ["tests.mutants", mutant] if mutant else ["tqbroker"]
        command = [sys.executable, "-m", *program, "serve", "--data-dir", str(self.data_dir), *flags]
        self.process = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, env={**os.environ, **environ}, stderr=asyncio.subprocess.PIPE
        )
        return self

    async def event(self, name: str) -> dict[str, Any]:
        """Reads its log up to an event."""
        assert self.process.stderr is not None
        while line := await asyncio.wait_for(self.process.stderr.readline(), SECONDS):
            self.log.append(json.loads(line))
            if self.log[-1]["event"] == name:
                return self.log[-1]
        raise AssertionError(f"{name} never came: {self.log}")

    async def ready(self) -> str:
        """Its address, when it serves."""
        address: str = (await self.event("ready"))["address"]
        return address

    async def end(self) -> tuple[int, str]:
        """Its exit code and what it still had to say."""
        _, text = await asyncio.wait_for(self.process.communicate(), SECONDS)
        assert self.process.returncode is not None
        return self.process.returncode, text.decode()

    async def refusal(self) -> str:
        """Its one sentence, when it ends by itself with the code 1. Fails if it serves."""
        assert self.process.stderr is not None
        said = (await asyncio.wait_for(self.process.stderr.readline(), SECONDS)).decode()
        if said.startswith("{"):
            self.process.kill()
        assert await self.end() == (1, ""), f"it goes on: {said}"
        return said


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    """A broker process that a test starts as it likes."""
    broker = Broker(tmp_path)
    yield broker
    if broker.process.returncode is None:
        broker.process.kill()
        await broker.process.communicate()


async def version(address: str) -> str:
    async with insecure_channel(address) as channel:
        stub: Any = admin_pb2_grpc.AdminStub(channel)
        answer = await stub.GetBroker(admin_pb2.GetBrokerRequest(), timeout=SECONDS, wait_for_ready=True)
        return str(answer.version)


async def stores_a_job(address: str) -> bool:
    async with insecure_channel(address) as channel:
        stub: Any = queue_pb2_grpc.QueueStub(channel)
        return bool((await stub.Enqueue(request([uuid4()]), timeout=SECONDS)).stored == 1)


async def test_one_line_says_where_what_and_how_durable_well_within_a_second(broker: Broker) -> None:
    await broker.start("--listen", "127.0.0.1:0")
    line = await broker.event("ready")
    took = spent(broker.process.pid)
    assert line["data_dir"] == str(broker.data_dir)
    assert "fsync" in line["durability"]
    assert line["version"] == await version(line["address"])
    assert len(broker.log) == 1
    assert took < 2, "it takes about 0.4 s of processor time; a busy machine gives that later"


async def test_sigterm_ends_it_cleanly(broker: Broker) -> None:
    await (await broker.start("--listen", "127.0.0.1:0")).ready()
    broker.process.send_signal(signal.SIGTERM)
    code, log = await broker.end()
    assert code == 0
    assert [json.loads(line)["event"] for line in log.splitlines()] == ["stopping", "stopped"]


async def test_the_store_is_for_its_owner_only(broker: Broker) -> None:
    await (await broker.start("--listen", "127.0.0.1:0")).ready()
    assert stat.S_IMODE(broker.data_dir.stat().st_mode) == 0o700


@pytest.mark.proof("T25")
async def test_a_second_broker_on_the_directory_says_so_and_ends(broker: Broker, tmp_path: Path) -> None:
    await two_on_the_directory(broker, tmp_path)


@catches("directory_not_locked")
async def test_a_second_broker_shows_that_the_directory_is_not_locked(
    broker: Broker, tmp_path: Path, mutant: str
) -> None:
    with pytest.raises(AssertionError, match="it goes on"):
        await two_on_the_directory(broker, tmp_path, mutant)


async def two_on_the_directory(broker: Broker, tmp_path: Path, mutant: str = "") -> None:
    """The second one leaves, and the first goes on."""
    address = await (await broker.start("--listen", "127.0.0.1:0", mutant=mutant)).ready()
    second = await Broker(tmp_path).start("--listen", "127.0.0.1:0", mutant=mutant)
    text = await second.refusal()
    assert text.startswith("tqbroker serve: another broker is using the data directory")
    assert await stores_a_job(address), "the first broker is harmed"


@pytest.mark.proof("T25")
async def test_a_second_broker_on_the_port_says_so_and_ends(broker: Broker, tmp_path: Path) -> None:
    await two_on_the_port(broker, tmp_path)


@catches("port_is_shared")
async def test_a_second_broker_shows_that_the_port_is_shared(broker: Broker, tmp_path: Path, mutant: str) -> None:
    with pytest.raises(AssertionError, match="it goes on"):
        await two_on_the_port(broker, tmp_path, mutant)


async def two_on_the_port(broker: Broker, tmp_path: Path, mutant: str = "") -> None:
    """The second one leaves with nothing done, and the first goes on."""
    address = await (await broker.start("--listen", "127.0.0.1:0", mutant=mutant)).ready()
    second = await Broker(tmp_path / "second").start("--listen", address, mutant=mutant)
    text = await second.refusal()
    assert text.startswith(f"tqbroker serve: cannot listen on {address}: another program has it")
    assert not second.data_dir.exists()
    assert await stores_a_job(address), "the first broker is harmed"


async def test_a_unix_socket_is_served_and_not_taken_from_a_living_broker(broker: Broker, tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        address = f"unix:{folder}/tq.sock"
        assert await (await broker.start("--listen", address)).ready() == address
        second = await Broker(tmp_path / "second").start("--listen", address)
        code, text = await second.end()
        assert (code, len(text.splitlines())) == (1, 1)
        assert await version(address)


@pytest.mark.parametrize(
    ("flags", "environ", "words"),
    [
        (("--listen", "0.0.0.0:7730"), {}, "there is no TLS and no login yet"),
        (("--listen", "127.0.0.1:0"), {"TQ_FAILPOINT": "after_commit=kill9"}, "set TQ_TESTING=1 as well"),
        (("--listen", "127.0.0.1:0"), {"TQ_FAILPOINT": "nowhere=kill9", "TQ_TESTING": "1"}, "unknown place 'nowhere'"),
        (("--config", "/does/not/exist.toml"), {}, "cannot read the configuration"),
    ],
)
async def test_what_cannot_be_served_is_refused_in_one_line(
    broker: Broker, flags: tuple[str, ...], environ: dict[str, str], words: str
) -> None:
    await broker.start(*flags, **environ)
    code, text = await broker.end()
    assert code == 2
    assert words in text
    assert len(text.splitlines()) == 1


async def test_after_a_failed_commit_nothing_is_acknowledged_and_the_process_ends(broker: Broker) -> None:
    await broker.start("--listen", "127.0.0.1:0", TQ_FAILPOINT="before_commit=raise", TQ_TESTING="1")
    address = await broker.ready()
    async with insecure_channel(address) as channel:
        stub: Any = queue_pb2_grpc.QueueStub(channel)
        with pytest.raises(AioRpcError) as failure:
            await stub.Enqueue(request([uuid4()]), timeout=SECONDS)
    assert failure.value.code() in (grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE)
    if failure.value.code() is grpc.StatusCode.UNKNOWN:
        assert error_of(failure.value).reason == errors_pb2.REASON_AMBIGUOUS
    code, log = await broker.end()
    assert code == 1
    assert "storage has failed" in log


async def test_what_was_acknowledged_before_a_kill_is_there_after_it(broker: Broker) -> None:
    await broker.start("--listen", "127.0.0.1:0", TQ_FAILPOINT="after_commit_before_reply:20=kill9", TQ_TESTING="1")
    acknowledged, ids = [], [uuid4() for _ in range(30)]
    async with insecure_channel(await broker.ready()) as channel:
        stub: Any = queue_pb2_grpc.QueueStub(channel)
        for job in ids:
            try:
                await stub.Enqueue(request([job]), timeout=SECONDS)
            except AioRpcError:
                break
            acknowledged.append(job)
    await broker.end()
    assert len(acknowledged) == 19
    async with insecure_channel(await (await broker.start("--listen", "127.0.0.1:0")).ready()) as channel:
        stub = queue_pb2_grpc.QueueStub(channel)
        answer = await stub.Enqueue(request(ids[:21]), timeout=SECONDS)
        assert sorted(item.index for item in answer.exceptions if item.duplicate) == list(range(20))
        assert isinstance(answer, queue_pb2.EnqueueResponse)
