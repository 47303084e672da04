"""What all steps of a walk share: the engines, what was drawn and seen, and the comparison of answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from random import Random
from typing import TypeVar

from tests.contracts.draws import Client, Draws
from tests.contracts.draws_of_workflows import Workflows
from tests.contracts.harness import EngineUnderTest
from tests.contracts.witness import Witness

from tqbroker_broker.questions import EventKind, Filter
from tqbroker_broker.records import JobId, State, Time
from tqbroker_broker.workflows import JoinInfo, Node, WorkflowInfo, WorkflowState

T = TypeVar("T")
Step = Callable[[], Awaitable[None]]

NAMES = ("u", "v", "w")
PAGE = 7
EVERYTHING = Filter()
FILTERS = (
    EVERYTHING,
    *(Filter(states=frozenset({state})) for state in State),
    Filter(states=frozenset({State.SUCCEEDED, State.FAILED})),
    Filter(states=frozenset({State.QUEUED, State.SCHEDULED}), queue="mail"),
    Filter(task="slow", worker="v"),
    Filter(error="ValueError"),
    Filter(stamps=("run=1",)),
)


class Course:
    """The engines on their way. `trail` says what was done, the last step last."""

    def __init__(self, engines: Sequence[EngineUnderTest], rng: Random) -> None:
        self.engines = engines
        self.rng = rng
        self.trail: list[str] = []
        self.draw = Draws(rng)
        self.workflows = Workflows(self.draw)
        self.has_workflows = rng.random() < 0.75
        self.witness = Witness()
        self.clients = [Client(name) for name in NAMES]

    @property
    def now(self) -> Time:
        return self.engines[0].now

    def holder(self) -> Client:
        """Mostly a worker that holds something."""
        return self.draw.mostly([client for client in self.clients if client.held], self.clients)

    async def same(
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

    async def expire(self, limit: int) -> None:
        """Ends what time has ended; workers that were given up are not connected any more."""
        limit = 1000 if self.has_workflows else limit  # what ends first, of jobs that wait for each other, matters
        expired = await self.same(f"expire {limit}", lambda engine: engine.expire_all(limit))
        for client in self.clients:
            client.connected = client.connected and client.name not in expired.lost_workers

    async def look(self, *, closely: bool) -> None:
        """The witness looks at every job; when looking closely the engines are compared in everything."""
        left = [engine.verbs.recovery_left(engine.now) for engine in self.engines]
        assert len(set(left)) == 1, f"the engines wait {left} seconds for workers"
        ids = list(self.draw.digests)
        if closely:
            await self._compare(ids)
        first = self.engines[0].verbs
        self.witness.look(await first.get(ids), (await first.stats()).queues)

    async def look_back(self) -> None:
        """At the end: what lists and the log of events tell."""
        for wanted in FILTERS:
            await self.same(f"scan {wanted}", lambda engine, wanted=wanted: _scan(engine, wanted))  # type: ignore[misc]
        await self.same("events", _told)

    async def _compare(self, ids: Sequence[JobId]) -> None:
        await self.same("workers", _workers)
        await self.same("marks", _marks)
        await self.same("rules", _rules)
        await self.same("stats", lambda engine: engine.verbs.stats(), lambda stats: stats.queues)
        for job in ids:
            await self._same_job(job)
        if self.workflows.ids:
            await self._compare_workflows()

    async def _compare_workflows(self) -> None:
        """How workflows do, what they are made of, and groups."""
        for states in (frozenset[WorkflowState](), *(frozenset({state}) for state in WorkflowState)):
            await self.same(f"workflows {states}", lambda engine, states=states: _workflows(engine, states))  # type: ignore[misc]
        for workflow in self.workflows.ids:
            await self.same(f"nodes {workflow!r}", lambda engine, it=workflow: _nodes(engine, it))  # type: ignore[misc]
        for group in self.workflows.groups:
            await self.same(f"group {group!r}", lambda engine, it=group: engine.verbs.group(it, 0, 1000))  # type: ignore[misc]
        del self.trail[-2 * (len(WorkflowState) + 1 + len(self.workflows.ids) + len(self.workflows.groups)) :]

    async def _same_job(self, job: JobId) -> None:
        await self.same(
            f"get {job!r}",
            lambda engine: engine.verbs.get([job], with_args=True, with_attempts=True, with_children=True),
            lambda jobs: [replace(each, attempts=list(each.attempts), children=list(each.children)) for each in jobs],
        )
        del self.trail[-2:]


async def _workers(engine: EngineUnderTest) -> object:
    return engine.verbs.workers()


async def _marks(engine: EngineUnderTest) -> object:
    return {row.name: engine.verbs.marks(row.name) for row in engine.verbs.workers()}


async def _rules(engine: EngineUnderTest) -> object:
    return sorted(engine.verbs.queue_rules().items(), key=lambda rule: rule[0]), engine.verbs.limits()


async def _scan(engine: EngineUnderTest, wanted: Filter) -> list[JobId]:
    """Every job that matches, in the order of the pages."""
    found: list[JobId] = []
    cursor = b""
    while True:
        page = await engine.verbs.scan(wanted, cursor, PAGE)
        found += [job.id for job in page.jobs]
        cursor = page.cursor
        if not cursor:
            return found


async def _workflows(engine: EngineUnderTest, states: frozenset[WorkflowState]) -> list[WorkflowInfo]:
    """Every workflow in these states, in the order of the pages."""
    found: list[WorkflowInfo] = []
    cursor = b""
    while True:
        page = await engine.verbs.workflows(states, cursor, PAGE)
        found += page.workflows
        cursor = page.cursor
        if not cursor:
            return found


async def _nodes(engine: EngineUnderTest, workflow: bytes) -> object:
    """Every page of a workflow as one."""
    nodes: list[Node] = []
    joins: dict[int, JoinInfo] = {}
    cursor = b""
    while True:
        page = await engine.verbs.nodes(workflow, cursor, PAGE)
        if page is None:
            return None
        nodes += page.nodes
        joins.update((join.join.number, join) for join in page.joins)
        cursor = page.cursor
        if not cursor:
            return page.workflow, nodes, joins


async def _told(engine: EngineUnderTest) -> dict[JobId, list[tuple[EventKind, str]]]:
    """The story of each job by the log, without its starts: they may come late, or be lost with a restart."""
    stories: dict[JobId, list[tuple[EventKind, str]]] = {}
    cursor = 0
    while True:
        page = await engine.verbs.events(cursor, 100)
        for events in page.events:
            assert events.first == cursor + 1, f"after event {cursor} comes {events.first}"
            cursor = events.last
            for job in events.ids:
                if events.kind is not EventKind.STARTED:
                    stories.setdefault(job, []).append((events.kind, events.worker))
        assert page.cursor == cursor
        if not page.events:
            return stories
