"""`python -m tests.network.repeater TARGET SEED`: a broker's address behind which every message may come twice.

It forwards every call of our services to TARGET as bytes. Requests are sent twice, and held back while later ones
overtake them; answers come late and in another order, or are lost with their call or stream after the broker has done
what was asked. Prints its port. For each line of its standard input it sends copies of requests of long ago, and prints
how many; when that ends, what it did, as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import grpc
import grpc.aio
from tests.network.inputs import Call, calls

OPTIONS = [("grpc.so_reuseport", 0), ("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]

EOF: object = vars(grpc.aio)["EOF"]

TWICE, LATE, LOST = 0.3, 0.3, 0.02
"""Shares of the messages that are sent twice, whose answer comes late, and whose answer is lost."""

LONGEST = 0.05
"""Seconds that a request or an answer is late at most: long enough that others overtake it."""

KEPT, MOST_KEPT = 0.2, 200
"""Share of the requests whose copies come again when everybody has forgotten them, and how many at most."""

UNORDERED = "EnqueueStream"
"""The stream whose requests have no order among each other. What is watched and no longer watched has one."""


class Repeater(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """The handler of all calls."""

    def __init__(self, target: str, seed: int) -> None:
        self._random = Random(seed)
        self._calls = calls()
        self._channel: Any = grpc.aio.insecure_channel(target, options=OPTIONS)
        self._kept: list[tuple[Call, bytes]] = []
        self._arrived = self._furthest = 0
        self.did: Counter[str] = Counter()

    def service(self, handler_call_details: Any) -> Any:
        """How a call is forwarded."""
        call = self._calls.get(str(handler_call_details.method))
        if call is None:
            return None
        if call.streams_up:
            return grpc.stream_stream_rpc_method_handler(self._stream(call))
        if call.streams_down:
            return grpc.unary_stream_rpc_method_handler(self._pour(call))
        return grpc.unary_unary_rpc_method_handler(self._ask(call))

    async def again(self) -> int:
        """Sends copies of what was kept, in another order, each on a call of its own. How many."""
        copies = self._random.sample(self._kept, len(self._kept))
        for call, request in copies:
            if call.streams_up:
                stream = self._channel.stream_stream(call.path)(timeout=20, wait_for_ready=True)
                await stream.write(request)
                await stream.done_writing()
                while await stream.read() is not EOF:
                    pass
            else:
                await self._channel.unary_unary(call.path)(request, timeout=20, wait_for_ready=True)
        self.did["sent long after"] += len(copies)
        return len(copies)

    def _keep(self, call: Call, request: bytes) -> None:
        if len(self._kept) < MOST_KEPT and self._random.random() < KEPT:
            self._kept.append((call, request))

    # -- calls with one answer -----------------------------------------------------------------------------------------

    def _ask(self, call: Call) -> Any:
        forward = self._channel.unary_unary(call.path)

        async def ask(request: bytes, context: Any) -> bytes:
            self._keep(call, request)
            await self._dawdle("held back")
            try:
                answer: bytes = await forward(request, timeout=20)
                if self._does("sent twice", TWICE):
                    answer = await forward(request, timeout=20)
            except grpc.aio.AioRpcError as error:
                await context.abort(error.code(), error.details(), error.trailing_metadata())
                raise
            await self._dawdle("late")
            if self._does("answers lost", LOST):
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the answer is lost")
            return answer

        return ask

    def _pour(self, call: Call) -> Any:
        forward = self._channel.unary_stream(call.path)

        async def pour(request: bytes, context: Any) -> AsyncIterator[bytes]:
            async for answer in forward(request):
                yield answer

        return pour

    # -- streams -------------------------------------------------------------------------------------------------------

    def _stream(self, call: Call) -> Any:
        forward = self._channel.stream_stream(call.path)
        in_order = call.first is not None
        """A Work stream counts its messages: what comes twice or too early there breaks it, and that is all."""

        async def stream(requests: AsyncIterator[bytes], context: Any) -> None:
            there = forward()
            up = asyncio.ensure_future(self._up(call, requests, there))
            down = asyncio.ensure_future(self._down(there, context, in_order))
            try:
                await asyncio.wait([up, down], return_when=asyncio.FIRST_EXCEPTION)
                for side in (up, down):
                    if side.done():
                        side.result()
            except grpc.aio.AioRpcError as error:
                await context.abort(error.code(), error.details(), error.trailing_metadata())
            except (ConnectionError, asyncio.InvalidStateError):
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the stream is lost")
            finally:
                there.cancel()
                for side in (up, down):
                    side.cancel()
                await asyncio.gather(up, down, return_exceptions=True)

        return stream

    async def _up(self, call: Call, requests: AsyncIterator[bytes], there: Any) -> None:
        twice = TWICE if call.first is None else LOST
        if call.path.endswith(UNORDERED):
            await self._overtaking(call, requests, there, twice)
        else:
            async for request in requests:
                await self._write(request, there, twice)
        await there.done_writing()

    async def _overtaking(self, call: Call, requests: AsyncIterator[bytes], there: Any, twice: float) -> None:
        writing = asyncio.Lock()
        try:
            async with asyncio.TaskGroup() as late:
                async for request in requests:
                    self._keep(call, request)
                    late.create_task(self._hand(request, there, writing, twice))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None

    async def _hand(self, request: bytes, there: Any, writing: asyncio.Lock, twice: float) -> None:
        self._arrived = number = self._arrived + 1
        await self._dawdle("held back")
        async with writing:
            self.did["overtaken"] += number < self._furthest
            self._furthest = max(number, self._furthest)
            await self._write(request, there, twice)

    async def _write(self, request: bytes, there: Any, twice: float) -> None:
        await there.write(request)
        if self._does("sent twice", twice):
            await there.write(request)

    async def _down(self, there: Any, context: Any, in_order: bool) -> None:
        writing = asyncio.Lock()
        late: set[asyncio.Task[None]] = set()
        while (answer := await there.read()) is not EOF:
            if self._does("streams lost", LOST / 4):
                raise ConnectionError
            task = asyncio.ensure_future(self._give(answer, context, writing, in_order))
            if in_order:
                await task
            else:
                late.add(task)
                task.add_done_callback(late.discard)
        await asyncio.gather(*late)

    async def _give(self, answer: bytes, context: Any, writing: asyncio.Lock, in_order: bool) -> None:
        if not in_order:
            await self._dawdle("late")
        async with writing:
            with contextlib.suppress(grpc.aio.BaseError, asyncio.InvalidStateError):
                await context.write(answer)

    # -- chance --------------------------------------------------------------------------------------------------------

    def _does(self, what: str, share: float) -> bool:
        hit = self._random.random() < share
        self.did[what] += hit
        return hit

    async def _dawdle(self, what: str) -> None:
        if self._does(what, LATE):
            await asyncio.sleep(self._random.uniform(0, LONGEST))


async def main(target: str, seed: int) -> None:
    repeater = Repeater(target, seed)
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((repeater,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(await repeater.again(), flush=True)
    await server.stop(None)
    print(json.dumps(repeater.did), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
