"""Transport over gRPC for asyncio: one connection for each event loop and broker. No threads of our own."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Sequence
from weakref import WeakKeyDictionary

from tqbroker._grpc_aio_connection import AioConnection
from tqbroker._grpc_aio_submit import AioSubmitter
from tqbroker._grpc_aio_wait import AioWaiter
from tqbroker._grpc_forks import check_usable, refuse, settle
from tqbroker.call import Batch, Workflow
from tqbroker.ids import Key
from tqbroker.transport import JobInfo, Refused
from tqbroker.urls import target_of


class AioTransport:
    """See AsyncTransport."""

    def __init__(self, target: str) -> None:
        self._connection = AioConnection(target)
        self._submitter = AioSubmitter(self._connection)
        self._waiter = AioWaiter(self._connection)

    async def submit(self, batches: Sequence[Batch], timeout: float) -> list[Refused]:
        """See Transport.submit."""
        return await self._submitter.submit(batches, timeout)

    async def submit_workflow(self, workflow: Workflow, timeout: float) -> list[Refused]:
        """See Transport.submit_workflow."""
        return await self._submitter.submit_workflow(workflow, timeout)

    async def wait(self, key: Key, timeout: float | None, contact_timeout: float) -> JobInfo | None:
        """See Transport.wait."""
        return await self._waiter.wait(key, timeout, contact_timeout)

    def ends(self, keys: Sequence[Key], timeout: float | None, contact_timeout: float) -> AsyncIterator[JobInfo]:
        """See Transport.ends."""
        return self._waiter.ends(keys, timeout, contact_timeout)

    async def close(self) -> None:
        """Closes the connection."""
        await self._submitter.close()
        await self._waiter.close()
        await self._connection.close()


_transports: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, AioTransport]] = WeakKeyDictionary()
_used = False
"""Whether a loop has called something since the last fork, or goes on."""
_parents: list[object] = []
"""What a child has of its parent's loops. To free it, even as garbage, would kill the child."""


def transport_for(url: str) -> AioTransport:
    """The running loop's transport to a broker. Raises OperationalError in a child that cannot have one."""
    global _used
    check_usable()
    _used = True
    transports = _transports.setdefault(asyncio.get_running_loop(), {})
    transport = transports.get(url)
    if transport is None:
        transport = transports[url] = AioTransport(target_of(url))
    return transport


async def close(url: str) -> None:
    """Closes the running loop's transport to a broker, if there is one."""
    transport = _transports.get(asyncio.get_running_loop(), {}).pop(url, None)
    if transport is not None:
        await transport.close()


def _before_fork() -> None:
    """Lets go of what closed loops have left, so that gRPC comes to rest."""
    global _used
    if _transports:
        for loop in [loop for loop in _transports if loop.is_closed()]:
            del _transports[loop]
        gc.collect()
    used, _used = _used, bool(_transports)
    if used and not _transports:
        settle()


def _after_fork() -> None:
    global _transports
    if _transports:
        _parents.append(_transports)
        refuse()
        gc.freeze()
    _transports = WeakKeyDictionary()


os.register_at_fork(before=_before_fork, after_in_child=_after_fork)
