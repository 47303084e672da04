"""Steps of a walk: schedules are put, paused and removed, and fire, sometimes for what they have fired for before."""

from __future__ import annotations

from msgspec.structs import replace
from tests.contracts.course import Course, Step
from tests.contracts.harness import EngineUnderTest

from tqbroker_broker.firings import new_job
from tqbroker_broker.schedules import Fire, Overlap, Schedule, ScheduleState

NAMES = ("daily", "hourly")
PERIOD_MS = 1000


class ScheduleSteps:
    """What schedules do, and what is done to them. The states are those of the first engine."""

    def __init__(self, course: Course) -> None:
        self._course = course
        self._draw = course.draw
        self.steps: dict[Step, int] = {self._put: 2, self._remove: 1, self._fire: 8}

    def _known(self) -> dict[str, ScheduleState]:
        return {state.schedule.name: state for state in self._course.engines[0].verbs.schedules()}

    async def _put(self) -> None:
        """A new one, or another version, of the same incarnation or not."""
        rng, now_ms = self._course.rng, self._course.now.wall_ms
        head = self._draw.head()
        schedule = Schedule(
            rng.choice(NAMES),
            every_ms=PERIOD_MS,
            overlap=rng.choice(list(Overlap)),
            paused=self._draw.chance(0.1),
            head=head,
            args=b"now",
            jitter_ms=rng.choice((0, 0, 5000)),
            countdown_ms=rng.choice((0, 0, 2000)),
            expires_in_ms=rng.choice((0, 0, 20_000)),
            unique=b"a unique key ..." if head.traits.unique else b"",
        )
        old = self._known().get(schedule.name)
        if old is not None and self._draw.chance(0.5):
            state = replace(old, schedule=schedule)
        else:
            state = ScheduleState(schedule, "operator", now_ms - 20 * PERIOD_MS, now_ms)
        await self._course.same(f"put {state}", lambda engine: engine.verbs.put_schedules([state], [], engine.now))
        await self._look()

    async def _remove(self) -> None:
        name = self._course.rng.choice(NAMES)
        await self._course.same(f"remove {name}", lambda engine: engine.verbs.put_schedules([], [name], engine.now))
        await self._look()

    async def _fire(self) -> None:
        """Of each schedule some moments, of which some may have been dealt with before."""
        fires = [self._draw_fire(state) for state in self._known().values()]
        await self._course.same(f"fire {fires}", lambda engine: engine.verbs.fire(fires, engine.now))
        for fire in fires:
            for jobs in fire.jobs:
                self._draw.digests.setdefault(jobs.ids[0], jobs.digests[0])
        await self._look()

    def _draw_fire(self, state: ScheduleState) -> Fire:
        rng, now_ms = self._course.rng, self._course.now.wall_ms
        first = (state.last_ms or state.born_ms) + rng.choice((-1, 0, 1, 1, 1)) * PERIOD_MS
        planned = [first + number * PERIOD_MS for number in range(rng.randint(0, 3))]
        until_ms = planned[-1] if planned else first
        jobs = [new_job(state, moment, now_ms) for moment in planned]
        born_ms = state.born_ms + self._draw.chance(0.05)
        return Fire(state.schedule.name, born_ms, planned, jobs, rng.randint(0, 2), until_ms, until_ms + PERIOD_MS)

    async def _look(self) -> None:
        await self._course.same("schedules", _states)


async def _states(engine: EngineUnderTest) -> list[ScheduleState]:
    return engine.verbs.schedules()
