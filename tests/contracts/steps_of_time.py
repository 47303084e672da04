"""Steps of a walk: time passes, stands still and jumps, and the broker starts anew."""

from __future__ import annotations

from tests.contracts.course import Course, Step
from tests.contracts.draws import Client
from tests.contracts.harness import EngineUnderTest

LAST = 4
"""Seconds before a lease ends in which the wall clock goes first."""


class TimeSteps:
    """What time and restarts do."""

    def __init__(self, course: Course) -> None:
        self._course = course
        self._draw = course.draw
        self.steps: dict[Step, int] = {
            self._due: 4,
            self._expire: 6,
            self._pass_time: 8,
            self._stall: 1,
            self._jump: 1,
            self.restart: 2,
        }

    async def begin(self) -> None:
        """Opens the engines."""
        await self._course.same("open", lambda engine: engine.open(), lambda opened: opened[1:])

    async def _due(self) -> None:
        limit = self._course.rng.choice((1, 2, 1000))
        await self._course.same(f"due {limit}", lambda engine: engine.verbs.due(engine.now, limit))

    async def _expire(self) -> None:
        await self._course.expire(self._course.rng.choice((1, 2, 1000)))

    async def _pass_time(self) -> None:
        """Some seconds as they should be: a beat each second, and signs of life from most workers."""
        alive = [client for client in self._course.clients if client.connected and self._draw.chance(0.9)]
        await self.pass_by(self._course.rng.choice((1, 1, 3, 12)), alive)

    async def pass_by(self, seconds: int, alive: list[Client]) -> None:
        """With signs of life of these."""
        for _ in range(seconds):
            await self._tick(1.0)
            for client in alive:
                for engine in self._course.engines:
                    engine.extend(client.name, client.process)
                    engine.extend(client.name, client.process + 1)
            for client in self._course.rng.sample(self._course.clients, 1):
                for engine in self._course.engines:
                    engine.spare(client.name, client.process)

    async def _stall(self) -> None:
        """The broker stands still, and nobody can be heard."""
        await self._tick(self._course.rng.choice((2.5, 10.25, 70.0)))

    async def outlast(self, seconds: int, alive: list[Client]) -> None:
        """So long that leases of others end, and a recovery.

        Jobs expire just before that: whether one ends first that waited for another, which an awaited worker may have
        until that same moment, is left to the engine.
        """
        await self.pass_by(seconds - LAST, alive)
        for engine in self._course.engines:
            engine.advance(0, wall=LAST)
        await self._course.expire(1000)
        for _ in range(LAST):
            await self._tick(1.0, wall=0)
        await self._course.expire(1000)

    async def _tick(self, seconds: float, *, wall: float | None = None) -> None:
        for engine in self._course.engines:
            engine.advance(seconds, wall=wall)
        await self._course.same(f"beat after {seconds}", _beat)

    async def _jump(self) -> None:
        """The wall clock is set forward."""
        wall = self._course.rng.choice((10.0, 70.0, 170.0))
        self._course.trail.append(f"wall clock {wall} s forward")
        for engine in self._course.engines:
            engine.advance(0, wall=wall)

    async def restart(self) -> None:
        await self._course.same("restart", lambda engine: engine.restart(), lambda opened: opened[1:])
        for client in self._course.clients:
            client.connected = False
        await self._tick(self._course.rng.choice((0.125, 1.0)))


async def _beat(engine: EngineUnderTest) -> float:
    return engine.verbs.beat(engine.now)
