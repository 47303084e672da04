"""What a random walk says to an engine: mostly what a client or a worker would, sometimes what none should."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from random import Random
from typing import TypeVar

from tests.contracts.harness import FAILURE

from tqbroker_broker.attempts import Annotation, Ending, Held, Progress, Successes, Verdict, Want
from tqbroker_broker.questions import Change, Drop, Move, Redrive, Reschedule
from tqbroker_broker.records import Head, JobId, NewJobs, Time, text_key
from tqbroker_broker.rules import (
    PLAIN,
    LimitRule,
    Overflow,
    QueueRule,
    Traits,
    Unique,
    UniqueConflict,
    UniqueUntil,
)

T = TypeVar("T")

QUEUES = ("default", "mail")
TASKS = ("add", "slow", "rare")
KEYS = (b"a unique key ...", b"another key ....")
LIMITS = ("api", "user:*", "user:1", "task:slow", "queue:mail", "*")

LATELY = 20
"""Ids that are mostly used again."""


@dataclass(slots=True)
class Client:
    """A worker as the walk plays it: which process it is now, and which leases that process believes in."""

    name: str
    process: int = 1
    connected: bool = False
    held: dict[int, JobId] = field(default_factory=dict)


class Draws:
    """Draws arguments, and remembers ids that were used and leases that were granted (jobs by token)."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.digests: dict[JobId, bytes] = {}
        self.granted: dict[int, JobId] = {}
        self.replacements: list[bytes] = []
        self.tenants = rng.choice((("",), ("", "t", "u")))

    def chance(self, share: float) -> bool:
        """True in this share of all cases."""
        return self.rng.random() < share

    def mostly(self, some: Sequence[T], all_of_them: Sequence[T]) -> T:
        """Mostly one of some, if there are any."""
        return self.rng.choice(some if some and self.chance(0.9) else all_of_them)

    def some_of(self, tokens: Collection[int]) -> list[int]:
        """A few of these, if there are any."""
        return self.rng.sample(list(tokens), min(len(tokens), self.rng.randint(1, 4)))

    # -- jobs ------------------------------------------------------------------------------------------------------

    def new_id(self) -> JobId:
        number = len(self.digests)
        job = text_key(f"job {number}") if self.chance(0.5) else b"%016d" % number
        self.digests[job] = blake2b(job, digest_size=16).digest()
        return job

    def some_id(self) -> JobId:
        """Mostly one that was used lately: of the others most have ended."""
        ids = list(self.digests)
        return self.mostly(ids[-LATELY:], ids) if ids else self.new_id()

    def some_ids(self) -> list[JobId]:
        """Ids that were used, and sometimes one that was not."""
        return [self.some_id() for _ in range(self.rng.randint(1, 4))] + [b"nobody"] * self.chance(0.1)

    def batch(self, now: Time) -> NewJobs:
        """New jobs, now and then under an id that was used, sometimes with another body."""
        rng = self.rng
        head = self.head()
        ids = [self.some_id() if self.chance(0.15) else self.new_id() for _ in range(rng.randint(0, 3))]
        digests = [bytes(16) if self.chance(0.1) else self.digests[job] for job in ids]
        due_ms = rng.choice((0, 0, now.wall_ms - 1000, now.wall_ms + 2000, now.wall_ms + 20_000))
        expires_ms = self.expires_ms(now)
        keys = [rng.choice(KEYS) for _ in ids] if head.traits.unique else ()
        return NewJobs(head, ids, [job[-3:] for job in ids], digests, due_ms, expires_ms, keys)

    def expires_ms(self, now: Time) -> int:
        """Mostly never; hardly ever at the moment of another job, because who then ends first is left to the engine."""
        after_ms = self.rng.choice((0, 0, 0, 0, 3000, 30_000))
        return now.wall_ms + after_ms + self.rng.randint(0, 2000) if after_ms else 0

    def head(self) -> Head:
        rng = self.rng
        return Head(
            task=rng.choice(TASKS),
            queue=rng.choice(QUEUES),
            priority=rng.choice((0, 0, 5)),
            format="json",
            ignore_result=self.chance(0.2),
            result_ttl_ms=rng.choice((0, 0, 5000, 200_000)),
            traits=self.traits(),
        )

    def traits(self) -> Traits:
        """Mostly none; tenants only on some walks."""
        if self.chance(0.5):
            return PLAIN
        rng = self.rng
        return Traits(
            tenant=rng.choice(self.tenants),
            ordering_key=rng.choice(("", "", "k", "l")),
            limits=rng.choice(((), (), ("api",), ("api", "user:1"), ("user:2",))),
            requires=rng.choice(((), (), ("gpu",))),
            stamps=rng.choice(((), ("run=1",), ("run=1", "who=me"))),
            unique=self.unique() if self.chance(0.4) else None,
        )

    def unique(self) -> Unique:
        until, conflict = self.rng.choice(list(UniqueUntil)), self.rng.choice(list(UniqueConflict))
        return Unique(until, conflict, 20_000 if until is UniqueUntil.TIME else self.rng.choice((0, 0, 15_000)))

    # -- operators -------------------------------------------------------------------------------------------------

    def queue(self) -> str:
        return self.rng.choice(QUEUES)

    def change(self, now: Time) -> Change:
        """What an operator may want of some jobs."""
        rng = self.rng
        changes: list[Change] = [
            Redrive(rng.choice((None, b"edited")), rng.choice((0, 0, 2000)), rng.choice((0, 0, 3))),
            Reschedule(rng.choice((0, now.wall_ms - 1000, now.wall_ms + 1000, now.wall_ms + 15_000))),
            Move(rng.choice((None, *QUEUES)), rng.choice((None, 0, 5))),
            Drop(),
        ]
        return rng.choices(changes, (5, 2, 4, 1))[0]

    def queue_rule(self) -> QueueRule | None:
        """Mostly one that lets jobs through."""
        if self.chance(0.4):
            return self.rng.choice((None, QueueRule()))
        return QueueRule(
            paused=self.chance(0.2),
            max_length=self.rng.choice((0, 4, 10)),
            overflow=self.rng.choice(list(Overflow)),
            ttl_ms=self.rng.choice((0, 0, 15_000)),
            weights=self.rng.choice(({}, {"t": 2})),
        )

    def limit_rules(self) -> list[LimitRule]:
        names = self.rng.sample(LIMITS, self.rng.randint(0, 2))
        return [LimitRule(name, self.rng.choice((0, 1, 2, 3))) for name in names]

    def limit_names(self) -> list[str]:
        return self.rng.sample(LIMITS, self.rng.randint(0, 2))

    # -- workers ---------------------------------------------------------------------------------------------------

    def want(self, client: Client) -> Want:
        slots = self.rng.randint(0, 4)
        tasks = self.rng.sample(TASKS, self.rng.randint(1, 3))
        return Want(
            worker=client.name,
            queues=tuple(self.rng.sample(QUEUES, self.rng.randint(1, 2))),
            tasks=frozenset(tasks),
            slots=slots,
            window=slots + self.rng.randint(0, 3),
            fast=frozenset(tasks[: self.rng.randint(0, 2)]),
            max_bytes=self.rng.choice((1 << 20, 1 << 20, 5)),
            labels=self.rng.choice((frozenset(), frozenset({"gpu", "arm"}))),
        )

    def any_work(self, client: Client) -> Want:
        """Whatever there is."""
        return Want(client.name, QUEUES, frozenset(TASKS), 6, 6, labels=frozenset({"gpu"}))

    def presented(self, client: Client) -> list[Held]:
        """What a process says it holds: mostly the truth, sometimes less, sometimes what was never its own."""
        tokens = self.some_of(client.held) if self.chance(0.2) else list(client.held)
        if self.granted and self.chance(0.2):
            tokens.append(self.rng.choice(list(self.granted)))
        return [Held(self.granted[token], token) for token in tokens]

    def stray_tokens(self, clients: Sequence[Client]) -> list[int]:
        """Now and then a token that no worker believes in, and one that was never given."""
        stray = [token for token in self.granted if not any(token in client.held for client in clients)]
        if not stray or self.chance(0.85):
            return []
        token = self.rng.choice(stray)
        return [token, token + (7 << 40)]

    def successes(self, tokens: list[int], now: Time, *, with_ids: bool) -> Successes:
        ids = [self.granted.get(token, b"nobody") for token in tokens] if with_ids else None
        results = [b"result %d" % token for token in tokens]
        count = len(tokens)
        children = {index: self.some_ids() for index in range(count) if self.chance(0.1)}
        return Successes(tokens, results, "json", [now.wall_ms - 5] * count, [5000] * count, ids, children)

    def ending(self, token: int, now: Time, *, with_ids: bool) -> Ending:
        return Ending(
            token,
            self.rng.choice([verdict for verdict in Verdict if verdict is not Verdict.REPLACED or self.replacements]),
            self.rng.choice((None, FAILURE)),
            retry_in_ms=self.rng.choice((0, 0, 1500, 15_000)),
            started_ms=now.wall_ms - 5,
            runtime_us=5000,
            id=self.granted.get(token, b"nobody") if with_ids else None,
            args=self.rng.choice((None, None, b"other arguments")),
            workflow=self.mostly(self.replacements, [b"no such workflow"]),
            children=self.some_ids() if self.chance(0.1) else (),
        )

    def annotation(self, token: int, now: Time) -> Annotation:
        """Progress, a checkpoint, or both."""
        progress = Progress("LOADING", b"{}", "json", self.rng.randint(0, 9), 10.0, "on its way", now.wall_ms)
        return Annotation(
            token,
            self.rng.choice((None, progress)),
            self.rng.choice((None, b"", b"checkpoint %d" % token)),
            self.rng.choice(("json", "msgpack")),
        )
