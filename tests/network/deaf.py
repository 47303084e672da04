"""Callers that take what is on offer and read nothing of it: their buffers fill, and then it is the broker's turn."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import grpc.aio

from tqbroker.v1 import admin_pb2, admin_pb2_grpc, job_pb2, queue_pb2, queue_pb2_grpc, worker_pb2, worker_pb2_grpc

OPTIONS = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0), ("grpc.http2.bdp_probe", 0)]

LONG = 120.0
"""Seconds that a stream is open at most."""


class Deaf:
    """One connection whose streams are never read."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.aio.insecure_channel(address, options=OPTIONS)
        self._calls: list[Any] = []

    async def work(self, name: str, task: str, queue: str) -> Any:
        """A worker with credit for everything. Returns its stream, to send on."""
        stub: Any = worker_pb2_grpc.WorkerStub(self._channel)
        call = self._keep(stub.Work(timeout=LONG))
        hello = worker_pb2.Hello(name=name, instance=uuid4().bytes, queues=[queue], tasks=[task], slots=10_000)
        credit = worker_pb2.Credit(slots=10_000, window=10_000, fast=[task])
        await call.write(worker_pb2.WorkRequest(number=1, hello=hello, credit=credit))
        return call

    async def wait(self, ids: Sequence[UUID]) -> None:
        """Waits for jobs, and does not listen when they end."""
        stub: Any = queue_pb2_grpc.QueueStub(self._channel)
        call = self._keep(stub.Wait(timeout=LONG))
        await call.write(queue_pb2.WaitRequest(watch=job_pb2.Ids(uuids=b"".join(each.bytes for each in ids))))

    async def follow(self) -> None:
        """Follows the event log, and does not read it."""
        stub: Any = admin_pb2_grpc.AdminStub(self._channel)
        self._keep(stub.WatchEvents(admin_pb2.WatchEventsRequest(follow=True), timeout=LONG))

    async def submit(self) -> Any:
        """A stream to submit on. Returns it, to write on."""
        stub: Any = queue_pb2_grpc.QueueStub(self._channel)
        return self._keep(stub.EnqueueStream(timeout=LONG))

    def _keep(self, call: Any) -> Any:
        self._calls.append(call)
        return call

    async def leave(self) -> None:
        """Ends the connection."""
        for call in self._calls:
            call.cancel()
        self._calls.clear()
        await self._channel.close(None)


@asynccontextmanager
async def deaf(address: str, count: int) -> AsyncIterator[list[Deaf]]:
    """So many of them."""
    them = [Deaf(address) for _ in range(count)]
    try:
        yield them
    finally:
        for each in them:
            await each.leave()
