"""Submits for asyncio: jobs over the shared EnqueueStream, workflows part after part."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Hashable, Sequence
from typing import Any

import grpc

from tqbroker._grpc_aio_connection import AioConnection, now
from tqbroker._grpc_aio_stream import AioLine, answer_of
from tqbroker._grpc_channel import limit, pauses
from tqbroker._grpc_errors import explain, passes, readable, understood, unreachable
from tqbroker._grpc_submit import judged
from tqbroker._grpc_workflow import judge_answer, judge_error
from tqbroker.call import Batch, Workflow
from tqbroker.shipping import WINDOW, Patience, Shipment, Verdict, cut
from tqbroker.transport import Refused
from tqbroker.v1 import queue_pb2
from tqbroker.workflow_shipping import Parcel, parcels

Down = queue_pb2.EnqueueStreamResponse
SubmitLine = AioLine[queue_pb2.EnqueueStreamRequest, Down]


class _Flight:
    """One request on its way: on which line it is and the future of its answer, None while it is not sent."""

    __slots__ = ("answer", "line", "number", "shipment")

    def __init__(self, shipment: Shipment) -> None:
        self.shipment = shipment
        self.line: SubmitLine | None = None
        self.number = 0
        self.answer: asyncio.Future[Any] | None = None


class AioSubmitter:
    """All submits of one connection."""

    def __init__(self, connection: AioConnection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)
        self._line: SubmitLine | None = None

    async def submit(self, batches: Sequence[Batch], timeout: float) -> list[Refused]:
        """See Transport.submit."""
        refused: list[Refused] = []
        patience = Patience(timeout, now)
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
        line = self._line
        if line is None or line.broken is not None:
            if not await self._connection.ready(deadline):
                return
            line = self._open_line()
        number = next(self._numbers)
        flight.line, flight.number, flight.answer = line, number, line.expect(number)
        line.put(queue_pb2.EnqueueStreamRequest(call=number, request=flight.shipment.request))

    def _open_line(self) -> SubmitLine:
        if self._line is None or self._line.broken is not None:
            self._line = AioLine(self._connection.queue.EnqueueStream, self._by_call)
        return self._line

    def _by_call(self, message: Down | None) -> list[tuple[Hashable, Any]]:
        with understood(self._connection.address):
            answer = readable(message)
        return [(answer.call, answer)]

    async def _land(self, flight: _Flight, patience: Patience) -> list[Refused]:
        """Waits for the answer, and sends again what got none or was refused for the moment."""
        for pause in pauses():
            verdict = await self._verdict(flight, patience)
            if verdict is not None and verdict.retry_after is None:
                patience.renew()
                return verdict.refused
            again = (verdict and verdict.retry_after) or pause
            if patience.left() <= again:
                return flight.shipment.given_up(unreachable(self._connection.address, patience.timeout))
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
            return judged(flight.shipment, answer, self._connection.address)
        if isinstance(line.broken, grpc.RpcError) and not passes(line.broken):
            trouble = explain(line.broken, self._connection.address, patience.timeout)
            return Verdict(flight.shipment.refused("FAILED", trouble))
        flight.shipment.maybe = True
        return None

    async def submit_workflow(self, workflow: Workflow, timeout: float) -> list[Refused]:
        """See Transport.submit_workflow."""
        patience = Patience(timeout, now)
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
                raise parcel.given_up(unreachable(self._connection.address, patience.timeout))
            await asyncio.sleep(again)
        raise AssertionError("pauses never end")

    async def _attempt(self, parcel: Parcel, patience: Patience) -> Verdict | None:
        """What became of this sending; None when nobody knows, or when nothing was sent."""
        if not await self._connection.ready(patience.deadline):
            return None
        call = self._connection.queue.SubmitWorkflow
        try:
            left = max(0.001, patience.left())
            answer = await call(parcel.request(), timeout=limit(left), wait_for_ready=True)
        except grpc.RpcError as error:
            return judge_error(parcel, error, self._connection.address, patience.timeout)
        return judge_answer(parcel, answer, self._connection.address)

    async def close(self) -> None:
        """Ends the stream."""
        if self._line is not None:
            await self._line.close()
