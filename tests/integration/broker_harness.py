"""A broker in this process on a free port, and a worker that speaks the wire by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import grpc
import grpc.aio
from google.rpc import status_pb2

from tqbroker.v1 import admin_pb2_grpc, errors_pb2, job_pb2, queue_pb2, queue_pb2_grpc, worker_pb2, worker_pb2_grpc
from tqbroker_broker.config import BrokerConfig
from tqbroker_broker.server import Server

SECONDS = 10.0
TASK = "tasks.add"
EOF: object = vars(grpc.aio)["EOF"]


class Site:
    """A running broker and a channel to it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.address = server.addresses[0]
        self.channel = grpc.aio.insecure_channel(self.address, options=[("grpc.enable_http_proxy", 0)])
        self.queue: Any = queue_pb2_grpc.QueueStub(self.channel)
        self.worker: Any = worker_pb2_grpc.WorkerStub(self.channel)
        self.admin: Any = admin_pb2_grpc.AdminStub(self.channel)

    async def enqueue(self, count: int = 1, **options: Any) -> list[UUID]:
        """Submits jobs of one batch and returns their ids."""
        ids = [uuid4() for _ in range(count)]
        response = await self.queue.Enqueue(request(ids, **options), timeout=SECONDS)
        assert response.stored == count, response
        return ids

    async def status(self, job: UUID) -> job_pb2.JobStatus:
        response = await self.queue.Get(queue_pb2.GetRequest(ids=column([job])), timeout=SECONDS)
        status: job_pb2.JobStatus = response.jobs[0]
        return status

    async def wait(self, jobs: list[UUID]) -> dict[UUID, job_pb2.JobStatus]:
        """The final statuses of jobs, as Wait pushes them."""
        call = self.queue.Wait(timeout=SECONDS)
        await call.write(queue_pb2.WaitRequest(watch=column(jobs)))
        await call.done_writing()
        return {UUID(bytes=job.uuid): job async for response in call for job in response.jobs}

    def attach(self, name: str = "w1", **hello: Any) -> WireWorker:
        return WireWorker(self.worker.Work(timeout=60), name, **hello)


class WireWorker:
    """One Work stream."""

    def __init__(self, call: Any, name: str, instance: bytes = b"i" * 16, tasks: Iterable[str] = (TASK,), **hello: Any):
        self.call = call
        self.hello = worker_pb2.Hello(name=name, instance=instance, tasks=list(tasks), slots=1, pool="solo", **hello)
        self.number = 0
        self.seen: list[worker_pb2.WorkResponse] = []

    async def start(self, slots: int = 1, window: int = 0, fast: Iterable[str] = ()) -> worker_pb2.Welcome:
        """Says hello with some credit and returns the welcome."""
        credit = worker_pb2.Credit(slots=slots, window=window, fast=list(fast))
        await self.send(hello=self.hello, credit=credit)
        response = await self.until(lambda seen: seen.HasField("welcome"))
        return response.welcome

    async def send(self, **fields: Any) -> int:
        """Sends a message with the next number, and returns that."""
        self.number += 1
        await self.call.write(worker_pb2.WorkRequest(number=self.number, **fields))
        return self.number

    async def succeed(self, *tokens: int, result: bytes = b"8") -> int:
        count = len(tokens)
        successes = worker_pb2.Successes(
            tokens=tokens, results=[result] * count, format="json", started_unix_ms=[1] * count, runtime_us=[1] * count
        )
        return await self.send(successes=[successes])

    async def until(self, wanted: Any) -> worker_pb2.WorkResponse:
        """Reads until a message is as wanted; those before it stay in `seen`."""
        for response in self.seen:
            if wanted(response):
                self.seen.remove(response)
                return response
        while True:
            response = await asyncio.wait_for(self.call.read(), SECONDS)
            assert response is not EOF, "the stream ended"
            if wanted(response):
                return response
            self.seen.append(response)

    async def ended(self) -> None:
        """Reads to the end of the stream."""
        while await asyncio.wait_for(self.call.read(), SECONDS) is not EOF:
            pass

    async def delivered(self) -> list[tuple[UUID, int]]:
        """The next deliveries as (id, token)."""
        response = await self.until(lambda seen: seen.deliveries)
        if response.acked:
            self.seen.append(worker_pb2.WorkResponse(acked=response.acked))
        pairs: list[tuple[UUID, int]] = []
        for batch in response.deliveries:
            raw = batch.ids.uuids
            ids = [UUID(bytes=raw[at : at + 16]) for at in range(0, len(raw), 16)]
            pairs += zip(ids, batch.tokens, strict=True)
        return pairs

    async def acked(self, number: int) -> worker_pb2.WorkResponse:
        return await self.until(lambda seen: seen.acked >= number)


def column(ids: list[UUID]) -> job_pb2.Ids:
    return job_pb2.Ids(uuids=b"".join(job.bytes for job in ids))


def request(ids: list[UUID], args: bytes = b"[[4,4],{}]", **options: Any) -> queue_pb2.EnqueueRequest:
    batch = job_pb2.JobBatch(
        **{"task": TASK, "queue": "default", "format": "json", **options}, ids=column(ids), args=[args] * len(ids)
    )
    return queue_pb2.EnqueueRequest(batches=[batch])


def error_of(failure: grpc.aio.AioRpcError) -> errors_pb2.Error:
    """The reason, as data, of a call that failed."""
    metadata: dict[Any, Any] = dict(cast("Any", failure.trailing_metadata()) or ())
    status = status_pb2.Status.FromString(metadata["grpc-status-details-bin"])
    error = errors_pb2.Error()
    assert status.details[0].Unpack(error)
    return error


@asynccontextmanager
async def running(folder: Path, storage: str = "memory:", **settings: Any) -> AsyncIterator[Site]:
    """A broker from here to the end of the block, stopped as SIGTERM would."""
    config = BrokerConfig(listen=("127.0.0.1:0",), data_dir=str(folder / "data"), storage=storage, **settings)
    server = Server(config)
    await server.start()
    site = Site(server)
    try:
        yield site
    finally:
        await site.channel.close(None)
        await server.stop()
