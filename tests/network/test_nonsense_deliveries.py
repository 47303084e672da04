"""What a worker is sent is not always what a broker sends: whatever it is, the next good job runs."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter, deque
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import grpc
import grpc.aio
import pytest
from tests.integration.worker.conftest import start
from tests.integration.worker_harness import SECONDS, Broker, Line, Start, Worker, success
from tests.network.mutation import Mutation
from tests.network.raw_server import filled
from tests.proof.amount import amount, numbers

from tqbroker.codec import encode_call
from tqbroker.v1 import worker_pb2 as pb

__all__ = ["start"]

pytestmark = pytest.mark.proof("T20")

GONE = (grpc.RpcError, asyncio.InvalidStateError, grpc.aio.BaseError)
"""What gRPC raises when one writes to a stream that the worker has left."""

AT_ONCE = 25
"""Messages between two looks at whether the worker still works."""


def _written(message: Any) -> bytes:
    """Messages as they are, and bytes that are none."""
    return bytes(message) if isinstance(message, bytes) else bytes(message.SerializeToString())


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    """A broker's end of the stream that can say anything."""
    broker = Broker()
    serve = grpc.stream_stream_rpc_method_handler(broker.Work, pb.WorkRequest.FromString, _written)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("tqbroker.v1.Worker", {"Work": serve}),))
    server.add_insecure_port(f"unix:{tmp_path}/tq.sock")
    await server.start()
    yield broker
    await server.stop(None)


class Tormentor:
    """Sends nonsense down whatever stream the worker has, and good jobs in between."""

    def __init__(self, broker: Broker, seed: int) -> None:
        self._broker = broker
        self._random = Random(seed)
        self._good = filled(pb.WorkResponse.DESCRIPTOR)
        (batch,) = self._good.deliveries
        batch.task, batch.args[0] = "tasks.add", encode_call((4, 4), {})
        self._mutation = Mutation(self._random, [self._good.SerializeToString()])
        self._tokens = count(1 << 40)
        self._line: Line | None = None
        self.said: deque[bytes] = deque(maxlen=AT_ONCE)

    async def torment(self) -> None:
        """One message of nonsense."""
        self._good.deliveries[0].tokens[0] = next(self._tokens)
        raw = self._mutation.bad(self._good)
        self.said.append(raw)
        line = await self._open()
        try:
            await line._context.write(raw)
        except GONE:
            self._line = None

    async def works(self) -> None:
        """Returns when the worker has run a good job."""
        async with asyncio.timeout(SECONDS):
            while True:
                token = next(self._tokens)
                try:
                    line = await self._open()
                    await line.deliver("add", (4, 4), first=token)
                    if await self._succeeds(line, token):
                        return
                except GONE:
                    self._line = None

    async def _succeeds(self, line: Line, token: int) -> bool:
        """Whether the job ends well; False when the worker connects anew before that."""
        while self._broker.lines.empty():
            try:
                request = await asyncio.wait_for(line.requests.get(), 0.05)
            except TimeoutError:
                continue
            await line.say(acked=request.number, heartbeat=request.heartbeat)
            if (token, 8) in success(request):
                return True
        return False

    async def _open(self) -> Line:
        """The worker's latest stream, welcomed."""
        while self._line is None or not self._broker.lines.empty():
            self._line = await self._broker.line()
            await self._line.welcome()
        return self._line


@pytest.mark.timeout(900)
async def test_a_worker_outlives_whatever_it_is_sent(broker: Broker, start: Start, counts: Counter[str]) -> None:
    worker: Worker = await start("-c", "2", "-l", "critical")
    for seed in numbers(1, 8):
        tormentor = Tormentor(broker, seed)
        for _ in range(amount(4, 60)):
            for _ in range(AT_ONCE):
                await tormentor.torment()
            try:
                await tormentor.works()
            except TimeoutError:
                said = [base64.b64encode(raw)[:3000] for raw in tormentor.said]
                raise AssertionError(f"TQ_SEED={seed}: no job runs after one of {said}") from None
            assert worker.process.returncode is None, await worker.end()
            counts["inputs"] += AT_ONCE
