"""Steps of a walk: workers come, break away, come back, and leave."""

from __future__ import annotations

from collections.abc import Sequence

from tests.contracts.course import Course, Step
from tests.contracts.draws import Client
from tests.contracts.harness import EngineUnderTest, instance

from tqbroker_broker.answers import Joined
from tqbroker_broker.attempts import Held
from tqbroker_broker.storage import NameTaken


class WorkerSteps:
    """What happens to workers and their streams."""

    def __init__(self, course: Course) -> None:
        self._course = course
        self._draw = course.draw
        self.steps: dict[Step, int] = {self._join: 12, self._part: 3, self._leave: 1}

    async def _join(self) -> None:
        """The process comes back, or another one under its name; that one holds nothing, unless it lies."""
        client = self._course.rng.choice(self._course.clients)
        process = client.process + self._draw.chance(0.25)
        held = self._draw.presented(client) if process == client.process or self._draw.chance(0.3) else []
        await self._join_as(client, process, held)

    async def come_back(self, client: Client) -> None:
        """The same process, with what it says it holds."""
        await self._join_as(client, client.process, self._draw.presented(client))

    async def _join_as(self, client: Client, process: int, held: list[Held]) -> None:
        joined = await self._course.same(
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
        client = self._course.rng.choice(self._course.clients)
        if not client.connected:
            return
        stale = self._draw.chance(0.1)
        self._course.trail.append(f"part {client.name} {'of an earlier process' if stale else ''}")
        for engine in self._course.engines:
            engine.part(client.name, client.process - stale)
        client.connected = stale

    async def _leave(self) -> None:
        client = self._course.rng.choice(self._course.clients)
        process = client.process + self._draw.chance(0.1)
        await self._course.same(f"leave {client.name} {process}", lambda engine: engine.leave(client.name, process))
        if process == client.process:
            client.connected = False
            client.held.clear()


async def _join(engine: EngineUnderTest, name: str, process: int, held: Sequence[Held]) -> Joined | None:
    try:
        return await engine.verbs.join(name, instance(process), held, engine.now)
    except NameTaken:
        return None
