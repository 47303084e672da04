"""Submits over the shared EnqueueStream: several requests in flight, sent again with the same ids until confirmed."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

import grpc

from tqbroker._grpc_channel import pauses
from tqbroker._grpc_errors import explain, passes, understood, unreachable
from tqbroker._grpc_stream import Line, Ticket
from tqbroker.call import Batch
from tqbroker.exceptions import OperationalError
from tqbroker.shipping import WINDOW, Patience, Shipment, Verdict, cut, judge
from tqbroker.transport import Refused
from tqbroker.v1 import queue_pb2

if TYPE_CHECKING:
    from tqbroker._grpc_connection import Connection

Up = queue_pb2.EnqueueStreamRequest
Down = queue_pb2.EnqueueStreamResponse


class Submitter:
    """All submits of one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)
        self._tickets: dict[int, Ticket] = {}
        self._line: Line[Up, Down] | None = None

    def submit(self, batches: Sequence[Batch], timeout: float) -> list[Refused]:
        """See Transport.submit."""
        refused: list[Refused] = []
        patience = Patience(timeout, time.monotonic)
        flights: deque[_Flight] = deque()
        try:
            for shipment in cut(batches):
                if len(flights) == WINDOW:
                    refused += self._land(flights.popleft(), patience)
                flights.append(self._launch(shipment, patience))
            while flights:
                refused += self._land(flights.popleft(), patience)
        finally:
            for flight in flights:  # nobody asks for these any more
                self._tickets.pop(flight.number, None)
        return refused

    def _launch(self, shipment: Shipment, patience: Patience) -> _Flight:
        flight = _Flight(shipment)
        self._send(flight, patience.deadline)
        return flight

    def _send(self, flight: _Flight, deadline: float) -> None:
        """Puts the request on the line; when there is none by the deadline, the flight stays on the ground."""
        line = self._open_line(deadline)
        if line is None:
            return
        number = next(self._numbers)
        flight.line, flight.number, flight.ticket = line, number, Ticket()
        self._tickets[number] = flight.ticket
        line.put(Up(call=number, request=flight.shipment.request))

    def _open_line(self, deadline: float) -> Line[Up, Down] | None:
        line = self._line
        if line is None or not line.healthy():
            line = self._connection.reopen(lambda: self._line, self._open, deadline)
        return line

    def _open(self) -> Line[Up, Down]:
        self._line = self._connection.line(lambda stubs: stubs.queue.EnqueueStream, self._route, Up)
        return self._line

    def _route(self, line: Line[Up, Down], answer: Down) -> None:
        ticket = self._tickets.pop(answer.call, None)
        if ticket is not None:
            line.deliver(ticket, answer)

    def _land(self, flight: _Flight, patience: Patience) -> list[Refused]:
        """Waits for the answer, and sends again what got none or was refused for the moment."""
        for pause in pauses():
            verdict = self._verdict(flight, patience)
            if verdict is not None and verdict.retry_after is None:
                patience.renew()
                return verdict.refused
            again = (verdict and verdict.retry_after) or pause
            if patience.left() <= again:
                return flight.shipment.given_up(unreachable(self._connection.address, patience.timeout))
            time.sleep(again)
            self._send(flight, patience.deadline)
        raise AssertionError("pauses never end")

    def _verdict(self, flight: _Flight, patience: Patience) -> Verdict | None:
        """What became of this sending; None when nobody knows, or when nothing was sent."""
        line, flight.line = flight.line, None
        if line is None:
            return None
        answered = line.wait(flight.ticket, patience.deadline)
        self._tickets.pop(flight.number, None)
        if answered:
            return judged(flight.shipment, flight.ticket.answer, self._connection.address)
        if isinstance(line.broken, grpc.RpcError) and not passes(line.broken):
            trouble = explain(line.broken, self._connection.address, patience.timeout)
            return Verdict(flight.shipment.refused("FAILED", trouble))
        flight.shipment.maybe = True
        return None


def judged(shipment: Shipment, answer: Down, address: str) -> Verdict:
    """What an answer means; of one that no broker would give, that nobody knows."""
    try:
        with understood(address):
            return judge(shipment, answer)
    except OperationalError as error:
        shipment.maybe = True
        return Verdict(shipment.refused(error.reason, str(error)))


class _Flight:
    """One request on its way: on which line it is, None while it is not sent."""

    __slots__ = ("line", "number", "shipment", "ticket")

    def __init__(self, shipment: Shipment) -> None:
        self.shipment = shipment
        self.line: Line[Up, Down] | None = None
        self.number = 0
        self.ticket = Ticket()
