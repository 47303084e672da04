"""Jobs that match a filter, a page at a time."""

from __future__ import annotations

import asyncio

from tqbroker.v1 import admin_pb2 as pb
from tqbroker_broker.answers import Job
from tqbroker_broker.core import Core
from tqbroker_broker.messages.checks import check_range
from tqbroker_broker.messages.questions import check_cursor, read_filter
from tqbroker_broker.messages.status import size_of, write_status
from tqbroker_broker.questions import Filter

DEFAULT_LIMIT, MAX_LIMIT = 100, 1000

MAX_ANSWER = 3 << 20
"""Bytes of one answer, unless its only job has more: gRPC clients take 4 MiB when nobody has set it up otherwise."""

SECONDS = 1.0
"""Most time spent on one answer: a filter that fits nothing gives an empty page and a cursor."""

SLICE, MAX_SLICE = 16, 256
"""Jobs read at a time, at first and at most: large ones must not pile up in memory."""


async def list_jobs(core: Core, request: pb.ListJobsRequest) -> pb.ListJobsResponse:
    """A page. Raises Invalid."""
    check_range("limit", request.limit, 0, MAX_LIMIT)
    check_cursor(request.cursor)
    wanted = read_filter(request.filter)
    search = Search(core, wanted, request.cursor, request.limit or DEFAULT_LIMIT, with_args=request.with_args)
    jobs = await search.run()
    return pb.ListJobsResponse(
        jobs=[write_status(job, core.waits_for(job), with_args=request.with_args) for job in jobs],
        cursor=search.cursor,
    )


class Search:
    """A walk over the jobs that match: short of so many, of too many bytes, and of too much time.

    `cursor` says where it has come to; empty at the end.
    """

    def __init__(self, core: Core, wanted: Filter, cursor: bytes, limit: int, *, with_args: bool = False) -> None:
        self.cursor = cursor
        self._core = core
        self._wanted = wanted
        self._limit = limit
        self._with_args = with_args
        self._jobs: list[Job] = []
        self._bytes = 0
        self._slice = SLICE

    async def run(self) -> list[Job]:
        """The jobs found."""
        clock = asyncio.get_running_loop().time
        until = clock() + SECONDS
        while await self._next() and len(self._jobs) < self._limit and clock() < until:
            pass
        return self._jobs

    async def _next(self) -> bool:
        """Reads on. False at the end, or when the answer is full."""
        count = min(self._slice, self._limit - len(self._jobs))
        page = await self._core.orders.scan(self._wanted, self.cursor, count, with_args=self._with_args)
        for job in page.jobs:
            job.result = b""  # nobody lists jobs for their results, and they are the largest part
        size = sum(map(size_of, page.jobs))
        if self._bytes + size > MAX_ANSWER and count > 1:
            self._slice = max(count // 4, 1)
            return not self._jobs
        self._jobs += page.jobs
        self._bytes += size
        self.cursor = page.cursor
        self._slice = min(count * 2, MAX_SLICE) if size < MAX_ANSWER // 32 else count
        return bool(page.cursor)
