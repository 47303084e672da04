"""An engine with data that outlives it and a clock moved by hand, and short words for the verbs.

Jobs are called by short names here; the engine sees `text_key(name)`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path

from tqbroker_broker.answers import CancelAnswer, Enqueued, Expired, Finished, Job, Joined, Mark, Opened
from tqbroker_broker.attempts import (
    Annotation,
    Ending,
    Failure,
    HandedOut,
    Held,
    Leased,
    PastAttempt,
    Progress,
    Refusal,
    Successes,
    Verdict,
    Want,
)
from tqbroker_broker.config import MIB, StorageConfig
from tqbroker_broker.records import Head, JobId, NewJobs, Time, key_text, text_key
from tqbroker_broker.rules import Traits
from tqbroker_broker.storage import Engine, create_engine
from tqbroker_broker.storage.lmdb.engine import LmdbEngine
from tqbroker_broker.storage.memory import MemoryEngine

ENGINES = ("memory", "lmdb")

TTL, GRACE = 30.0, 5.0
RESULT_TTL, DEAD_TTL, DEDUP_WINDOW = 3600.0, 5400.0, 7200.0
CONFIG = StorageConfig(
    map_size=256 * MIB,
    max_result_size=64 * 1024,
    lease_ttl=TTL,
    grace=GRACE,
    result_ttl=RESULT_TTL,
    dead_ttl=DEAD_TTL,
    max_attempts_kept=3,
    dedup_window=DEDUP_WINDOW,
)
HEAD = Head(task="tasks.add", queue="default", priority=0, format="json")
FAILURE = Failure("ValueError", "builtins", "no such thing", "Traceback ...", b"[]", "json")


def make_engine(kind: str, directory: Path, config: StorageConfig, before: Engine | None = None) -> Engine:
    """An engine of this kind, not opened yet, over the same data as the one `before`."""
    if isinstance(before, MemoryEngine):
        return MemoryEngine("", config, store=before.store)
    engine = create_engine(f"lmdb:{directory / 'data'}" if kind == "lmdb" else "memory:", config)
    if isinstance(engine, LmdbEngine):
        engine.stopwatch = lambda: 0.0
    return engine


class EngineUnderTest:
    """One engine, opened, restarted and closed; `now` stands still unless `advance` moves it."""

    def __init__(self, kind: str, directory: Path, config: StorageConfig = CONFIG) -> None:
        self.kind = kind
        self.directory = directory
        self.config = config
        self.now = Time(1_800_000_000_000, 1000.0)
        self.verbs: Engine = make_engine(kind, directory, config)

    async def open(self) -> Opened:
        return await self.verbs.open(self.now)

    async def restart(self) -> Opened:
        """Closes the engine and opens another one over the same data."""
        await self.verbs.close()
        self.verbs = make_engine(self.kind, self.directory, self.config, self.verbs)
        return await self.open()

    def advance(self, seconds: float, *, wall: float | None = None) -> None:
        """Moves both clocks, or the wall clock by another amount than the monotonic one."""
        wall_ms = int((seconds if wall is None else wall) * 1000)
        self.now = Time(self.now.wall_ms + wall_ms, self.now.mono + seconds)

    def later(self, seconds: float) -> int:
        """A wall-clock moment so many seconds from now, in milliseconds."""
        return self.now.wall_ms + int(seconds * 1000)

    # -- jobs ------------------------------------------------------------------------------------------------------

    async def put(
        self, *names: str, head: Head = HEAD, due_ms: int = 0, expires_ms: int = 0, keys: Iterable[str] = ()
    ) -> Enqueued:
        """Submits jobs with their names as arguments, and with these unique keys."""
        batch = new_jobs(names, head, due_ms=due_ms, expires_ms=expires_ms)
        batch = batch._replace(unique=[key.encode().ljust(16) for key in keys])
        return (await self.verbs.enqueue([batch], self.now))[0]

    async def hand_out(self, wants: Sequence[Want]) -> HandedOut:
        """What `lease` gives: nothing of what was not ready just before, by the engine's own word."""
        ready = [self.verbs.has_ready(want.queues, self.now) for want in wants]
        answer = await self.verbs.lease(wants, self.now)
        missed = [batches for batches, may in zip(answer.batches, ready, strict=True) if batches and not may]
        assert not missed, f"has_ready did not know of {missed}"
        assert any(ready) or not answer.again_in, "has_ready did not know of a rate that admits more later"
        return answer

    async def lease(self, want: Want) -> list[Leased]:
        return (await self.hand_out([want])).batches[0]

    async def take(
        self, worker: str = "w", slots: int = 100, queue: str = "default", labels: Iterable[str] = ()
    ) -> dict[str, int]:
        """Tokens of the jobs this worker gets, by name, in hand-out order."""
        tasks = frozenset({"tasks.add", "tasks.slow"})
        leased = await self.lease(Want(worker, (queue,), tasks, slots, slots, labels=frozenset(labels)))
        return {key_text(job): token for batch in leased for job, token in zip(batch.ids, batch.tokens, strict=True)}

    async def succeed(
        self, worker: str, tokens: Iterable[int], *, ids: Iterable[str] = (), result: bytes = b"8"
    ) -> Finished:
        """Sends successes, with ids when they are sent again."""
        columns = list(tokens)
        known = [text_key(name) for name in ids] or None
        count = len(columns)
        successes = Successes(columns, [result] * count, "json", [self.now.wall_ms] * count, [1000] * count, known)
        return await self.verbs.finish(worker, [successes], [], self.now)

    async def end(
        self,
        worker: str,
        token: int,
        verdict: Verdict,
        *,
        retry_in: float = 0,
        failure: Failure | None = None,
        name: str = "",
        args: bytes | None = None,
        workflow: bytes = b"",
        children: Sequence[str] = (),
    ) -> Finished:
        """Sends one outcome other than success, with the job's name when it is sent again."""
        job = text_key(name) if name else None
        ending = Ending(token, verdict, failure, int(retry_in * 1000), self.now.wall_ms, 1000, job, args)
        ending = ending._replace(workflow=workflow, children=[text_key(child) for child in children])
        return await self.verbs.finish(worker, [], [ending], self.now)

    async def annotate(
        self, worker: str, token: int, *, progress: Progress | None = None, checkpoint: bytes | None = None
    ) -> dict[int, Refusal]:
        """Says something of a running attempt."""
        annotation = Annotation(token, progress, checkpoint, "json" if checkpoint is not None else "")
        return await self.verbs.annotate(worker, [annotation], self.now)

    async def again_in(self, worker: str = "w", slots: int = 1) -> float:
        """What a hand-out to this worker says of rates that are in the way."""
        want = Want(worker, ("default",), frozenset({"tasks.add", "tasks.slow"}), slots, slots)
        return (await self.hand_out([want])).again_in

    async def cancel(self, *names: str, terminate: bool = False) -> CancelAnswer:
        ids = [text_key(name) for name in names]
        if terminate:
            return await self.verbs.cancel(ids, self.now, terminate=True)
        return await self.verbs.cancel(ids, self.now)

    async def forget(self, *names: str) -> int:
        return await self.verbs.forget([text_key(name) for name in names], self.now)

    async def job(self, name: str) -> Job:
        return (await self.verbs.get([text_key(name)], with_args=True))[0]

    async def history(self, name: str) -> list[PastAttempt]:
        return list((await self.verbs.get([text_key(name)], with_attempts=True))[0].attempts)

    async def expire_all(self, limit: int) -> Expired:
        """Slices of `expire` until one says that nothing is left, as one answer in an order of its own.

        Which jobs a slice takes is the engine's affair, and `more` may be wrong when a slice ended with the last one.
        """
        slices = [await self.verbs.expire(self.now, limit)]
        while slices[-1].more:
            slices.append(await self.verbs.expire(self.now, limit))
        return Expired(
            sorted(job for each in slices for job in each.final),
            frozenset(queue for each in slices for queue in each.woken),
            sorted(worker for each in slices for worker in each.lost_workers),
            more=False,
        )

    # -- workers ---------------------------------------------------------------------------------------------------

    async def join(self, worker: str = "w", held: Mapping[str, int] | None = None, process: int = 1) -> Joined:
        """Joins as the worker's process of this number, holding these tokens by job name."""
        pairs = [Held(text_key(name), token) for name, token in (held or {}).items()]
        return await self.verbs.join(worker, instance(process), pairs, self.now)

    def part(self, worker: str = "w", process: int = 1) -> None:
        self.verbs.part(worker, instance(process), self.now)

    async def leave(self, worker: str = "w", process: int = 1) -> frozenset[str]:
        return await self.verbs.leave(worker, instance(process), self.now)

    def spare(self, worker: str = "w", process: int = 1) -> None:
        self.verbs.spare(worker, instance(process), self.now)

    def marks(self, worker: str = "w") -> dict[int, Mark]:
        return self.verbs.marks(worker)

    def extend(self, worker: str = "w", process: int = 1) -> None:
        self.verbs.extend(worker, instance(process), self.now)


def instance(process: int) -> bytes:
    """The instance id of a worker's process of this number."""
    return process.to_bytes(16, "big")


def head_with(
    *,
    task: str = "tasks.add",
    queue: str = "default",
    priority: int = 0,
    tenant: str = "",
    ordering_key: str = "",
    limits: Sequence[str] = (),
    requires: Sequence[str] = (),
) -> Head:
    """What jobs share, with the traits that are given."""
    traits = Traits(tenant, ordering_key, tuple(limits), tuple(requires))
    return Head(task, queue, priority, "json", traits=traits)


def new_jobs(names: Iterable[str], head: Head = HEAD, *, due_ms: int = 0, expires_ms: int = 0) -> NewJobs:
    """A batch of jobs with their names as arguments."""
    ids: list[JobId] = [text_key(name) for name in names]
    digests = [blake2b(job, digest_size=16).digest() for job in ids]
    return NewJobs(head, ids, [key_text(job).encode() for job in ids], digests, due_ms, expires_ms)
