"""A core over the memory engine with a clock that only tests move, and workers without a wire."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tqbroker_broker.answers import Enqueued
from tqbroker_broker.attempts import Ending, Failure, Held, Successes, Verdict
from tqbroker_broker.config import BrokerConfig
from tqbroker_broker.core import Core
from tqbroker_broker.records import Head, JobId, NewJobs, Time
from tqbroker_broker.rules import PLAIN, LimitRule, Traits
from tqbroker_broker.sessions import Hello, Session
from tqbroker_broker.storage import Fenced
from tqbroker_broker.storage.memory import MemoryEngine, MemoryStore
from tqbroker_broker.waiters import Watcher

TASK = "tasks.add"


class ManualClock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.wall_ms = 1_800_000_000_000
        self.mono = 1000.0

    def now(self) -> Time:
        return Time(self.wall_ms, self.mono)

    def advance(self, seconds: float) -> None:
        self.wall_ms += round(seconds * 1000)
        self.mono += seconds


class FakeWorker:
    """What a worker stream does, by direct calls."""

    def __init__(self, core: Core, hello: Hello) -> None:
        self.core = core
        self.hello = hello
        self.wakes = 0
        self.session: Session
        self.lost: list[int] = []

    async def attach(self, held: Iterable[Held] = (), store: bytes = b"") -> FakeWorker:
        hello = self.hello._replace(held=list(held), store=store)
        self.session, self.lost, _ = await self.core.workers.attach(hello, self._woken)
        return self

    def _woken(self) -> None:
        self.wakes += 1

    async def credit(self, slots: int, window: int = 0, fast: Iterable[str] = ()) -> FakeWorker:
        self.core.workers.credit(self.session, slots, window, frozenset(fast))
        await self.core.workers.dispatch()
        return self

    def take(self) -> list[tuple[JobId, int]]:
        """Everything in the outbox as (id, token)."""
        pairs: list[tuple[JobId, int]] = []
        while self.session.outbox:
            leased = self.session.outbox.popleft()
            pairs += zip(leased.ids, leased.tokens, strict=True)
        self.session.unsent = 0
        return pairs

    async def succeed(self, *tokens: int, resent: list[JobId] | None = None) -> list[int]:
        count = len(tokens)
        columns = Successes(list(tokens), [b"1"] * count, "json", [1] * count, [1] * count, resent)
        return await self.core.outcomes.finish(self.session, [columns], [])

    async def end(self, token: int, verdict: Verdict, retry_in_ms: int = 0) -> list[int]:
        ending = Ending(token, verdict, Failure("ValueError", "builtins", "no"), retry_in_ms)
        return await self.core.outcomes.finish(self.session, [], [ending])


class Bench:
    """One core and everything to drive it."""

    def __init__(self, store: MemoryStore | None = None, **settings: float) -> None:
        self.clock = ManualClock()
        self.config = BrokerConfig(**settings)  # type: ignore[arg-type]
        self.engine = MemoryEngine("", self.config, store=store)
        self.failures: list[Fenced] = []
        self.core = Core(self.engine, self.clock, self.config, self.failures.append)
        self._made = 0

    async def open(self) -> Bench:
        await self.core.open()
        return self

    async def enqueue(
        self,
        count: int,
        task: str = TASK,
        queue: str = "default",
        due_in_ms: int = 0,
        args: bytes = b"[]",
        traits: Traits = PLAIN,
    ) -> list[JobId]:
        """Submits jobs and returns their ids."""
        ids = [self._id() for _ in range(count)]
        await self.submit(ids, task, queue, due_in_ms, args, traits)
        return ids

    async def submit(
        self,
        ids: list[JobId],
        task: str = TASK,
        queue: str = "default",
        due_in_ms: int = 0,
        args: bytes = b"[]",
        traits: Traits = PLAIN,
    ) -> list[Enqueued]:
        now = self.clock.now()
        due_ms = now.wall_ms + due_in_ms if due_in_ms else 0
        head = Head(task, queue, 0, "json", traits=traits)
        unique = [b"u" * 16] * len(ids) if traits.unique else ()
        batch = NewJobs(head, ids, [args] * len(ids), [b"d" * 16] * len(ids), due_ms, 0, unique)
        return await self.core.enqueue([batch], len(args) * len(ids), now)

    async def submit_new(self) -> list[JobId]:
        """One job under an id that no other bench over the same store uses."""
        ids = [b"new job, new id!"]
        await self.submit(ids)
        return ids

    def _id(self) -> JobId:
        self._made += 1
        return self._made.to_bytes(16, "big")

    def worker(
        self,
        name: str = "w1",
        tasks: Iterable[str] = (TASK,),
        queues: tuple[str, ...] = ("default",),
        instance: int = 1,
        labels: Iterable[str] = (),
        limits: Sequence[LimitRule] = (),
    ) -> FakeWorker:
        who = name, bytes([instance]) * 16, queues, frozenset(tasks)
        return FakeWorker(self.core, Hello(*who, slots=1, labels=frozenset(labels), limits=limits))

    async def pass_time(self, seconds: float, step: float = 0.5) -> None:
        """Lets time pass with ticks, as timers would."""
        left = seconds
        while left > 0:
            self.clock.advance(min(step, left))
            left -= step
            await self.core.tick()

    def watch(self, *ids: JobId) -> Watcher:
        watcher = Watcher(lambda: None)
        self.core.watch(watcher, ids)
        watcher.pending.clear()
        return watcher
