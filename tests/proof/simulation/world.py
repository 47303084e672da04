"""A broker, its workers and clients in virtual time: `simulate(seed)` lets everything go wrong and judges the end."""

from __future__ import annotations

import asyncio
import logging
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import structlog
from tests.proof.simulation import bodies
from tests.proof.simulation.clients import Client, GaveUpError, Operator
from tests.proof.simulation.daemon import WorkerHost
from tests.proof.simulation.disk import Disk, virtual_disk
from tests.proof.simulation.faults import Faults
from tests.proof.simulation.host import BrokerHost, adopt, config
from tests.proof.simulation.network import Network
from tests.proof.simulation.record import Record
from tests.proof.simulation.verdict import Store, violations
from tests.proof.simulation.virtual import StuckError, VirtualLoop

from tqbroker import _failpoint
from tqbroker.v1 import admin_pb2, job_pb2, schedule_pb2, worker_pb2
from tqbroker_broker.questions import Filter
from tqbroker_broker.records import id_text

QUIET = 3600.0
"""Virtual seconds after the last fault within which every job must have ended: the longest body takes 150.

If nothing is stretched.
"""


@dataclass(frozen=True)
class Scale:
    """How large a world is: virtual minutes with faults, how many take part, seconds between two jobs, two faults."""

    minutes: float = 10.0
    workers: int = 20
    clients: int = 5
    job_every: float = 1.0
    fault_every: float = 10.0
    only: tuple[str, ...] = ()
    """Kinds of faults (faults.py); all of them if it is empty."""
    schedules: bool = True
    stretch: float = 1.0
    """How many times longer everything takes: jobs, leases, outages, and the pauses between them."""


@dataclass
class Report:
    """What came of one world."""

    seed: int
    violations: list[str]
    trace: str
    minutes: float
    steps: int
    jobs: int
    runs: int
    faults: Counter[str]
    tail: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        shown = "\n".join(self.violations)
        return f"TQ_SEED={self.seed} TQ_SEEDS=1 plays it again:\n{shown}\nThe last it saw:\n" + "\n".join(
            self.tail[-60:]
        )


def simulate(seed: int, scale: Scale = Scale(), kind: str = "lmdb") -> Report:
    """One world from its beginning to its end. The same seed gives the same."""
    loop = VirtualLoop()
    loop.set_task_factory(adopt)
    directory = Path(tempfile.mkdtemp(prefix="tq-simulation-", dir=_memory_disk()))
    world = World(seed, scale, kind, directory, loop)
    try:
        with world.at_work():
            try:
                return loop.run_until_complete(world.run())
            except (StuckError, GaveUpError) as error:
                return world.report([f"I1: {error}"], 0)
            finally:
                world.end()
    finally:
        loop.close()
        shutil.rmtree(directory)


def _memory_disk() -> str | None:
    """A file system without a disk, if there is one: what a power cut does is not judged here."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


class World:
    """Everybody in it. Each has randomness of its own, drawn from the seed."""

    def __init__(self, seed: int, scale: Scale, kind: str, directory: Path, loop: VirtualLoop) -> None:
        self.seed = seed
        self._scale = scale
        self._loop = loop
        rng = Random(seed)
        self._rng = rng
        self.record = record = Record(loop.time, scale.stretch)
        self.net = net = Network(loop, Random(rng.random()))
        self.broker = BrokerHost(kind, directory, net, record, config(scale.stretch))
        self.workers = [
            WorkerHost(f"w{number:02}", self.broker, net, record, Random(rng.random()))
            for number in range(scale.workers)
        ]
        self.clients = [
            Client(f"c{number}", self.broker, net, record, Random(rng.random()), scale.stretch)
            for number in range(scale.clients)
        ]
        self.faults = Faults(self.broker, self.workers, net, record, Random(rng.random()), scale.only, scale.stretch)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """The disk, the randomness of the product, its failpoints and its logs belong to this world."""
        before = random.getstate()
        random.seed(self.seed)
        watch = _LogWatch(self.record)
        self._loop.set_exception_handler(self._stray)
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        with ExitStack() as stack:
            stack.enter_context(virtual_disk(Random(self._rng.random())))
            stack.enter_context(mock.patch.object(_failpoint, "_act", self._strike))
            stack.callback(_failpoint.arm, {})
            stack.callback(random.setstate, before)
            stack.callback(structlog.reset_defaults)
            for name in ("tqbroker.broker", "tqbroker.storage"):
                stack.enter_context(watch.on(logging.getLogger(name)))
            yield

    def _strike(self, name: str, action: Any) -> None:
        """What happens at a failpoint: the broker dies there, unless it is dead already, or has all but ended."""
        if not self.broker.up:
            return
        self.record.fault("kills", f"the broker at {name}")
        _failpoint.arm({})
        if name in ("before_commit", "after_commit"):
            raise _failpoint.FailpointError(f"failpoint {name}")  # in the writer's thread: the broker gives up
        self.broker.kill(f"at {name}")
        raise asyncio.CancelledError

    def _stray(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An error that nobody has caught."""
        error = context.get("exception")
        if not isinstance(error, (asyncio.CancelledError, _failpoint.FailpointError)):
            self.record.problem(f"nobody caught {context['message']}: {error!r}")

    def end(self) -> None:
        """Everybody goes home."""
        self._loop.patient = True
        self.broker.on_death = lambda: None
        if self.broker.up:
            self.broker.kill("the end of the world")
        self._loop.run_until_complete(_all_end())

    async def run(self) -> Report:
        """Everything."""
        scale, loop = self._scale, self._loop
        await self.broker.start()
        operator = Operator("operator", self.broker, self.net)
        schedules = _schedules(scale.stretch) if scale.schedules else admin_pb2.SetSchedulesRequest()
        await operator.set_up(_limits(), schedules)
        for worker in self.workers:
            worker.start()
        until = loop.time() + 60 * scale.minutes
        pause = scale.job_every * scale.clients * scale.stretch
        work = [loop.create_task(client.run(until, pause)) for client in self.clients]
        await self.faults.run(until, scale.fault_every * scale.stretch)
        await self.faults.settled()
        self.net.calm = Disk.calm = True
        for worker in self.workers:
            worker.start_if_down()
        await asyncio.gather(*work)
        await self._quiet()
        return await self._judge()

    async def _quiet(self) -> None:
        """Until every job has ended, or should have."""
        until = self._loop.time() + QUIET * self._scale.stretch
        await self._pause_schedules()
        while self._loop.time() < until:
            await asyncio.sleep(5.0 * self._scale.stretch)
            core = self.broker.core
            if core is not None:
                counts = (await core.stats()).queues.values()
                if not any(each.queued or each.running or each.scheduled or each.waiting for each in counts):
                    return

    async def _pause_schedules(self) -> None:
        core = self.broker.core
        assert core is not None
        await core.scheduler.change([], [], [state.schedule.name for state in core.scheduler.states()], [])

    async def _judge(self) -> Report:
        record, core = self.record, self.broker.core
        assert core is not None
        jobs = {}
        cursor = b""
        while True:
            page = await core.orders.scan(Filter(), cursor, 1000)
            ids = [job.id for job in page.jobs]
            jobs.update({id_text(job.id): job for job in await core.engine.get(ids, with_attempts=True)})
            cursor = page.cursor
            if not cursor:
                break
        store = Store(jobs, (await core.stats()).queues, core.scheduler.states())
        flows = [flow for client in self.clients for flow in client.flows]
        found = violations(record, store, flows)
        return self.report(found, len(jobs))

    def report(self, found: list[str], jobs: int) -> Report:
        """What came of this world."""
        record, loop = self.record, self._loop
        runs = sum(map(len, record.runs.values()))
        return Report(
            self.seed, found, record.trace(), loop.time() / 60, loop.steps, jobs, runs, record.faults, record.tail
        )


async def _all_end() -> None:
    """Cancels every task but this one."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _limits() -> admin_pb2.SetLimitsRequest:
    return admin_pb2.SetLimitsRequest(set=[worker_pb2.LimitRule(name="api", concurrency=2)])


def _schedules(stretch: float) -> admin_pb2.SetSchedulesRequest:
    job = job_pb2.JobBatch(task="quick", queue="b", format="json", args=[bodies.Body(("ok",), 0.5 * stretch).args()])
    every = schedule_pb2.Schedule(
        name="all", every_ms=round(20_000 * stretch), misfire=schedule_pb2.MISFIRE_ALL, misfire_max=10_000, job=job
    )
    latest = schedule_pb2.Schedule(
        name="latest", every_ms=round(7_000 * stretch), misfire=schedule_pb2.MISFIRE_LATEST, job=job
    )
    return admin_pb2.SetSchedulesRequest(put=[every, latest])


class _LogWatch(logging.Handler):
    """What the broker logs as an error is one."""

    def __init__(self, record: Record) -> None:
        super().__init__(logging.ERROR)
        self._history = record

    def emit(self, record: logging.LogRecord) -> None:
        self._history.problem(f"the broker has logged: {record.getMessage()} {record.exc_info}")

    @contextmanager
    def on(self, logger: logging.Logger) -> Iterator[None]:
        """Watches this logger, which tells nobody else meanwhile."""
        level, spreads = logger.level, logger.propagate
        logger.addHandler(self)
        logger.setLevel(logging.ERROR)
        logger.propagate = False
        try:
            yield
        finally:
            logger.removeHandler(self)
            logger.setLevel(level)
            logger.propagate = spreads
