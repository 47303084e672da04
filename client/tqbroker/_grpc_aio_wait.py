"""Waiting for the end of jobs in asyncio, over the shared Wait stream."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Hashable, Iterator, Sequence
from itertools import islice
from typing import Any

import grpc

from tqbroker._grpc_aio_connection import AioConnection, now
from tqbroker._grpc_aio_stream import AioHarvest, AioLine, answer_of
from tqbroker._grpc_channel import pauses
from tqbroker._grpc_errors import operational, passes, readable, understood, unreachable
from tqbroker._grpc_wait import WATCHED, deadline_of
from tqbroker.exceptions import OperationalError
from tqbroker.ids import Key
from tqbroker.messages import job_info, pack_ids
from tqbroker.transport import JobInfo
from tqbroker.v1 import queue_pb2

Up = queue_pb2.WaitRequest
WaitLine = AioLine[Up, queue_pb2.WaitResponse]

log = logging.getLogger("tqbroker")


class AioWaiter:
    """All waits of one connection."""

    def __init__(self, connection: AioConnection) -> None:
        self._connection = connection
        self._line: WaitLine | None = None

    async def wait(self, key: Key, timeout: float | None, contact_timeout: float) -> JobInfo | None:
        """See Transport.wait."""
        deadline = deadline_of(timeout, now())
        pausing = pauses()
        line: WaitLine | None = await self._reach(timeout, contact_timeout)
        while line is not None:
            info = await self._wait_on(line, key, deadline)
            if info is not None or now() >= deadline:
                return info
            line = await self._reopen(line, deadline, pausing)
        return None

    async def ends(self, keys: Sequence[Key], timeout: float | None, contact_timeout: float) -> AsyncIterator[JobInfo]:
        """See Transport.ends."""
        deadline = deadline_of(timeout, now())
        pausing = pauses()
        left = dict.fromkeys(keys)
        line: WaitLine | None = await self._reach(timeout, contact_timeout)
        while line is not None:
            async for info in self._harvest(line, left, deadline):
                yield info
            if not left or now() >= deadline:
                return
            line = await self._reopen(line, deadline, pausing)

    async def _wait_on(self, line: WaitLine, key: Key, deadline: float) -> JobInfo | None:
        future = line.expect(key)
        try:
            if line.alone(key):
                line.put(Up(watch=pack_ids([key])))
            info: JobInfo | None = await answer_of(future, deadline)
            return info
        finally:
            if line.drop(key, future):
                line.put(Up(unwatch=pack_ids([key])))

    async def _harvest(self, line: WaitLine, left: dict[Key, None], deadline: float) -> AsyncIterator[JobInfo]:
        """The ends that come on this line until it breaks, none is left, or the deadline. Takes them out of `left`."""
        harvest = AioHarvest()
        watched: dict[Key, None] = {}
        try:
            while left and line.broken is None:
                if len(watched) <= WATCHED // 2 and len(watched) < len(left):
                    more = [key for key in islice(left, WATCHED) if key not in watched]
                    watched.update(dict.fromkeys(more))
                    new = [key for key in more if line.join(key, harvest)]
                    line.put(Up(watch=pack_ids(new)))
                for info in await harvest.gather(deadline):
                    del left[info.key], watched[info.key]
                    yield info
                if now() >= deadline:
                    return
        finally:
            alone = [key for key in watched if line.drop(key, harvest)]
            if alone:
                line.put(Up(unwatch=pack_ids(alone)))

    async def _reach(self, timeout: float | None, contact_timeout: float) -> WaitLine:
        contact = min(contact_timeout, math.inf if timeout is None else timeout)
        line = await self._open(now() + contact)
        if line is None:
            raise OperationalError(unreachable(self._connection.address, contact))
        return line

    async def _reopen(self, line: WaitLine, deadline: float, pausing: Iterator[float]) -> WaitLine | None:
        """After the line broke: a new one, or None at the deadline. Raises when waiting cannot help."""
        if isinstance(line.broken, OperationalError):
            raise line.broken
        if isinstance(line.broken, grpc.RpcError) and not passes(line.broken):
            raise operational(line.broken, self._connection.address, 0) from None
        log.info("lost the broker at %s while waiting for results; waiting on", self._connection.address)
        await asyncio.sleep(min(next(pausing), max(0.0, deadline - now())))
        return await self._open(deadline)

    async def _open(self, deadline: float) -> WaitLine | None:
        if self._line is None or self._line.broken is not None:
            if not await self._connection.ready(deadline):
                return None
            if self._line is None or self._line.broken is not None:
                self._line = AioLine(self._connection.queue.Wait, self._by_key)
        return self._line

    def _by_key(self, message: queue_pb2.WaitResponse | None) -> list[tuple[Hashable, Any]]:
        with understood(self._connection.address):
            return [(info.key, info) for info in map(job_info, readable(message).jobs)]

    async def close(self) -> None:
        """Ends the stream."""
        if self._line is not None:
            await self._line.close()
