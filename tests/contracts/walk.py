"""A random walk over the verbs: the same steps on several engines, every answer compared, a witness watching the first.

Randomness is handed in, so that a seed, or something that shrinks, can lead the walk.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import TypeVar

from tests.contracts.draws import Client, Draws
from tests.contracts.harness import EngineUnderTest, instance
from tests.contracts.witness import Witness

from tqbroker_broker.config import MIB, StorageConfig
from tqbroker_broker.records import HandedOut, Held, JobId, Joined, Leased, Time
from tqbroker_broker.storage import NameTaken

T = TypeVar("T")

# Short times, so that a walk of some minutes sees results dropped, ids forgotten and jobs quarantined.
CONFIG = StorageConfig(
    map_size=256 * MIB,
    max_result_size=64 * 1024,
    result_ttl=60.0,
    dead_ttl=90.0,
    dedup_window=150.0,
    max_lost_leases=2,
    max_attempts_kept=3,
)
NAMES = ("u", "v", "w")
LOOK_CLOSER_EVERY = 10


class Walk:
    """One walk. `trail` says what was done, the last step last."""

    def __init__(self, engines: Sequence[EngineUnderTest], rng: Random) -> None:
        self.engines = engines
        self.rng = rng
        self.trail: list[str] = []
        self._draw = Draws(rng)
        self._witness = Witness()
        self._clients = [Client(name) for name in NAMES]
        self._sent: list[int] = []
        self._steps: dict[Callable[[], Awaitable[None]], int] = {
            self._enqueue: 10,
            self._lease: 18,
            self._finish: 14,
            self._resend: 3,
            self._release: 2,
            self._annotate: 4,
            self._cancel: 4,
            self._forget: 2,
            self._join: 12,
            self._part: 3,
            self._leave: 1,
            self._due: 4,
            self._expire: 6,
            self._pass_time: 8,
            self._stall: 1,
            self._jump: 1,
            self._restart: 2,
        }

    @property
    def now(self) -> Time:
        return self.engines[0].now

    async def run(self, steps: int) -> None:
        """Opens the engines and takes the steps. Raises AssertionError at the first thing that must not be."""
        await self._same("open", lambda engine: engine.open(), lambda opened: opened[1:])
        for number in range(1, steps + 1):
            (step,) = self.rng.choices(list(self._steps), list(self._steps.values()))
            await step()
            await self._look(closely=number % LOOK_CLOSER_EVERY == 0)

    # -- comparing -------------------------------------------------------------------------------------------------

    async def _same(
        self, what: str, verb: Callable[[EngineUnderTest], Awaitable[T]], view: Callable[[T], object] = lambda it: it
    ) -> T:
        """The answer that all engines give."""
        self.trail.append(what)
        answer = await verb(self.engines[0])
        seen = view(answer)
        self.trail.append(f"    {seen}")
        for engine in self.engines[1:]:
            other = view(await verb(engine))
            assert other == seen, f"{engine.kind} answered {what}\n{other}\ninstead of\n{seen}"
        return answer

    async def _look(self, *, closely: bool) -> None:
        """After each step the witness looks at every job; from time to time the engines are compared in everything."""
        left = [engine.verbs.recovery_left(engine.now) for engine in self.engines]
        assert len(set(left)) == 1, f"the engines wait {left} seconds for workers"
        ids = list(self._draw.digests)
        if closely:
            await self._same("workers", _workers)
            await self._same("stats", lambda engine: engine.verbs.stats(), lambda stats: stats.queues)
            for job in ids:
                await self._same_job(job)
        first = self.engines[0].verbs
        self._witness.look(await first.get(ids), (await first.stats()).queues)

    async def _same_job(self, job: JobId) -> None:
        await self._same(
            f"get {job!r}",
            lambda engine: engine.verbs.get([job], with_args=True, with_attempts=True),
            lambda jobs: [replace(each, attempts=list(each.attempts)) for each in jobs],
        )
        del self.trail[-2:]

    # -- jobs ------------------------------------------------------------------------------------------------------

    async def _enqueue(self) -> None:
        batches = [self._draw.batch(self.now) for _ in range(self.rng.randint(1, 2))]
        await self._same(f"enqueue {batches}", lambda engine: engine.verbs.enqueue(batches, engine.now))

    async def _lease(self) -> None:
        present = [client for client in self._clients if client.connected]
        clients = [self._draw.mostly(present, self._clients) for _ in range(self.rng.randint(1, 2))]
        wants = [self._draw.want(client) for client in clients]
        answers = await self._same(f"lease {wants}", lambda engine: engine.verbs.lease(wants, engine.now), _columns)
        for client, batches in zip(clients, answers.batches, strict=True):
            self._witness.leased(batches)
            self._deliver(client, batches)

    def _deliver(self, client: Client, batches: list[Leased]) -> None:
        """The worker has the jobs, unless the message got lost."""
        taken = {token: job for batch in batches for token, job in zip(batch.tokens, batch.ids, strict=True)}
        self._draw.granted.update(taken)
        if self._draw.chance(0.9):
            client.held.update(taken)

    def _holder(self) -> Client:
        return self._draw.mostly([client for client in self._clients if client.held], self._clients)

    async def _finish(self) -> None:
        client = self._holder()
        tokens = self._draw.some_of(client.held) + self._draw.stray_tokens(self._clients)
        await self._outcomes(client, tokens, with_ids=False)

    async def _resend(self) -> None:
        client = self._holder()
        tokens = self._draw.some_of(dict.fromkeys([*client.held, *self._sent]))
        await self._outcomes(client, tokens, with_ids=True)

    async def _outcomes(self, client: Client, tokens: list[int], *, with_ids: bool) -> None:
        """Sends some outcomes as successes, the others as endings."""
        cut = self.rng.randint(0, len(tokens))
        successes = [self._draw.successes(tokens[:cut], self.now, with_ids=with_ids)] if cut else []
        endings = [self._draw.ending(token, self.now, with_ids=with_ids) for token in tokens[cut:]]
        answer = await self._same(
            f"finish {client.name} {successes} {endings}",
            lambda engine: engine.verbs.finish(client.name, successes, endings, engine.now),
        )
        for token in tokens:
            client.held.pop(token, None)
            if token not in answer.refused:
                self._sent.append(token)
                self._witness.accepted(client.name, self._draw.granted[token], token)

    async def _release(self) -> None:
        client = self._holder()
        tokens = self._draw.some_of(client.held) + self._draw.stray_tokens(self._clients)
        await self._same(
            f"release {client.name} {tokens}", lambda engine: engine.verbs.release(client.name, tokens, engine.now)
        )
        for token in tokens:
            client.held.pop(token, None)

    async def _annotate(self) -> None:
        client = self._holder()
        tokens = self._draw.some_of(client.held) + self._draw.stray_tokens(self._clients)
        words = [self._draw.annotation(token, self.now) for token in tokens]
        await self._same(
            f"annotate {client.name} {words}", lambda engine: engine.verbs.annotate(client.name, words, engine.now)
        )

    async def _cancel(self) -> None:
        ids, terminate = self._draw.some_ids(), self._draw.chance(0.3)
        await self._same(
            f"cancel {ids} {'by force' if terminate else ''}",
            lambda engine: engine.verbs.cancel(ids, engine.now, terminate=terminate),
        )

    async def _forget(self) -> None:
        ids = self._draw.some_ids()
        await self._same(f"forget {ids}", lambda engine: engine.verbs.forget(ids, engine.now))

    # -- workers ---------------------------------------------------------------------------------------------------

    async def _join(self) -> None:
        """The process comes back, or another one under its name; that one holds nothing, unless it lies."""
        client = self.rng.choice(self._clients)
        process = client.process + self._draw.chance(0.25)
        held = self._draw.presented(client) if process == client.process or self._draw.chance(0.3) else []
        joined = await self._same(
            f"join {client.name} {process} {held}", lambda engine: _join(engine, client.name, process, held)
        )
        if joined is None:
            return
        if process != client.process:
            client.held.clear()
        client.process, client.connected = process, True
        for token in joined.lost:
            client.held.pop(token, None)

    async def _part(self) -> None:
        client = self.rng.choice(self._clients)
        if not client.connected:
            return
        stale = self._draw.chance(0.1)
        self.trail.append(f"part {client.name} {'of an earlier process' if stale else ''}")
        for engine in self.engines:
            engine.part(client.name, client.process - stale)
        client.connected = stale

    async def _leave(self) -> None:
        client = self.rng.choice(self._clients)
        process = client.process + self._draw.chance(0.1)
        await self._same(f"leave {client.name} {process}", lambda engine: engine.leave(client.name, process))
        if process == client.process:
            client.connected = False
            client.held.clear()

    # -- time ------------------------------------------------------------------------------------------------------

    async def _due(self) -> None:
        limit = self.rng.choice((1, 2, 1000))
        await self._same(f"due {limit}", lambda engine: engine.verbs.due(engine.now, limit))

    async def _expire(self) -> None:
        limit = self.rng.choice((1, 2, 1000))
        expired = await self._same(f"expire {limit}", lambda engine: engine.expire_all(limit))
        for client in self._clients:
            client.connected = client.connected and client.name not in expired.lost_workers

    async def _pass_time(self) -> None:
        """Some seconds as they should be: a beat each second, and signs of life from most workers."""
        alive = [client for client in self._clients if client.connected and self._draw.chance(0.9)]
        for _ in range(self.rng.choice((1, 1, 3, 12))):
            await self._tick(1.0)
            for client in alive:
                for engine in self.engines:
                    engine.extend(client.name, client.process)
                    engine.extend(client.name, client.process + 1)

    async def _stall(self) -> None:
        """The broker stands still, and nobody can be heard."""
        await self._tick(self.rng.choice((2.5, 10.25, 70.0)))

    async def _tick(self, seconds: float) -> None:
        for engine in self.engines:
            engine.advance(seconds)
        await self._same(f"beat after {seconds}", _beat)

    async def _jump(self) -> None:
        """The wall clock is set forward."""
        wall = self.rng.choice((10.0, 70.0, 170.0))
        self.trail.append(f"wall clock {wall} s forward")
        for engine in self.engines:
            engine.advance(0, wall=wall)

    async def _restart(self) -> None:
        await self._same("restart", lambda engine: engine.restart(), lambda opened: opened[1:])
        for client in self._clients:
            client.connected = False
        await self._tick(self.rng.choice((0.125, 1.0)))


def _columns(answer: HandedOut) -> object:
    return [[leased[:-1] for leased in batches] for batches in answer.batches]


async def _join(engine: EngineUnderTest, name: str, process: int, held: Sequence[Held]) -> Joined | None:
    try:
        return await engine.verbs.join(name, instance(process), held, engine.now)
    except NameTaken:
        return None


async def _beat(engine: EngineUnderTest) -> float:
    return engine.verbs.beat(engine.now)


async def _workers(engine: EngineUnderTest) -> object:
    return engine.verbs.workers()


async def walk(kinds: Sequence[str], directory: Path, rng: Random, steps: int) -> None:
    """Walks over engines of these kinds, the first being what the others are compared with."""
    engines = [EngineUnderTest(kind, directory / kind, CONFIG) for kind in kinds]
    course = Walk(engines, rng)
    try:
        await course.run(steps)
    except AssertionError as problem:
        problem.add_note("\n".join(["the way there:", *course.trail[-30:]]))
        raise
    finally:
        for engine in engines:
            await engine.verbs.close()
