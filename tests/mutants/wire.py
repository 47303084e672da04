"""Bugs in what is made of messages: answers for somebody else, those that make no sense, those that nobody reads."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.message_factory import GetMessageClass
from tests.mutants.registry import Plant, mutant

from tqbroker import _grpc_admin
from tqbroker._grpc_stream import Line
from tqbroker._grpc_wait import Down, Up, Watch
from tqbroker.messages import job_info
from tqbroker_broker import calls
from tqbroker_broker.records import JobId
from tqbroker_broker.waiters import Waiters
from tqbroker_broker.work import WorkStream


@mutant("of many who wait on one stream somebody gets an answer, not who asked", breaks="I5")
def reply_to_another(plant: Plant) -> None:
    def careless(self: Watch, line: Line[Up, Down], answer: Down) -> None:
        for status in answer.jobs:
            with self._lock:
                tickets = self._tickets.pop(next(reversed(self._tickets), b""), [])
            for ticket in tickets:
                line.deliver(ticket, job_info(status))

    plant(Watch, "_route", careless)


@mutant("bytes that are no message are an internal error of the broker", breaks="I10")
def noise_is_internal(plant: Plant) -> None:
    def naive(kind: Descriptor) -> Any:
        return GetMessageClass(kind).FromString

    plant(calls, "_reader_of", naive)


@mutant("a client raises whatever comes up when it reads an answer that makes no sense", breaks="P1")
def nonsense_raises(plant: Plant) -> None:
    def unguarded(address: str) -> AbstractContextManager[None]:
        return nullcontext()

    plant(_grpc_admin, "understood", unguarded)


@mutant("a worker that speaks and does not read keeps its jobs for ever", breaks="P3")
def deaf_worker_kept(plant: Plant) -> None:
    plant(WorkStream, "_check_reads", lambda self, session: None)


@mutant("what a stream has to say is kept in memory until somebody reads it", breaks="I10")
def answers_hoarded(plant: Plant) -> None:
    streaming, pouring = calls._streaming, calls._pouring
    plant(calls, "_streaming", lambda call: streaming(lambda context: call(_Hoard(context))))
    plant(calls, "_pouring", lambda call, decode: pouring(lambda first, context: call(first, _Hoard(context)), decode))


class _Hoard:
    """A context that takes everything at once, and gives it when it can."""

    def __init__(self, context: calls.Context) -> None:
        self._context = context
        self._kept: asyncio.Queue[Any] = asyncio.Queue()
        self._giving = asyncio.ensure_future(self._give())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    async def write(self, message: Any) -> None:
        self._kept.put_nowait(message)

    async def _give(self) -> None:
        while True:
            await self._context.write(await self._kept.get())


@mutant("of those who wait for one job only the first is told of its end", breaks="I1")
def first_waiter_only(plant: Plant) -> None:
    def hasty(self: Waiters, ids: Iterable[JobId]) -> None:
        for job in ids:
            for watcher in self._by_id.get(job, [])[:1]:
                watcher.pending.append(job)
                watcher.on_wake()

    plant(Waiters, "ended", hasty)


@mutant("what a caller waited for is not forgotten when its stream ends", breaks="I10")
def watches_kept(plant: Plant) -> None:
    plant(Waiters, "leave", lambda self, watcher: None)
