"""Steps of a walk that are several in one: what happens all day, and what single steps hardly ever come to."""

from __future__ import annotations

from tests.contracts.course import Course, Step
from tests.contracts.draws import Client
from tests.contracts.steps_of_jobs import JobSteps
from tests.contracts.steps_of_time import TimeSteps
from tests.contracts.steps_of_workers import WorkerSteps

LEASE = 32
"""Seconds after which a worker that is not heard of is given up, and a recovery is over."""


class DaySteps:
    """Workers have jobs at hand, and then something happens to them or to the broker."""

    def __init__(self, course: Course, jobs: JobSteps, workers: WorkerSteps, time: TimeSteps) -> None:
        self._course = course
        self._jobs = jobs
        self._workers = workers
        self._time = time
        self.steps: dict[Step, int] = {self._taken: 8, self._restarted: 3, self._silent: 2}

    async def _taken(self) -> None:
        """Some jobs come, and a worker takes what there is."""
        await self._take(self._course.rng.choice(self._course.clients))

    async def _take(self, client: Client) -> None:
        await self._jobs.enqueue()
        if not client.connected:
            await self._come_back(client)
        if client.connected:
            await self._jobs.take_all(client)

    async def _come_back(self, client: Client) -> None:
        await self._course.look(closely=False)
        await self._workers.come_back(client)
        await self._course.look(closely=False)

    async def _restarted(self) -> None:
        """The broker starts again under workers that hold jobs: some are back in time, some late, some never."""
        course = self._course
        for client in course.rng.sample(course.clients, 2):
            await self._take(client)
        await course.look(closely=False)
        await self._time.restart()
        for client in course.rng.sample(course.clients, course.rng.randint(0, 2)):
            await self._come_back(client)
        if course.draw.chance(0.6):
            await self._pass_by()
        await self._some_are_late()

    async def _silent(self) -> None:
        """A worker is not heard of for as long as a lease lasts."""
        await self._taken()
        await self._pass_by()
        await self._some_are_late()

    async def _pass_by(self) -> None:
        """As long as a lease lasts, with signs of life of some who are connected."""
        alive = [client for client in self._course.clients if client.connected and self._course.draw.chance(0.5)]
        await self._time.outlast(LEASE, alive)
        await self._course.look(closely=False)

    async def _some_are_late(self) -> None:
        """Those who are away come with what they held, perhaps when somebody else has it, or has had it."""
        course = self._course
        for client in course.rng.sample(course.clients, 2):
            if not client.connected:
                await self._come_back(client)
            elif course.draw.chance(0.5):
                await self._jobs.take_all(client)
