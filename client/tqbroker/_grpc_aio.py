"""Transport over gRPC for asyncio: one connection for each event loop and broker. No threads of our own."""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import os
from collections import deque
from collections.abc import Hashable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import grpc
import grpc.aio

from tqbroker._grpc_aio_stream import AioLine, answer_of
from tqbroker._grpc_channel import OPTIONS, pauses
from tqbroker._grpc_errors import answered, explain, operational, passes, unreachable
from tqbroker._grpc_workflow import judge_error
from tqbroker.call import Batch, Workflow
from tqbroker.exceptions import OperationalError
from tqbroker.ids import Key
from tqbroker.messages import job_info, pack_ids
from tqbroker.shipping import WINDOW, Patience, Shipment, Verdict, cut, judge
from tqbroker.transport import JobInfo, Refused
from tqbroker.urls import target_of
from tqbroker.v1 import queue_pb2, queue_pb2_grpc
from tqbroker.workflow_shipping import Parcel, judge_part, parcels

SubmitLine = AioLine[queue_pb2.EnqueueStreamRequest, queue_pb2.EnqueueStreamResponse]
WaitLine = AioLine[queue_pb2.WaitRequest, queue_pb2.WaitResponse]

_PAUSE = 0.1

log = logging.getLogger("tqbroker")


def _now() -> float:
    return asyncio.get_running_loop().time()


class _Flight:
    """One request on its way: on which line it is and the future of its answer, None while it is not sent."""

    __slots__ = ("answer", "line", "number", "shipment")

    def __init__(self, shipment: Shipment) -> None:
        self.shipment = shipment
        self.line: SubmitLine | None = None
        self.number = 0
        self.answer: asyncio.Future[Any] | None = None


class AioTransport:
    """See AsyncTransport."""

    def __init__(self, target: str) -> None:
        self._address = target
        self._channel = grpc.aio.insecure_channel(target, options=OPTIONS)
        self._stub = queue_pb2_grpc.QueueStub(self._channel)
        self._probe: Any = self._stub.Get
        self._numbers = itertools.count(1)
        self._submits: SubmitLine | None = None
        self._waits: WaitLine | None = None

    # -- submit -------------------------------------------------------------------------------------------------------

    async def submit(self, batches: Sequence[Batch], timeout: float) -> list[Refused]:
        """See Transport.submit."""
        refused: list[Refused] = []
        patience = Patience(timeout, _now)
        flights: deque[_Flight] = deque()
        for shipment in cut(batches):
            if len(flights) == WINDOW:
                refused += await self._land(flights.popleft(), patience)
            flights.append(_Flight(shipment))
            await self._send(flights[-1], patience.deadline)
        while flights:
            refused += await self._land(flights.popleft(), patience)
        return refused

    async def _send(self, flight: _Flight, deadline: float) -> None:
        """Puts the request on the line; when there is none by the deadline, the flight stays on the ground."""
        line = self._submits
        if line is None or line.broken is not None:
            if not await self._ready(deadline):
                return
            line = self._submit_line()
        number = next(self._numbers)
        flight.line, flight.number, flight.answer = line, number, line.expect(number)
        line.put(queue_pb2.EnqueueStreamRequest(call=number, request=flight.shipment.request))

    def _submit_line(self) -> SubmitLine:
        if self._submits is None or self._submits.broken is not None:
            self._submits = AioLine(self._stub.EnqueueStream, lambda message: [(message.call, message)])
        return self._submits

    async def _land(self, flight: _Flight, patience: Patience) -> list[Refused]:
        """Waits for the answer, and sends again what got none or was refused for the moment."""
        for pause in pauses():
            verdict = await self._verdict(flight, patience)
            if verdict is not None and verdict.retry_after is None:
                patience.renew()
                return verdict.refused
            again = (verdict and verdict.retry_after) or pause
            if patience.left() <= again:
                return flight.shipment.given_up(unreachable(self._address, patience.timeout))
            await asyncio.sleep(again)
            await self._send(flight, patience.deadline)
        raise AssertionError("pauses never end")

    async def _verdict(self, flight: _Flight, patience: Patience) -> Verdict | None:
        """What became of this sending; None when nobody knows, or when nothing was sent."""
        line, flight.line = flight.line, None
        if line is None or flight.answer is None:
            return None
        answer = await answer_of(flight.answer, patience.deadline)
        line.drop(flight.number, flight.answer)
        if answer is not None:
            return judge(flight.shipment, answer)
        if isinstance(line.broken, grpc.RpcError) and not passes(line.broken):
            trouble = explain(line.broken, self._address, patience.timeout)
            return Verdict(flight.shipment.refused("FAILED", trouble))
        flight.shipment.maybe = True
        return None

    async def submit_workflow(self, workflow: Workflow, timeout: float) -> list[Refused]:
        """See Transport.submit_workflow."""
        patience = Patience(timeout, _now)
        for parcel in parcels(workflow):
            refused = await self._deliver(parcel, patience)
            if refused:
                return refused
            patience.renew()
        return []

    async def _deliver(self, parcel: Parcel, patience: Patience) -> list[Refused]:
        for pause in pauses():
            verdict = await self._attempt(parcel, patience)
            if verdict is not None and verdict.retry_after is None:
                return verdict.refused
            again = (verdict and verdict.retry_after) or pause
            if patience.left() <= again:
                raise parcel.given_up(unreachable(self._address, patience.timeout))
            await asyncio.sleep(again)
        raise AssertionError("pauses never end")

    async def _attempt(self, parcel: Parcel, patience: Patience) -> Verdict | None:
        """What became of this sending; None when nobody knows, or when nothing was sent."""
        if not await self._ready(patience.deadline):
            return None
        call: Any = self._stub.SubmitWorkflow
        try:
            answer = await call(parcel.request(), timeout=max(0.001, patience.left()), wait_for_ready=True)
        except grpc.RpcError as error:
            return judge_error(parcel, error, self._address, patience.timeout)
        return judge_part(parcel, answer)

    # -- wait ---------------------------------------------------------------------------------------------------------

    async def wait(self, key: Key, timeout: float | None, contact_timeout: float) -> JobInfo | None:
        """See Transport.wait."""
        deadline = math.inf if timeout is None else _now() + timeout
        contact = min(contact_timeout, math.inf if timeout is None else timeout)
        if self._waits is None and not await self._ready(_now() + contact):
            raise OperationalError(unreachable(self._address, contact))
        for pause in pauses():
            line = await self._wait_line(deadline)
            info = await self._wait_on(line, key, deadline) if line is not None else None
            if info is not None or line is None or _now() >= deadline:
                return info
            if isinstance(line.broken, grpc.RpcError) and not passes(line.broken):
                raise operational(line.broken, self._address, contact) from None
            log.info("lost the broker at %s while waiting for results; waiting on", self._address)
            await asyncio.sleep(min(pause, max(0.0, deadline - _now())))
        raise AssertionError("pauses never end")

    async def _wait_line(self, deadline: float) -> WaitLine | None:
        if self._waits is None or self._waits.broken is not None:
            if not await self._ready(deadline):
                return None
            if self._waits is None or self._waits.broken is not None:
                self._waits = AioLine(self._stub.Wait, _by_key)
        return self._waits

    async def _wait_on(self, line: WaitLine, key: Key, deadline: float) -> JobInfo | None:
        future = line.expect(key)
        try:
            if line.alone(key):
                line.put(queue_pb2.WaitRequest(watch=pack_ids([key])))
            info: JobInfo | None = await answer_of(future, deadline)
            return info
        finally:
            if line.drop(key, future):
                line.put(queue_pb2.WaitRequest(unwatch=pack_ids([key])))

    # -- the connection -----------------------------------------------------------------------------------------------

    async def _ready(self, deadline: float) -> bool:
        """Whether the broker answers by the deadline. What was not sent before this is surely not stored."""
        while (left := deadline - _now()) > 0:
            try:
                await self._probe(
                    queue_pb2.GetRequest(), timeout=None if left == math.inf else left, wait_for_ready=True
                )
            except grpc.RpcError as error:
                if answered(error):
                    return True
                await asyncio.sleep(min(_PAUSE, max(0.0, deadline - _now())))
            else:
                return True
        return False

    async def close(self) -> None:
        """Closes the connection."""
        for line in (self._submits, self._waits):
            if line is not None:
                await line.close()
        await self._channel.close(None)


def _by_key(message: queue_pb2.WaitResponse) -> list[tuple[Hashable, Any]]:
    return [(info.key, info) for info in map(job_info, message.jobs)]


_transports: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, AioTransport]] = WeakKeyDictionary()


def transport_for(url: str) -> AioTransport:
    """The running loop's transport to a broker."""
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


def _after_fork() -> None:
    global _transports
    _transports = WeakKeyDictionary()


os.register_at_fork(after_in_child=_after_fork)
