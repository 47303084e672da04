"""A worker of a simulated world: the real session, hand-over and stream; its children take virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any, cast

from tests.proof.simulation.child import Child
from tests.proof.simulation.host import BrokerHost, Life
from tests.proof.simulation.network import CallerSide, Host, Network
from tests.proof.simulation.record import Away, Record
from tests.proof.simulation.virtual import START_MS

from tqbroker.v1 import worker_pb2
from tqbroker_worker.credit import Credit
from tqbroker_worker.handover import Handover
from tqbroker_worker.identity import Identity
from tqbroker_worker.joblog import JobLog
from tqbroker_worker.ledger import Ledger
from tqbroker_worker.notes import Notes
from tqbroker_worker.session import Session
from tqbroker_worker.stream import Call, NotAdmittedError, Stream

NO_LOG = JobLog("critical", lambda function, *arguments: None)


class StubbornSession(Session):
    """That of a worker which tells the outcomes it has, also of leases that it hears are lost."""

    def _drop(self, lost: set[int]) -> None:
        self._notes.drop(lost)
        self._handover.forget(lost)


class Process:
    """One life of a worker, from its start to its death."""

    def __init__(self, worker: WorkerHost, number: int) -> None:
        self.worker = worker
        self.number = number
        self.life = Life()
        loop = asyncio.get_running_loop()
        credit, ledger = Credit(), Ledger()
        self.handover = Handover(credit, ledger, NO_LOG, self._wake, loop.call_later)
        instance = worker.rng.randbytes(16)
        identity = Identity(worker.host.name, worker.queues, worker.tasks, worker.slots, "threads", instance)
        kind = StubbornSession if worker.stubborn else Session
        self.session = kind(identity, self.handover, ledger, Notes(), credit, loop.call_later, self._wake)
        self.stream = Stream(self.session, "", "")
        self.child = self._seat()
        self.life.spawn(self._run())

    def _seat(self) -> Child:
        child = Child(self.worker.slots, self.handover, self.worker, self)
        self.handover.add(child.seat)
        return child

    def _wake(self) -> None:
        if hasattr(self, "stream"):
            self.stream.wake()

    async def _run(self) -> None:
        """Until it has left, or is not admitted."""
        try:
            await self.stream.keep(self._open)
        except NotAdmittedError:
            self.worker.record.say(f"{self.worker.host.name} is not admitted")
        self.worker.ended(self)

    def _open(self) -> Call:
        return self.worker.connect()

    def crash_child(self) -> None:
        """The child dies with what it runs; another one takes its place."""
        self.child.die()
        self.child = self._seat()

    def leave(self) -> None:
        """As SIGTERM."""
        self.handover.close()
        self.stream.leave()


class WorkerHost:
    """A machine with a worker on it, which may die, stand still, be cut off, and come back."""

    def __init__(self, name: str, broker: BrokerHost, net: Network, record: Record, rng: Random) -> None:
        self.host = Host(name)
        self.rng = rng
        self.record = record
        self.queues = tuple(rng.sample(("a", "b", "c"), rng.randint(1, 3)))
        self.tasks = ("quick", "slow")
        self.slots = rng.choice((1, 1, 2, 4))
        self.stubborn = rng.random() < 0.3
        self.process: Process | None = None
        self._broker = broker
        self._net = net
        self._number = 0
        self._away_since: float | None = None

    def start(self) -> None:
        """A new process under the same name."""
        self._number += 1
        self.record.say(f"{self.host.name} starts as process {self._number}")
        self.process = Process(self, self._number)

    def start_if_down(self) -> None:
        """The same, unless one is there."""
        if self.process is None:
            self.start()

    def now_ms(self) -> int:
        """The wall clock of this machine."""
        return START_MS + int(self._net.loop.time() * 1000)

    def die(self) -> None:
        """As kill -9."""
        if self.process is None:
            return
        process, self.process = self.process, None
        process.life.kill()
        process.child.forget()
        now = self._net.loop.time()
        self.record.away.append(Away(self.host.name, now, now, process.number))
        self.break_off("the worker has died")

    def ended(self, process: Process) -> None:
        """A process has come to its own end."""
        process.child.forget()
        if self.process is process:
            self.process = None

    def break_off(self, why: str) -> None:
        """Its connections break."""
        for duplex in self._net.living(self.host):
            duplex.break_off(why)

    def connect(self) -> Call:
        """A new stream to the broker."""
        duplex = self._net.open(self.host, self._broker.host)
        self._net.loop.call_later(self._net.delay(), self._reach, duplex)
        return cast(Call, CallerSide(duplex, worker_pb2.WorkResponse))

    def _reach(self, duplex: Any) -> None:
        if self.host.cut_off:
            self.host.hold(lambda: self._reach(duplex))
        elif not duplex.over:
            self._broker.serve_stream("Worker", "work", worker_pb2.WorkRequest, duplex)

    async def out_of_reach(self, seconds: float, go: Callable[[], None], back: Callable[[], None]) -> None:
        """Stands still, or is cut off, for so long."""
        since = self._net.loop.time()
        go()
        await asyncio.sleep(seconds)
        back()
        self.record.away.append(Away(self.host.name, since, self._net.loop.time()))
