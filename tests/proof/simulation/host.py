"""The broker of a simulated world: the real core, services and timers, over a store that outlives them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar, cast

import grpc
import grpc.aio
from google.protobuf.message import Message
from tests.contracts.harness import make_engine
from tests.proof.simulation.disk import Disk
from tests.proof.simulation.network import AbortedError, Duplex, Host, Network, ServedCall, rpc_error
from tests.proof.simulation.record import Record
from tests.proof.simulation.virtual import MachineClock

from tqbroker_broker.admin import AdminService
from tqbroker_broker.calls import Context
from tqbroker_broker.config import MIB, BrokerConfig
from tqbroker_broker.core import Core
from tqbroker_broker.errors import abort
from tqbroker_broker.service import QueueService
from tqbroker_broker.storage import Engine, Fenced
from tqbroker_broker.storage.lmdb.engine import LmdbEngine
from tqbroker_broker.storage.lmdb.store import Store
from tqbroker_broker.timers import Timers
from tqbroker_broker.work import WorkerService

T = TypeVar("T")


def config(stretch: float) -> BrokerConfig:
    """One under which nothing is dropped before the judge has seen it, and in which leases last so much longer."""
    usual = BrokerConfig()
    return BrokerConfig(
        map_size=256 * MIB,
        lease_ttl=usual.lease_ttl * stretch,
        grace=usual.grace * stretch,
        result_ttl=7 * 86_400.0,
        dedup_window=7 * 86_400.0,
        max_args_size=64 * 1024,
        event_ttl=7 * 86_400.0,
    )


owner: ContextVar[Life | None] = ContextVar("owner", default=None)
"""Whose tasks are being made."""


class Life:
    """One process: everything it has running, so that it can be killed."""

    def __init__(self) -> None:
        self.dead = False
        self.tasks: dict[asyncio.Task[Any], None] = {}

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Starts a task of this process; what it starts belongs to the process too."""
        before = owner.set(self)
        try:
            return asyncio.get_running_loop().create_task(work)
        finally:
            owner.reset(before)

    def kill(self) -> None:
        """Nothing of it goes on."""
        self.dead = True
        for task in list(self.tasks):
            task.cancel()


def adopt(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
    """The task factory: notes whose task it is."""
    task = asyncio.Task(work, loop=loop, **options)
    life = owner.get()
    if life is not None:
        life.tasks[task] = None
        task.add_done_callback(lambda done: _ended(life, done))
        if life.dead:
            task.cancel()
    return task


def _ended(life: Life, task: asyncio.Task[Any]) -> None:
    life.tasks.pop(task, None)
    if life.dead and not task.cancelled():
        task.exception()  # what a dead process has to say interests nobody


class SimCore(Core):
    """A core whose upkeep stands still with its machine."""

    machine: Host

    async def tick(self) -> float:
        await self.machine.awake()
        return await super().tick()


class BrokerHost:
    """The machine of the broker, and the broker on it, which may be killed and started again."""

    def __init__(self, kind: str, directory: Path, net: Network, record: Record, config: BrokerConfig) -> None:
        self.host = Host("broker")
        self.clock = MachineClock(net.loop)
        self.config = config
        self.record = record
        self.kind = kind
        self.starts = 0
        self._directory = directory
        self._net = net
        self._engine: Engine | None = None
        self._life = Life()
        self.core: SimCore | None = None
        self.on_death: Callable[[], None] = lambda: None

    @property
    def up(self) -> bool:
        """Whether it serves."""
        return self.core is not None

    async def start(self) -> None:
        """Opens the store and serves."""
        engine = make_engine(self.kind, self._directory, self.config, self._engine)
        if isinstance(engine, LmdbEngine):
            engine.stopwatch = self._net.loop.time
        self._engine, self._life = engine, (life := Life())
        core = SimCore(engine, self.clock, self.config, lambda error: self._storage_failed(life, error))
        core.machine = self.host
        opened = await core.open()
        self.starts += 1
        self.record.say(f"broker starts, epoch {opened.epoch}, awaits {opened.awaited}")
        self.services = {"Queue": QueueService(core), "Worker": WorkerService(core), "Admin": AdminService(core, "")}
        self.core = core
        life.spawn(Timers(core).run())

    def _storage_failed(self, life: Life, error: Fenced) -> None:
        """The real one ends its process here."""
        if not life.dead:
            self.kill(f"storage has failed: {error}")

    def kill(self, why: str) -> None:
        """As kill -9: nothing goes on, what was committed stays."""
        core, engine = self.core, self._engine
        assert core is not None
        assert engine is not None
        self.core = None
        self.record.say(f"broker is killed: {why}")
        self._life.kill()
        if isinstance(engine, LmdbEngine):
            _drop_store(engine)
        for duplex in self._net.living():
            duplex.break_off("the broker is gone")
        self.on_death()

    async def stop(self) -> None:
        """As SIGTERM: drains, closes the store."""
        assert self.core is not None
        core, self.core = self.core, None
        self.record.say("broker stops")
        await core.drain()
        await asyncio.sleep(0.25)
        self._life.kill()
        for duplex in self._net.living():
            duplex.break_off("the broker is gone")
        await asyncio.sleep(0)
        await core.close()
        self.on_death()

    # -- calls -----------------------------------------------------------------------------------------------------

    async def serve(self, service: str, method: str, request: Message) -> Message:
        """Answers a single call. Raises AioRpcError as the wire would tell it."""
        if self.core is None:
            raise rpc_error(grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses")
        task = self._life.spawn(self._answer(getattr(self.services[service], method), request))
        try:
            answer: Message = await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise rpc_error(grpc.StatusCode.UNAVAILABLE, "the broker is gone") from None
            raise
        return answer

    async def _answer(self, call: Callable[[Any], Coroutine[Any, Any, Message]], request: Message) -> Message:
        context = ServedCall(self.host, None, type(request))
        try:
            answer = await call(request)
        except Exception as error:
            raise await _said(context, error) from None
        await self.host.awake()
        return answer

    def serve_stream(self, service: str, method: str, request_type: type[Message], duplex: Duplex) -> None:
        """Answers a call that is a stream."""
        if self.core is None:
            duplex.break_off("failed to connect to all addresses")
            return
        call = getattr(self.services[service], method)
        self._life.spawn(self._stream(call, ServedCall(self.host, duplex, request_type), duplex))

    async def _stream(
        self, call: Callable[[Any], Coroutine[Any, Any, None]], context: ServedCall, duplex: Duplex
    ) -> None:
        try:
            await call(context)
        except Exception as error:
            if not duplex.over:
                duplex.down.put(await _said(context, error))
        else:
            duplex.down.put(None)


def _drop_store(engine: LmdbEngine) -> None:
    """Lets go of a store as the death of its process does."""
    parts = vars(engine)
    committer: Disk = parts["_committer"]
    store: Store = parts["_store"]
    committer.stop()
    store.done_reading()
    store.env.close()
    os.close(parts["_lock"])


async def _said(context: ServedCall, error: Exception) -> grpc.aio.AioRpcError:
    """What the caller gets for an error of its handler."""
    try:
        await abort(cast(Context, context), error)
    except AbortedError as aborted:
        return aborted.error
