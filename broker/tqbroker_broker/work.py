"""The Worker service: one object per open stream, which carries messages between a worker and its session."""

from __future__ import annotations

import asyncio
import logging

from tqbroker.v1 import errors_pb2
from tqbroker.v1 import worker_pb2 as pb
from tqbroker_broker import __version__
from tqbroker_broker.acks import Acks
from tqbroker_broker.attempts import Annotation
from tqbroker_broker.calls import EOF, Context, run_pair
from tqbroker_broker.commands import Reply
from tqbroker_broker.core import Core
from tqbroker_broker.errors import write_error
from tqbroker_broker.messages.annotations import read_annotations
from tqbroker_broker.messages.outcomes import read_consume, read_ending, read_hello, read_successes
from tqbroker_broker.outbox import Outbox
from tqbroker_broker.refusals import Busy, Invalid, LeaseLost, OtherStore
from tqbroker_broker.sessions import Session
from tqbroker_broker.storage import Ambiguous, Unavailable
from tqbroker_broker.workers import Attached

log = logging.getLogger("tqbroker.broker")

MAX_PENDING = 64
"""Messages whose outcomes are on their way to the disk; then the next is not read before one is there."""


class WorkerService:
    """What worker daemons talk to."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def work(self, context: Context) -> None:
        await WorkStream(self._core, context).run()


class WorkStream:
    """One worker's stream. Messages are taken in order and do not wait for each other's commits."""

    def __init__(self, core: Core, context: Context) -> None:
        self._core = core
        self._context = context
        self._acks = Acks()
        self._outbox = Outbox(core, context, self._acks)
        self._tasks: set[asyncio.Task[None]] = set()
        self._error: Exception | None = None

    async def run(self) -> None:
        """Serves the worker until its stream ends. A worker that has not said `leaving` is awaited back."""
        first = await self._context.read()
        if first is EOF:
            return
        if not first.HasField("hello"):
            raise Invalid("the first message of a Work stream must carry `hello`")
        attached = await self._core.workers.attach(read_hello(first.hello, self._core.config), self._outbox.wake)
        session = attached.session
        log.info("worker %s is here: %s slots, pool %s", session.name, session.hello.slots, session.hello.pool)
        try:
            self._outbox.open(session, self._welcome(attached), self._refusals(attached))
            await self._serve(session, first)
        finally:
            self._core.workers.part(session)

    async def _serve(self, session: Session, first: pb.WorkRequest) -> None:
        """Until the worker leaves, its stream breaks, or the session is closed from inside."""
        reader = asyncio.create_task(self._read(session, first))
        writer = asyncio.create_task(self._outbox.run())
        await run_pair(reader, writer, self._outbox.finish)
        if self._error is not None:
            raise self._error

    def _welcome(self, attached: Attached) -> pb.Welcome:
        config, opened = self._core.config, self._core.opened
        return pb.Welcome(
            store=opened.store,
            epoch=opened.epoch,
            lease_ttl_ms=round(config.lease_ttl * 1000),
            heartbeat_ms=round(config.lease_ttl * 1000 / 3),
            grace_ms=round(config.grace * 1000),
            lost=attached.lost,
            version=__version__,
        )

    def _refusals(self, attached: Attached) -> list[pb.Refused]:
        if not attached.other_store:
            return []
        text = "this lease belongs to another store, for example the one before a restore: drop it"
        error = write_error(OtherStore(text))
        return [pb.Refused(token=token, error=error) for token in attached.lost]

    # -- up --------------------------------------------------------------------------------------------------------

    async def _read(self, session: Session, first: pb.WorkRequest) -> None:
        request = first
        last = 0
        while request is not EOF and not session.closed:
            if request.number <= last:
                raise Invalid(f"message {request.number} came after {last}: numbers count up from 1 on a stream")
            last = request.number
            self._check_reads(session)
            self._take(session, request)
            while len(self._tasks) >= MAX_PENDING:
                await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            if request.leaving:
                break
            request = await self._context.read()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if request is not EOF and request.leaving:
            await self._leave(session)

    def _check_reads(self, session: Session) -> None:
        """Raises Busy: a worker that speaks and does not listen would keep jobs for ever that it has never seen."""
        silent = self._outbox.unread_for()
        if silent > self._core.config.lease_ttl:
            raise Busy(
                f"worker {session.name} has not read what it was sent for {silent:.0f} s: connect again, and read"
            )

    def _take(self, session: Session, request: pb.WorkRequest) -> None:
        """Does at once what needs no disk; the rest goes on beside the next messages."""
        self._core.workers.heard(session)
        self._acks.expect(request.number)
        if request.HasField("consume"):  # before the credit, which is for these queues
            self._core.workers.consume(session, read_consume(request.consume))
        if request.HasField("credit"):
            credit = request.credit
            self._core.workers.credit(session, credit.slots, credit.window, frozenset(credit.fast))
        if request.leaving:
            self._core.workers.credit(session, 0, 0, frozenset())
        if request.heartbeat:
            self._outbox.beat()
        for reply in request.replies:
            self._core.commands.answered(session.name, Reply(reply.command, reply.error, reply.body))
        if self._is_work(request):
            task = asyncio.create_task(self._apply(session, request))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            self._acks.done(request.number)

    @staticmethod
    def _is_work(request: pb.WorkRequest) -> bool:
        """Whether something of a message has to wait for the disk, or may lead to a hand-out."""
        brought = request.successes or request.endings or request.returned or request.annotations
        return bool(brought) or request.HasField("credit") or request.HasField("consume")

    async def _apply(self, session: Session, request: pb.WorkRequest) -> None:
        config = self._core.config
        try:
            successes, endings = read_successes(request.successes, config.max_result_size)
            endings += [read_ending(ending, config.max_args_size) for ending in request.endings]
            if request.annotations:
                await self._annotate(session, request)
            if successes or endings:
                stale = await self._core.outcomes.finish(session, successes, endings)
                if stale:
                    self._outbox.refuse([pb.Refused(token=token, error=_lease_lost()) for token in stale])
            if request.returned:
                await self._core.outcomes.release(session, list(request.returned))
            if not successes and not endings and not request.returned:
                await self._core.workers.dispatch()
        except Exception as error:
            self._error = self._error or error
            session.close()
        else:
            self._acks.done(request.number)
            self._outbox.wake()

    async def _annotate(self, session: Session, request: pb.WorkRequest) -> None:
        good, wrong = read_annotations(request.annotations, self._core.now().wall_ms)
        refused = [pb.Refused(token=token, error=write_error(error)) for token, error in wrong]
        if good:
            refused += await self._store_annotations(session, good)
        if refused:
            self._outbox.refuse(refused)

    async def _store_annotations(self, session: Session, annotations: list[Annotation]) -> list[pb.Refused]:
        """What cannot be stored now the worker sends again, so that no outcome waits for it."""
        try:
            stale = await self._core.outcomes.annotate(session, annotations)
        except (Unavailable, Ambiguous) as error:
            return [pb.Refused(token=annotation.token, error=write_error(error)) for annotation in annotations]
        return [pb.Refused(token=token, error=_lease_lost()) for token in stale]

    async def _leave(self, session: Session) -> None:
        if self._error is None:
            await self._core.workers.leave(session)
            log.info("worker %s has left", session.name)


def _lease_lost() -> errors_pb2.Error:
    text = "the lease of this attempt is over: another worker has the job, or it has ended. The outcome has no effect"
    return write_error(LeaseLost(text))
