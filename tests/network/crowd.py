"""`python -m tests.network.crowd ADDRESS JOB COUNT`: so many clients, each with a connection of its own, that wait.

Prints "here" when all are connected and watch the job, and "told" when all have heard of its end. Leaves when its
standard input ends.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any
from uuid import UUID

import grpc.aio
from tests.acceptance.harness.waiting import PATIENCE

from tqbroker.v1 import job_pb2, queue_pb2, queue_pb2_grpc

OPTIONS = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
"""Without the first all channels of a process share one connection."""

AT_ONCE = 100
"""Connections that are opened at a time: gRPC takes back calls at random when more than 1000 wait to be served."""

LONG = 600.0
"""Seconds that they wait at most."""


class Client:
    """One connection, with a wait on it."""

    def __init__(self, address: str, ids: job_pb2.Ids) -> None:
        self._channel = grpc.aio.insecure_channel(address, options=OPTIONS)
        self._ids = ids
        self._call: Any = None

    async def come(self) -> None:
        """Connects, asks something, and begins to wait."""
        stub: Any = queue_pb2_grpc.QueueStub(self._channel)
        await stub.Get(queue_pb2.GetRequest(), timeout=PATIENCE * 3, wait_for_ready=True)
        self._call = stub.Wait(timeout=LONG)
        await self._call.write(queue_pb2.WaitRequest(watch=self._ids))

    async def is_told(self) -> None:
        """Returns when it has heard of the job."""
        answer = await self._call.read()
        assert answer.jobs, answer

    async def leave(self) -> None:
        """Ends the connection."""
        await self._channel.close(None)


async def main(address: str, job: str, count: int) -> None:
    ids = job_pb2.Ids(uuids=UUID(job).bytes)
    clients = [Client(address, ids) for _ in range(count)]
    for first in range(0, count, AT_ONCE):
        await asyncio.gather(*(client.come() for client in clients[first : first + AT_ONCE]))
    print("here", flush=True)
    await asyncio.gather(*(client.is_told() for client in clients))
    print("told", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await asyncio.gather(*(client.leave() for client in clients))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
