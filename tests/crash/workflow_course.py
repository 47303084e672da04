"""A broker's store and a worker that go through one workflow while both are killed at seeded moments.

The store is the real one in LMDB. It is killed before or after any commit by a failpoint: what was written is lost, or
is there and nobody was told. The worker keeps what it holds and tells again what was not acknowledged; when it is
killed, its leases are lost and it comes back as another process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import TypeVar

from tests.contracts import harness
from tests.contracts.harness import FAILURE, EngineUnderTest, instance
from tests.crash.workflow_graphs import Graph, Ran, draw, judge, parts, replacement, result_of
from tests.proof.amount import amount
from tests.proof.stores import faults_of_open

from tqbroker import _failpoint
from tqbroker_broker.answers import Job
from tqbroker_broker.attempts import Ending, Held, Leased, Refusal, Successes, Verdict, Want
from tqbroker_broker.lifecycle import FINAL
from tqbroker_broker.records import JobId, State
from tqbroker_broker.storage import StorageError
from tqbroker_broker.workflows import Part, PartEffect

T = TypeVar("T")

CONFIG = replace(harness.CONFIG, max_lost_leases=1_000_000, upload_ttl=600.0)
"""A job is never given up: here the worker dies as often as others blink."""

LOOK_EVERY = amount(20, 3)
"""Kills after which the whole store is looked at: that takes as long as some hundred steps."""

STEPS = 3000
"""More than any course takes: one that takes more does not come to an end."""

WANT = Want("w", ("default",), frozenset({"tasks.add"}), 4, 4)


class KilledError(Exception):
    """The store was killed in the middle of a verb."""


class Course:
    """One workflow from its submit to its end. `runs` are the runs of each body, `lost` the leases lost of each job."""

    def __init__(self, seed: int, directory: Path) -> None:
        self.rng = Random(seed)
        self.graph: Graph = draw(self.rng, f"seed {seed}")
        self.engine = EngineUnderTest("lmdb", directory, CONFIG)
        self.runs: dict[JobId, list[Ran]] = {}
        self.lost: Counter[JobId] = Counter()
        self.kills = 0
        self.faults: list[str] = []
        """What `verify` says of the store after some of the kills, and when all has ended."""
        self._process = 1
        self._held: dict[int, JobId] = {}
        self._untold: dict[int, tuple[list[Successes], list[Ending]]] = {}
        self._seen: Counter[tuple[JobId, bytes]] = Counter()
        self._unsent = parts(self.graph, self.rng)

    async def run(self) -> list[str]:
        """Goes on until every job has ended. Returns what is wrong then."""
        await self.engine.open()
        await self._join()
        for _ in range(STEPS):
            self._arm()
            try:
                if await self._step():
                    break
            except KilledError:
                await self._restart()
        _failpoint.arm({})
        self._look()
        faults = await self._verdict()
        await self.engine.verbs.close()
        return self.faults + faults

    # -- the store -----------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        """One verb in eight finds its end at its commit."""
        place = self.rng.choice(("before_commit", "after_commit")) if self.rng.random() < 0.12 else ""
        _failpoint.arm({"TQ_TESTING": "1", "TQ_FAILPOINT": f"{place}=raise"} if place else {})

    async def _do(self, verb: Awaitable[T]) -> T:
        try:
            return await verb
        except StorageError as error:
            raise KilledError from error

    async def _restart(self) -> None:
        self.kills += 1
        _failpoint.arm({})
        self.engine.advance(self.rng.choice((0.1, 2.0)))
        await self.engine.restart()
        if self.kills % LOOK_EVERY == 0:
            self._look()
        await self._join()

    def _look(self) -> None:
        self.faults += faults_of_open(self.engine.directory / "data")

    # -- one step ------------------------------------------------------------------------------------------------------

    async def _step(self) -> bool:
        """Something that may happen next. Returns whether nothing is left to happen."""
        if self._unsent and self.rng.random() < 0.5:
            await self._send(self._unsent[0])
            del self._unsent[0]
            return False
        action = self.rng.random()
        if action < 0.45:
            await self._lease()
        elif action < 0.85:
            await self._tell()
        elif action < 0.92:
            await self._die()
        else:
            await self._wait()
        return not self._unsent and not self._held and not self._untold and await self._ended()

    async def _send(self, part: Part) -> None:
        answer = await self._do(self.engine.verbs.submit(part, self.engine.now))
        assert answer.effect in (PartEffect.STORED, PartEffect.DUPLICATE), answer

    async def _lease(self) -> None:
        handed = await self._do(self.engine.hand_out([WANT]))
        for batch in handed.batches[0]:
            for index, (job, token) in enumerate(zip(batch.ids, batch.tokens, strict=True)):
                self._held[token] = job
                await self._body(job, token, batch, index)

    async def _body(self, job: JobId, token: int, batch: Leased, index: int) -> None:
        """Runs a job: what it is handed is noted, what it says of itself waits to be told."""
        args, extra = batch.args[index], batch.extras.get(index)
        place = extra.place if extra is not None else None
        assert place is not None, "a job of a workflow has its place"
        values = list(place.inputs.values) if place.inputs is not None else None
        self.runs.setdefault(job, []).append(Ran(args, values, place.cause.id if place.cause is not None else b""))
        self._seen[job, args] += 1
        fates = {node.id: node.fate for node in self.graph.nodes}
        fate = fates.get(job, "ok") if args == job and self._seen[job, args] == 1 else "ok"
        if args == job and fates.get(job) == "fail":
            fate = "fail"
        self._untold[token] = self._outcome(job, token, fate)

    def _outcome(self, job: JobId, token: int, fate: str) -> tuple[list[Successes], list[Ending]]:
        now_ms = self.engine.now.wall_ms
        if fate == "ok":
            return [Successes([token], [result_of(job)], "json", [now_ms], [1], [job])], []
        verdict = {
            "fail": Verdict.FAILED,
            "retry": Verdict.RETRY,
            "put back": Verdict.REQUEUED,
            "replace": Verdict.REPLACED,
        }[fate]
        workflow = replacement(job).workflow if fate == "replace" else b""
        delay_ms = self.rng.choice((0, 1000))
        failure = FAILURE if fate == "fail" else None
        return [], [Ending(token, verdict, failure, delay_ms, now_ms, 1, job, workflow=workflow)]

    async def _tell(self) -> None:
        """Tells what became of one attempt, until it is acknowledged."""
        if not self._untold:
            return
        token = self.rng.choice(list(self._untold))
        successes, endings = self._untold[token]
        if endings and endings[0].workflow:
            await self._send(replacement(self._held[token]))
        answer = await self._do(self.engine.verbs.finish("w", successes, endings, self.engine.now))
        assert answer.refused.get(token) in (None, Refusal.ALREADY, Refusal.STALE), answer
        del self._untold[token], self._held[token]

    async def _die(self) -> None:
        """The worker's process is killed with all it holds, and another one comes."""
        self._process += 1
        self.lost.update(self._held.values())
        self._held.clear()
        self._untold.clear()
        await self._join()

    async def _join(self) -> None:
        while True:
            held = [Held(job, token) for token, job in self._held.items()]
            self.engine.part("w", self._process)
            self.engine.part("w", self._process - 1)
            try:
                verb = self.engine.verbs.join("w", instance(self._process), held, self.engine.now)
                joined = await self._do(verb)
            except KilledError:
                _failpoint.arm({})
                await self.engine.restart()
                continue
            for token in joined.lost:  # an outcome that was stored, and the answer lost
                self._held.pop(token, None)
                self._untold.pop(token, None)
            return

    async def _wait(self) -> None:
        self.engine.advance(1.0)
        self.engine.extend("w", self._process)
        await self._do(self.engine.verbs.due(self.engine.now, 100))
        await self._do(self.engine.verbs.expire(self.engine.now, 100))

    # -- the end -------------------------------------------------------------------------------------------------------

    async def _jobs(self) -> dict[JobId, Job]:
        ids = list(dict.fromkeys([node.id for node in self.graph.nodes] + list(self.runs)))
        return {job.id: job for job in await self.engine.verbs.get(ids)}

    async def _ended(self) -> bool:
        return all(job.state in FINAL for job in (await self._jobs()).values())

    async def _verdict(self) -> list[str]:
        ends = await self._jobs()
        faults = [f"{job.hex()} is {end.state.name}" for job, end in ends.items() if end.state not in FINAL]
        if faults:
            return faults
        faults = judge(self.graph, ends, self.runs) + self.strangers() + self._repeats()
        return faults + await self._left_behind(ends)

    def strangers(self) -> list[str]:
        """Bodies that ran under ids that nobody has sent: what follows others runs under the id it was sent with."""
        replaced = [replacement(node.id) for node in self.graph.nodes if node.fate == "replace"]
        sent = {node.id for node in self.graph.nodes}
        sent |= {job for part in replaced for each in part.nodes for job in each.jobs.ids}
        return [f"{job.hex()} ran and was never sent" for job in self.runs if job not in sent]

    def _repeats(self) -> list[str]:
        """A body runs once, and once more for each lease that was lost or given up."""
        again = {"retry": 1, "put back": 1, "replace": 1}
        fates = {node.id: node.fate for node in self.graph.nodes}
        return [
            f"{job.hex()} ran {len(runs)} times and lost {self.lost[job]} leases"
            for job, runs in self.runs.items()
            if len(runs) > 1 + self.lost[job] + again.get(fates.get(job, ""), 0)
        ]

    async def _left_behind(self, ends: dict[JobId, Job]) -> list[str]:
        """Nothing waits for what will not come, the tally is right, and in the end nothing is kept."""
        self.engine.advance(CONFIG.upload_ttl + 1)  # what was to take the place of a job, and its worker died
        await self.engine.expire_all(1000)
        faults = []
        counts = (await self.engine.verbs.stats()).queues["default"]
        if counts.queued or counts.running or counts.scheduled or counts.waiting:
            faults.append(f"something is left: {counts}")
        page = await self.engine.verbs.nodes(self.graph.id, b"", 1000)
        assert page is not None
        tally = page.workflow.tally
        succeeded = sum(end.state is State.SUCCEEDED for end in ends.values())
        if tally.left or tally.succeeded != succeeded or tally.total != len(page.nodes):
            faults.append(f"the tally is {tally}, and {succeeded} of {len(page.nodes)} succeeded")
        return faults + await self._kept()

    async def _kept(self) -> list[str]:
        """What is kept of a workflow goes as a whole when its time has come."""
        for _ in range(3):
            self.engine.advance(harness.DEAD_TTL + 1)
            await self.engine.expire_all(1000)
        kept = [job.id for job in (await self._jobs()).values() if job.state is not State.UNKNOWN]
        listed = (await self.engine.verbs.workflows(frozenset(), b"", 100)).workflows
        return [f"kept: {kept} of {listed}"] if kept or listed else []
