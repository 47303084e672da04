"""A virtual week of a broker's store: jobs of all sizes come, fail, are retried, end, and are dropped in their time."""

from __future__ import annotations

from collections import Counter
from itertools import count, cycle
from pathlib import Path
from random import Random
from typing import NamedTuple

from msgspec.structs import replace
from tests.acceptance.harness.footprint import Footprint, footprint
from tests.contracts.harness import FAILURE, EngineUnderTest, head_with, new_jobs
from tests.contracts.workflows import Workflow, submit

from tqbroker_broker.attempts import Progress, Verdict, Want
from tqbroker_broker.config import MIB, StorageConfig
from tqbroker_broker.firings import new_job
from tqbroker_broker.records import Head
from tqbroker_broker.rules import Traits, Unique, UniqueConflict, UniqueUntil
from tqbroker_broker.schedules import Fire, Schedule, ScheduleState
from tqbroker_broker.storage.lmdb.engine import LmdbEngine

DAY = 86_400
CONFIG = StorageConfig(
    map_size=1024 * MIB,
    lease_ttl=30.0,
    result_ttl=DAY / 4,
    dead_ttl=DAY / 2,
    dedup_window=DAY / 2,
    event_ttl=DAY / 2,
)
FOR_GOOD = frozenset({"meta", "counts", "names", "schedules", "workers"})
"""Tables that need not become empty: the store's own numbers, lanes without traits, what somebody has put."""

SIZES = (100, 100, 400, 400, 1500, 1500, 6000, 6000, 30_000, 300_000)
UNIQUE = Traits(unique=Unique(UniqueUntil.TIME, UniqueConflict.REJECT, 3_600_000))
PLAIN, KEYED = Head("tasks.add", "default", 0, "json"), Head("tasks.add", "default", 0, "json", traits=UNIQUE)


class Day(NamedTuple):
    """What was there at the end of a virtual day: bytes of the file, and what the process takes."""

    file: int
    taken: Footprint


class Churn:
    """One store with a worker that is always there. `step` is how many virtual seconds lie between two looks."""

    def __init__(self, folder: Path, random: Random, jobs: int, step: int, counts: Counter[str]) -> None:
        self.engine = EngineUnderTest("lmdb", folder, CONFIG)
        self.random = random
        self.jobs, self.step, self.counts = jobs, step, counts
        self._file = folder / "data" / "data.mdb"
        self._number = count()
        self._sizes = cycle(SIZES)  # in turn: how many large ones are kept at a time must not be a matter of chance
        self._state = ScheduleState(Schedule("tick", step * 1000, head=PLAIN, args=b"[[],{}]"), "operator", 1)

    async def begin(self) -> None:
        """Opens the store, with its worker and its schedule."""
        await self.engine.open()
        await self.engine.join()
        await self.engine.verbs.put_schedules([self._state], [], self.engine.now)

    async def day(self, pid: int) -> Day:
        """Lives through a day."""
        for _ in range(DAY // self.step):
            await self._submit()
            await self._fire()
            await self._work()
            await self._passes()
        self.counts["minutes"] += DAY // 60
        return Day(self._file.stat().st_size, footprint(pid))

    async def quiet(self) -> dict[str, int]:
        """Lives on until all is past its time, without new work; the rows that are left in each table."""
        for _ in range(20):
            await self._work()
            await self._passes(DAY // 4)
        engine = self.engine.verbs
        assert isinstance(engine, LmdbEngine)
        with engine._store.env.begin() as txn:
            found = {name: txn.stat(db)["entries"] for name, db in engine._store.db.items()}
        return {name: rows for name, rows in found.items() if rows}

    # -- what happens ------------------------------------------------------------------------------------------------

    def _some(self) -> bytes:
        return self.random.randbytes(next(self._sizes))

    async def _submit(self) -> None:
        names = [f"job {next(self._number)}" for _ in range(self.jobs)]
        batches = []
        for name in names:
            head = head_with(tenant=name, ordering_key=name) if self.random.random() < 0.2 else PLAIN
            due_ms = self.engine.later(self.random.randrange(DAY // 8)) if self.random.random() < 0.2 else 0
            expires_ms = self.engine.later(60) if self.random.random() < 0.1 else 0
            batch = new_jobs([name], head, due_ms=due_ms, expires_ms=expires_ms)
            batches.append(batch._replace(args=[self._some()]))
        batches.append(new_jobs([f"{names[0]} unique"], KEYED)._replace(unique=[names[0].encode()[-16:].rjust(16)]))
        await self.engine.verbs.enqueue(batches, self.engine.now)
        chain = Workflow(names[0][-16:]).chain(f"{names[0]} first", f"{names[0]} second")
        await submit(self.engine, chain)
        await self.engine.cancel(names[-1])
        self.counts["jobs"] += len(names) + 3

    async def _fire(self) -> None:
        planned_ms = self.engine.now.wall_ms
        jobs = new_job(self._state, planned_ms, planned_ms)
        next_ms = planned_ms + self.step * 1000
        fire = Fire("tick", self._state.born_ms, (planned_ms,), [jobs], 0, planned_ms, next_ms)
        await self.engine.verbs.fire([fire], self.engine.now)
        self._state = replace(self._state, last_ms=planned_ms, next_ms=next_ms)
        self.counts["jobs"] += 1

    async def _work(self) -> None:
        """What is ready runs: most succeed, some say something first, some are retried, some fail."""
        want = Want("w", ("default",), frozenset({"tasks.add"}), 1000, 1000)
        while tokens := [token for batch in await self.engine.lease(want) for token in batch.tokens]:
            for token in tokens:
                await self._end(token)

    async def _end(self, token: int) -> None:
        kind = self.random.random()
        if kind < 0.2:
            progress = Progress("PROGRESS", self._some()[:1000], "json")
            await self.engine.annotate("w", token, progress=progress, checkpoint=self._some()[:10_000])
        if kind < 0.15:
            await self.engine.end("w", token, Verdict.RETRY, retry_in=600, failure=FAILURE)
        elif kind > 0.95:
            await self.engine.end("w", token, Verdict.FAILED, failure=FAILURE)
        else:
            await self.engine.succeed("w", [token], result=self._some())

    async def _passes(self, seconds: int = 0) -> None:
        """Time goes by, and upkeep is done as often as it asks for."""
        self.engine.advance(seconds or self.step)
        self.engine.extend()
        while (await self.engine.verbs.due(self.engine.now, 1000)).more:
            pass
        await self.engine.expire_all(1000)
