"""Sends inputs to a broker, many at a time, and says of each answer whether it is one that may be given."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import grpc
import grpc.aio
from google.rpc import status_pb2
from tests.network.inputs import Call, Input, calls

from tqbroker.v1 import errors_pb2

AT_ONCE = 24
"""Calls under way: enough to keep a broker busy."""

SECONDS = 20.0
"""An answer that takes longer hangs."""

OPTIONS = [
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.max_send_message_length", -1),
]

MOMENT = 0.3
"""Seconds for what may wait by rights: for a job that never ends, or a minute for workers that never answer."""

EOF: object = vars(grpc.aio)["EOF"]

LOST = "Internal error from Core"
"""What gRPC's asyncio client says when it writes to a call that the broker has just ended: the answer is lost."""

REFUSALS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.NOT_FOUND,
}
"""How a call may be refused. INTERNAL, UNKNOWN and UNAVAILABLE are nobody's fault but the broker's."""


class Verdict(NamedTuple):
    """What became of one input. `wrong` says why this may not be; `answer` is the last one, None if there was none."""

    input: Input
    code: str
    wrong: str = ""
    answer: bytes | None = None


class Attack:
    """A connection that sends bytes as they are.

    `moment` is how long an answer is waited for that need not come: SECONDS where each call is one that is refused.
    """

    def __init__(
        self,
        address: str,
        compression: grpc.Compression = grpc.Compression.NoCompression,
        moment: float = MOMENT,
    ) -> None:
        self._channel: Any = grpc.aio.insecure_channel(address, options=OPTIONS, compression=compression)
        self._calls = calls()
        self._moment = moment
        self.codes: Counter[str] = Counter()

    async def run(self, inputs: Iterator[Input]) -> list[Verdict]:
        """Everything, AT_ONCE at a time; what must not be, and what was refused."""
        found: list[Verdict] = []
        source = iter(inputs)

        async def work() -> None:
            for each in source:
                verdict = await self.send(each)
                self.codes[verdict.code] += 1
                if verdict.wrong or verdict.code == "INVALID_ARGUMENT":
                    found.append(verdict)

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        return found

    async def send(self, each: Input) -> Verdict:
        """One input and its answer. What gRPC's client loses is asked for again."""
        for _ in range(50):
            try:
                answer = await self._send(self._calls[each.path], each)
            except grpc.aio.AioRpcError as failure:
                if failure.details() != LOST:
                    return _judge(each, failure)
            except asyncio.InvalidStateError:
                pass
            except TimeoutError:
                return Verdict(each, "HANGS", "no answer in time")
            else:
                return Verdict(each, "OK", answer=answer)
        return Verdict(each, "LOST")

    async def _send(self, call: Call, each: Input) -> bytes | None:
        if not call.streams_up and not call.streams_down:
            return await self._ask(call, each.messages[0])
        if not call.streams_up:
            return await _rest(self._channel.unary_stream(call.path)(each.messages[0], timeout=SECONDS), most=1)
        stream: Any = self._channel.stream_stream(call.path)(timeout=SECONDS)
        try:
            for message in each.messages:
                await stream.write(message)
            await stream.done_writing()
            return await _rest(stream, patience=self._moment if call.path.endswith("/Wait") else SECONDS)
        finally:
            stream.cancel()

    async def _ask(self, call: Call, message: bytes) -> bytes | None:
        waits = call.path.endswith("/Control")
        try:
            answer: Any = await self._channel.unary_unary(call.path)(
                message, timeout=self._moment if waits else SECONDS
            )
        except grpc.aio.AioRpcError as failure:
            if waits and failure.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                return None
            raise
        return cast(bytes, answer)

    async def close(self) -> None:
        """Closes the connection."""
        await self._channel.close(None)


async def _rest(stream: Any, most: int = 1000, patience: float = SECONDS) -> bytes | None:
    """The last answer of a stream. One that is to be silent, when `patience` is short, is broken off."""
    last = None
    try:
        for _ in range(most):
            answer = await asyncio.wait_for(stream.read(), patience)
            if answer is EOF:
                break
            last = cast(bytes, answer)
    except TimeoutError:
        if patience >= SECONDS:
            raise
    finally:
        stream.cancel()
    return last


def _judge(each: Input, failure: grpc.aio.AioRpcError) -> Verdict:
    """Whether a call may fail so."""
    code = failure.code()
    if code not in REFUSALS:
        return Verdict(each, code.name, f"{code.name}: {failure.details()}")
    if code is not grpc.StatusCode.RESOURCE_EXHAUSTED and not _reason(failure):
        return Verdict(each, code.name, f"{code.name} without a reason: {failure.details()}")
    return Verdict(each, code.name)


def _reason(failure: grpc.aio.AioRpcError) -> int:
    metadata: dict[Any, Any] = dict(cast("Any", failure.trailing_metadata()) or ())
    status = status_pb2.Status.FromString(metadata.get("grpc-status-details-bin", b""))
    error = errors_pb2.Error()
    return error.reason if status.details and status.details[0].Unpack(error) else 0
