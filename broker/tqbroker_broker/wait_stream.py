"""Wait: ids up, final statuses down, as they come."""

from __future__ import annotations

import asyncio

from tqbroker.v1 import queue_pb2 as pb
from tqbroker_broker.answers import Job
from tqbroker_broker.calls import EOF, Context, run_pair
from tqbroker_broker.core import Core
from tqbroker_broker.messages.ids import read_ids
from tqbroker_broker.messages.status import size_of, write_status
from tqbroker_broker.waiters import Watcher

SLICE_BYTES = 1 << 20
"""Bytes one message aims at."""


class WaitCall:
    """One open stream: a reader that changes what is watched, and a writer that looks at what may have ended."""

    def __init__(self, core: Core, context: Context) -> None:
        self._core = core
        self._context = context
        self._wake = asyncio.Event()
        self._watcher = Watcher(self._wake.set)
        self._half_closed = False

    async def run(self) -> None:
        """Serves the stream until the client half-closed it and everything watched was answered."""
        writer = asyncio.create_task(self._write())
        reader = asyncio.create_task(self._read())
        try:
            await run_pair(reader, writer, self._reader_ended)
        finally:
            self._core.unwatch_all(self._watcher)

    def _reader_ended(self) -> None:
        """After a half-close what is watched is still answered; after an error nothing is."""
        if not self._half_closed:
            self._core.unwatch_all(self._watcher)
        self._half_closed = True
        self._wake.set()

    async def _read(self) -> None:
        limit = self._core.config.max_watched
        while (request := await self._context.read()) is not EOF:
            if request.HasField("unwatch"):
                self._core.unwatch(self._watcher, read_ids(request.unwatch, limit))
            if request.HasField("watch"):
                self._core.watch(self._watcher, read_ids(request.watch, limit))
        self._half_closed = True

    async def _write(self) -> None:
        count = 16
        while self._watcher.ids or not self._half_closed:
            ids = self._watcher.take(count)
            if not ids:
                await self._wake.wait()
                self._wake.clear()
                continue
            jobs = await self._core.ended(ids)
            size = sum(map(size_of, jobs))
            count = min(count * 2, 512) if size < SLICE_BYTES // 4 else max(count // 4, 1)
            if jobs:
                await self._send(jobs)

    async def _send(self, jobs: list[Job]) -> None:
        """Sends each status once: an id is watched until its answer is on its way."""
        jobs = [job for job in jobs if job.id in self._watcher.ids]
        self._core.unwatch(self._watcher, [job.id for job in jobs])
        for part in _parts(jobs):
            await self._context.write(pb.WaitResponse(jobs=[write_status(job) for job in part]))


def _parts(jobs: list[Job]) -> list[list[Job]]:
    """Messages of about a megabyte: one may hold sixteen."""
    parts: list[list[Job]] = []
    size = SLICE_BYTES
    for job in jobs:
        if size >= SLICE_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(job)
        size += size_of(job)
    return parts
