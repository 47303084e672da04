"""What waits to be sent down a worker's stream: everything pending goes into one message."""

from __future__ import annotations

import asyncio
import math

from tqbroker._failpoint import hit
from tqbroker.v1 import worker_pb2 as pb
from tqbroker_broker.acks import Acks
from tqbroker_broker.calls import Context
from tqbroker_broker.core import Core
from tqbroker_broker.messages.deliveries import write_deliveries
from tqbroker_broker.sessions import MAX_BYTES, MAX_WINDOW, Session, size_of

ACK_DELAY = 0.02
"""Seconds one acknowledgement may wait for company: a message costs more than what is in it."""

ACKS_AT_ONCE = 2
"""Messages whose acknowledgement does not wait: a worker with so many out gathers its next outcomes until it hears."""

MAX_REFUSED = 2 * MAX_WINDOW
"""Refusals that wait to be sent: no worker that reads can have so many, as it never held so many leases."""


class Outbox:
    """The writer of one stream."""

    def __init__(self, core: Core, context: Context, acks: Acks) -> None:
        self._core = core
        self._context = context
        self._acks = acks
        self._sent_ack = 0
        self._ack_due = False
        self._ack_timer: asyncio.TimerHandle | None = None
        self._session: Session | None = None
        self._next = pb.WorkResponse()
        self._pending = False
        self._told_stopping = False
        self._finishing = False
        self._wake = asyncio.Event()
        self._clock = asyncio.get_running_loop().time
        self._writing_since = math.inf

    def open(self, session: Session, welcome: pb.Welcome, refused: list[pb.Refused]) -> None:
        """The first message. From now on `run` writes."""
        self._session = session
        self._next.welcome.CopyFrom(welcome)
        self._next.refused.extend(refused)
        self._touch()

    def wake(self) -> None:
        """Something may have to be sent."""
        self._wake.set()

    def beat(self) -> None:
        """The worker wants a sign of life."""
        self._next.heartbeat = True
        self._touch()

    def refuse(self, refused: list[pb.Refused]) -> None:
        """Outcomes without effect. A worker that sends more and more of them and does not read loses its stream."""
        self._next.refused.extend(refused)
        if self._session is not None and len(self._next.refused) > MAX_REFUSED:
            self._session.close()
        self._touch()

    def _touch(self) -> None:
        self._pending = True
        self._wake.set()

    async def run(self) -> None:
        """Writes until the session is closed and everything is sent."""
        session = self._session
        assert session is not None
        while True:
            size = self._fill(session)
            if self._pending:
                message, self._next, self._pending = self._next, pb.WorkResponse(), False
                if size:
                    hit("before_send")
                self._writing_since = self._clock()
                await self._context.write(message)
                self._writing_since = math.inf
                if size:
                    await self._core.workers.sent(session, size)
            elif self._finishing or session.closed:
                return
            else:
                self._wake.clear()
                await self._wake.wait()

    def unread_for(self) -> float:
        """Seconds for which the worker has not taken what is being sent; 0 or less when nothing is."""
        return self._clock() - self._writing_since

    def finish(self) -> None:
        """Nothing more will come: `run` ends when what is left is written."""
        self._finishing = True
        self._wake.set()

    def _fill(self, session: Session) -> int:
        """Puts what waits into the next message. Returns the bytes of deliveries in it."""
        message = self._next
        size = self._fill_deliveries(session, message)
        if session.cancelled:
            self._fill_cancels(session, message)
        if session.commands:
            message.commands.extend(
                pb.Command(command=number, name=name, arguments=arguments)
                for number, name, arguments in session.commands
            )
            session.commands.clear()
            self._pending = True
        if session.stopping and not self._told_stopping:
            message.stopping = self._told_stopping = self._pending = True
        if self._acks.acked > self._sent_ack:
            self._fill_ack(message, last=self._finishing or session.closed)
        return size

    def _fill_cancels(self, session: Session, message: pb.WorkResponse) -> None:
        """Cancels of what the worker has or gets with this message: it would not know those of later deliveries."""
        later = {token for leased in session.outbox for token in leased.tokens}
        cancelled = [token for token in session.cancelled if token not in later]
        forced = [pb.Terminate(token=token, signal=signal) for token, signal in session.terminate if token not in later]
        message.cancelled.extend(cancelled)
        message.terminate.extend(forced)
        session.cancelled = [token for token in session.cancelled if token in later]
        session.terminate = [each for each in session.terminate if each[0] in later]
        self._pending = self._pending or bool(cancelled)

    def _fill_ack(self, message: pb.WorkResponse, last: bool) -> None:
        """An acknowledgement rides with whatever goes down next, or goes alone after a moment."""
        if self._pending or self._ack_due or last or self._acks.acked - self._sent_ack >= ACKS_AT_ONCE:
            message.acked = self._sent_ack = self._acks.acked
            self._pending, self._ack_due = True, False
        elif self._ack_timer is None:
            self._ack_timer = asyncio.get_running_loop().call_later(ACK_DELAY, self._ack_now)

    def _ack_now(self) -> None:
        self._ack_timer = None
        self._ack_due = True
        self._wake.set()

    def _fill_deliveries(self, session: Session, message: pb.WorkResponse) -> int:
        size = 0
        while session.outbox and size < MAX_BYTES and not session.closed:
            leased = session.outbox.popleft()
            message.deliveries.extend(write_deliveries(leased))
            size += size_of(leased)
            self._pending = True
        return size
