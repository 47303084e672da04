"""The channel of an event loop to the broker."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio

from tqbroker._grpc_channel import OPTIONS, limit
from tqbroker._grpc_errors import answered
from tqbroker.v1 import queue_pb2, queue_pb2_grpc

_PAUSE = 0.1


def now() -> float:
    """The time of the running loop, in seconds."""
    return asyncio.get_running_loop().time()


class AioConnection:
    """One channel, and the calls that are made on it."""

    def __init__(self, target: str) -> None:
        self.address = target
        self._channel = grpc.aio.insecure_channel(target, options=OPTIONS)
        self.queue: Any = queue_pb2_grpc.QueueStub(self._channel)

    async def ready(self, deadline: float) -> bool:
        """Whether the broker answers by the deadline. What was not sent before this is surely not stored."""
        while (left := deadline - now()) > 0:
            try:
                await self.queue.Get(queue_pb2.GetRequest(), timeout=limit(left), wait_for_ready=True)
            except grpc.RpcError as error:
                if answered(error):
                    return True
                await asyncio.sleep(min(_PAUSE, max(0.0, deadline - now())))
            else:
                return True
        return False

    async def close(self) -> None:
        """Closes the channel."""
        await self._channel.close(None)
