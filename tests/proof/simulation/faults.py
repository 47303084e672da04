"""What goes wrong in a simulated world, drawn one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import Random

from tests.crash.failpoints import WITH_ANY_JOB, WITH_TIME
from tests.proof.simulation.daemon import WorkerHost
from tests.proof.simulation.host import BrokerHost, owner
from tests.proof.simulation.network import Network
from tests.proof.simulation.record import Record

from tqbroker import _failpoint

PLACES = (*WITH_ANY_JOB, "after_workflow_commit", *WITH_TIME)


class Faults:
    """The evil one. `only` names what it may do, everything if it is empty; it lasts `stretch` times longer."""

    def __init__(
        self,
        broker: BrokerHost,
        workers: list[WorkerHost],
        net: Network,
        record: Record,
        rng: Random,
        only: Sequence[str] = (),
        stretch: float = 1.0,
    ) -> None:
        self._broker = broker
        self._workers = workers
        self._net = net
        self._record = record
        self._rng = rng
        self._stretch = stretch
        self._tasks: dict[asyncio.Task[None], None] = {}
        kinds: dict[str, tuple[Callable[[], Awaitable[None]], int]] = {
            "kill": (self._kill_broker, 3),
            "arm": (self._arm, 4),
            "stop": (self._stop_broker, 1),
            "stall": (self._stall_broker, 2),
            "clock": (self._set_clock, 2),
            "die": (self._worker_dies, 4),
            "freeze": (self._worker_freezes, 3),
            "cut": (self._worker_cut_off, 3),
            "break": (self._stream_breaks, 6),
            "crash": (self._child_dies, 3),
            "leave": (self._worker_leaves, 2),
        }
        self._kinds = [kinds[name] for name in only or kinds]
        broker.on_death = self._revive_broker

    async def run(self, until: float, pause: float) -> None:
        """One fault every `pause` seconds on average."""
        loop = asyncio.get_running_loop()
        while loop.time() < until:
            await asyncio.sleep(self._rng.expovariate(1 / pause))
            kind = self._rng.choices([kind for kind, _ in self._kinds], [weight for _, weight in self._kinds])[0]
            await kind()
        _failpoint.arm({})

    def _later(self, work: Awaitable[None]) -> None:
        before = owner.set(None)  # it may be called by a process that has just been killed
        task = asyncio.ensure_future(work)
        owner.reset(before)
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    async def settled(self) -> None:
        """Until everything that went wrong is over."""
        while self._tasks:
            await asyncio.wait(list(self._tasks))

    def _worker(self) -> WorkerHost:
        return self._rng.choice(self._workers)

    def _seconds(self, *choices: float) -> float:
        """How long it lasts this time."""
        return self._rng.choice(choices) * self._stretch

    # -- the broker --------------------------------------------------------------------------------------------------

    async def _kill_broker(self) -> None:
        if self._broker.up:
            self._record.fault("kills", "the broker")
            self._broker.kill("kill -9")

    async def _arm(self) -> None:
        """The broker dies at a place in its code, at the next commits or so."""
        place = self._rng.choice(PLACES)
        nth = self._rng.choice((1, 1, 2, 5))
        self._record.say(f"armed {place}:{nth}")
        _failpoint.arm({"TQ_TESTING": "1", "TQ_FAILPOINT": f"{place}:{nth}=raise"})

    async def _stop_broker(self) -> None:
        if self._broker.up and not self._broker.host.frozen:
            self._record.fault("stops")
            await self._broker.stop()

    def _revive_broker(self) -> None:
        _failpoint.arm({})
        self._later(self._start_broker(self._rng.choice((0.05, 0.5, 2.0, 8.0, 45.0))))

    async def _start_broker(self, after: float) -> None:
        await asyncio.sleep(after)
        self._broker.host.thaw()
        await self._broker.start()

    async def _stall_broker(self) -> None:
        host = self._broker.host
        if self._broker.up and not host.frozen:
            seconds = self._seconds(1.0, 3.5, 20.0, 50.0, 90.0)
            self._record.fault("freezes", f"the broker for {seconds} s")
            host.freeze()
            self._later(_call_after(seconds, host.thaw))

    async def _set_clock(self) -> None:
        seconds = self._seconds(-600.0, -60.0, -2.0, 2.0, 45.0, 400.0)
        self._record.fault("jumps", f"the clock by {seconds} s")
        self._broker.clock.set_by += seconds

    # -- workers -----------------------------------------------------------------------------------------------------

    async def _worker_dies(self) -> None:
        worker = self._worker()
        if worker.process is not None:
            self._record.fault("kills", worker.host.name)
            worker.die()
            self._later(_call_after(self._seconds(0.1, 3.0, 20.0, 70.0), worker.start_if_down))

    async def _worker_leaves(self) -> None:
        worker = self._worker()
        if worker.process is not None and not worker.host.frozen:
            self._record.fault("leaves", worker.host.name)
            worker.process.leave()
            self._later(_call_after(self._seconds(20.0, 200.0), worker.start_if_down))

    async def _worker_freezes(self) -> None:
        worker = self._worker()
        if not worker.host.frozen and not worker.host.cut_off:
            seconds = self._seconds(0.5, 8.0, 20.0, 40.0, 90.0)
            self._record.fault("freezes", f"{worker.host.name} for {seconds} s")
            self._later(worker.out_of_reach(seconds, worker.host.freeze, worker.host.thaw))

    async def _worker_cut_off(self) -> None:
        worker = self._worker()
        if not worker.host.frozen and not worker.host.cut_off:
            seconds = self._seconds(0.5, 5.0, 15.0, 60.0)
            self._record.fault("partitions", f"{worker.host.name} for {seconds} s")
            self._later(worker.out_of_reach(seconds, worker.host.cut, worker.host.heal))

    async def _stream_breaks(self) -> None:
        streams = self._net.living()
        if streams:
            duplex = self._rng.choice(streams)
            self._record.fault("breaks", f"the stream of {duplex.caller.name}")
            duplex.break_off("connection reset")

    async def _child_dies(self) -> None:
        worker = self._worker()
        if worker.process is not None and not worker.host.frozen:
            self._record.fault("crashes", f"a child of {worker.host.name}")
            worker.process.crash_child()


async def _call_after(seconds: float, function: Callable[[], None]) -> None:
    await asyncio.sleep(seconds)
    function()
