"""Enqueue, as one call and as a long one on which many requests are under way at a time."""

from __future__ import annotations

import asyncio
import logging

from tqbroker.v1 import queue_pb2 as pb
from tqbroker_broker.answers import Enqueued, Stored
from tqbroker_broker.calls import EOF, Context
from tqbroker_broker.core import Core
from tqbroker_broker.errors import write_error
from tqbroker_broker.messages.ids import show
from tqbroker_broker.messages.intake import Intake, Place, read_request
from tqbroker_broker.messages.stored import full, refusal
from tqbroker_broker.records import NewJobs
from tqbroker_broker.refusals import QueueFull
from tqbroker_broker.rules import QueueRule

log = logging.getLogger("tqbroker.broker")

MAX_CALLS = 32
"""Requests under way on one stream; then the next is not read before one is answered."""

MAX_BYTES = 16 << 20
"""The same in bytes."""


async def enqueue(core: Core, request: pb.EnqueueRequest) -> pb.EnqueueResponse:
    """Stores a request's jobs; returns when all that are not excepted are on the disk."""
    now = core.now()
    intake = read_request(request, core.config, now)
    answers = await core.enqueue(intake.batches, intake.size, now) if intake.batches else []
    response = pb.EnqueueResponse(stored=sum(answer.stored for answer in answers))
    for batch, place, answer in zip(intake.batches, intake.places, answers, strict=True):
        if answer.exceptions:
            _except(response, batch, place, answer, core)
    if intake.refused:
        _refuse(response, intake)
    return response


def _except(response: pb.EnqueueResponse, batch: NewJobs, place: Place, answer: Enqueued, core: Core) -> None:
    no_room = _full(batch.head.queue, core) if Stored.QUEUE_FULL in answer.exceptions.values() else None
    for index, what in answer.exceptions.items():
        item = response.exceptions.add(batch=place.batch, index=place.indexes[index] if place.indexes else index)
        if what is Stored.DUPLICATE:
            item.duplicate = True
        elif what is Stored.KEPT:
            item.kept = show(answer.holders[index])
        else:
            why = refusal(what, batch.ids[index], answer.holders.get(index, b""))
            item.error.CopyFrom(write_error(no_room if no_room and what is Stored.QUEUE_FULL else why))


def _full(queue: str, core: Core) -> QueueFull:
    return full(queue, core.orders.queue_rules().get(queue, QueueRule()).max_length)


def _refuse(response: pb.EnqueueResponse, intake: Intake) -> None:
    for refused in intake.refused:
        response.exceptions.add(batch=refused.batch, index=refused.job, error=write_error(refused.error))


class EnqueueCalls:
    """One open stream. Requests take effect in the order they came; answers go out as their commits are done."""

    def __init__(self, core: Core, context: Context) -> None:
        self._core = core
        self._context = context
        self._writing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._bytes = 0
        self._room = asyncio.Event()

    async def run(self) -> None:
        """Serves the stream until the client half-closes it; every request read is then still answered."""
        while (request := await self._context.read()) is not EOF:
            self._start(request)
            while len(self._tasks) >= MAX_CALLS or self._bytes >= MAX_BYTES:
                self._room.clear()
                await self._room.wait()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _start(self, request: pb.EnqueueStreamRequest) -> None:
        size = request.ByteSize()
        self._bytes += size
        task = asyncio.create_task(self._serve(request))
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._done(done, size))

    def _done(self, task: asyncio.Task[None], size: int) -> None:
        self._tasks.discard(task)
        self._bytes -= size
        self._room.set()

    async def _serve(self, request: pb.EnqueueStreamRequest) -> None:
        response = await self._do(request)
        del request  # not kept for one who does not read his answers
        await self._answer(response)

    async def _do(self, request: pb.EnqueueStreamRequest) -> pb.EnqueueStreamResponse:
        try:
            return pb.EnqueueStreamResponse(call=request.call, response=await enqueue(self._core, request.request))
        except Exception as error:
            return pb.EnqueueStreamResponse(call=request.call, error=write_error(error))

    async def _answer(self, response: pb.EnqueueStreamResponse) -> None:
        try:
            async with self._writing:
                await self._context.write(response)
        except Exception as error:  # the client is gone; what was stored is stored, and sending it again is safe
            log.debug("an answer found nobody: %s", error)
