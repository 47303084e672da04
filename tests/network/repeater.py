"""`python -m tests.network.repeater TARGET SEED`: a broker's address behind which every message may come twice.

It forwards every call of our services to TARGET as bytes. Requests are sent twice, answers come late and in another
order, or are lost with their call or stream after the broker has done what was asked. Prints its port, and when its
standard input ends what it did, as JSON.
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
"""Seconds that an answer is late at most: long enough that others overtake it."""


class Repeater(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """The handler of all calls."""

    def __init__(self, target: str, seed: int) -> None:
        self._random = Random(seed)
        self._calls = calls()
        self._channel: Any = grpc.aio.insecure_channel(target, options=OPTIONS)
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

    # -- calls with one answer -----------------------------------------------------------------------------------------

    def _ask(self, call: Call) -> Any:
        forward = self._channel.unary_unary(call.path)

        async def ask(request: bytes, context: Any) -> bytes:
            try:
                answer: bytes = await forward(request, timeout=20)
                if self._does("sent twice", TWICE):
                    answer = await forward(request, timeout=20)
            except grpc.aio.AioRpcError as error:
                await context.abort(error.code(), error.details(), error.trailing_metadata())
                raise
            await self._dawdle()
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
            up = asyncio.ensure_future(self._up(requests, there, LOST if in_order else TWICE))
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

    async def _up(self, requests: AsyncIterator[bytes], there: Any, twice: float) -> None:
        async for request in requests:
            await there.write(request)
            if self._does("sent twice", twice):
                await there.write(request)
        await there.done_writing()

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
            await self._dawdle()
        async with writing:
            with contextlib.suppress(grpc.aio.BaseError, asyncio.InvalidStateError):
                await context.write(answer)

    # -- chance --------------------------------------------------------------------------------------------------------

    def _does(self, what: str, share: float) -> bool:
        hit = self._random.random() < share
        self.did[what] += hit
        return hit

    async def _dawdle(self) -> None:
        if self._does("late", LATE):
            await asyncio.sleep(self._random.uniform(0, LONGEST))


async def main(target: str, seed: int) -> None:
    repeater = Repeater(target, seed)
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((repeater,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(None)
    print(json.dumps(repeater.did), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
