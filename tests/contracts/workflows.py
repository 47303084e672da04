"""Workflows in short words: jobs by their names, what waits for what, and the verbs that go with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b

from tests.contracts.harness import HEAD, EngineUnderTest, new_jobs

from tqbroker_broker.attempts import Extra, Failure, Held, Place, Verdict, Want
from tqbroker_broker.records import Head, JobId, State, key_text, text_key
from tqbroker_broker.workflows import NewJoin, NewNodes, On, Part, PartAnswer, Shape


def workflow_id(name: str) -> bytes:
    """16 bytes for a name: ids of workflows and of groups."""
    return name.encode().ljust(16, b".")


class Workflow:
    """A workflow on its way in: jobs are added in their order, then what waits for them."""

    def __init__(self, name: str = "workflow") -> None:
        self.id = workflow_id(name)
        self.nodes: list[NewNodes] = []
        self.joins: list[NewJoin] = []

    def add(
        self,
        *names: str,
        after: int = 0,
        silent: bool = False,
        head: Head = HEAD,
        countdown: float = 0,
        expires_in: float = 0,
        due_ms: int = 0,
        expires_ms: int = 0,
        keys: Iterable[str] = (),
        takes_over: bool = False,
        beside: bool = False,
    ) -> Workflow:
        """Jobs with their names as arguments, one node each. Durations are seconds."""
        unique = [key.encode().ljust(16) for key in keys]
        for index, name in enumerate(names):
            jobs = new_jobs([name], head, due_ms=due_ms, expires_ms=expires_ms)._replace(
                unique=unique[index : index + 1]
            )
            times = int(countdown * 1000), int(expires_in * 1000)
            self.nodes.append(NewNodes(jobs, after, silent, (), *times, takes_over=takes_over, beside=beside))
        return self

    def join(self, *names: str, on: On = On.SUCCESS, shape: Shape = Shape.VALUE, group: str = "") -> int:
        """What waits for these jobs, by its number."""
        number = len(self.joins) + 1
        self.joins.append(NewJoin(number, on, shape, workflow_id(group) if group else b""))
        for index, nodes in enumerate(self.nodes):
            if key_text(nodes.jobs.ids[0]) in names:
                self.nodes[index] = nodes._replace(member_of=(*nodes.member_of, number))
        return number

    def list_of(self, *names: str, group: str = "") -> int:
        """What is handed a list of what these return."""
        return self.join(*names, shape=Shape.LIST, group=group)

    def failure_of(self, *names: str) -> int:
        """What waits for one of these to fail."""
        return self.join(*names, on=On.FAILURE)

    def chain(self, *names: str) -> Workflow:
        """Each job waits for the one before it."""
        after = 0
        for name in names:
            self.add(name, after=after)
            after = self.join(name) if name != names[-1] else 0
        return self

    def chord(self, *members: str, body: str) -> Workflow:
        """One job waits for all others."""
        self.add(*members)
        return self.add(body, after=self.list_of(*members, group="group"))

    def part(self, *, held: bool = False, beside: Held | None = None) -> Part:
        """All of it."""
        return self.parts([len(self.nodes)], held=held, beside=beside)[0]

    def parts(self, counts: Sequence[int], *, held: bool = False, beside: Held | None = None) -> list[Part]:
        """Parts with so many nodes; all joins come with the first."""
        parts: list[Part] = []
        first = 0
        for number, count in enumerate(counts):
            nodes, joins = self.nodes[first : first + count], [] if number else self.joins
            digest = blake2b(repr((joins, nodes)).encode(), digest_size=16).digest()
            last = number == len(counts) - 1
            parts.append(Part(self.id, number, last, digest, "a workflow", joins, nodes, held, beside))
            first += count
        return parts


async def submit(engine: EngineUnderTest, workflow: Workflow) -> PartAnswer:
    return await engine.verbs.submit(workflow.part(), engine.now)


async def states(engine: EngineUnderTest, *names: str) -> list[State]:
    return [(await engine.job(name)).state for name in names]


async def take(engine: EngineUnderTest) -> list[str]:
    """What worker "w" is handed now, by name."""
    return list(await take_tokens(engine))


async def take_tokens(engine: EngineUnderTest) -> dict[str, int]:
    if not any(worker.connected for worker in engine.verbs.workers()):
        await engine.join()
    return await engine.take()


async def start(engine: EngineUnderTest, name: str) -> int:
    """Runs a job, the only one that is ready. Returns its token."""
    tokens = await take_tokens(engine)
    assert list(tokens) == [name]
    return tokens[name]


async def run(engine: EngineUnderTest, *names: str, result: bytes = b"8") -> list[str]:
    """Runs these jobs, which must be the next ones, to success. Returns what became final, by name."""
    tokens = await take_tokens(engine)
    assert list(tokens) == list(names)
    return finals((await engine.succeed("w", tokens.values(), result=result)).final)


async def fail(engine: EngineUnderTest, name: str, failure: Failure | None = None) -> list[str]:
    """Runs a job, the only one that is ready, to failure. Returns what became final, by name."""
    tokens = await take_tokens(engine)
    assert list(tokens) == [name]
    return finals((await engine.end("w", tokens[name], Verdict.FAILED, failure=failure)).final)


async def places(engine: EngineUnderTest) -> dict[str, Place | None]:
    """What worker "w" is handed now, with the places."""
    if not any(worker.connected for worker in engine.verbs.workers()):
        await engine.join()
    return {name: extra.place for name, extra in (await extras(engine)).items()}


async def extras(engine: EngineUnderTest) -> dict[str, Extra]:
    want = Want("w", ("default",), frozenset({"tasks.add", "tasks.slow"}), 100, 100)
    return {
        key_text(job): batch.extras.get(index, Extra())
        for batch in await engine.lease(want)
        for index, job in enumerate(batch.ids)
    }


def finals(ids: Iterable[JobId]) -> list[str]:
    return [key_text(job) for job in ids]


def ids(*names: str) -> list[JobId]:
    return [text_key(name) for name in names]
