"""A random walk over the verbs: the same steps on several engines, every answer compared, a witness watching the first.

Randomness is handed in, so that a seed, or something that shrinks, can lead the walk.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

from tests.contracts.course import Course, Step
from tests.contracts.harness import EngineUnderTest
from tests.contracts.steps_of_days import DaySteps
from tests.contracts.steps_of_jobs import JobSteps
from tests.contracts.steps_of_operators import OperatorSteps
from tests.contracts.steps_of_schedules import ScheduleSteps
from tests.contracts.steps_of_time import TimeSteps
from tests.contracts.steps_of_workers import WorkerSteps
from tests.contracts.steps_of_workflows import WorkflowSteps
from tests.proof.stores import faults_of

from tqbroker_broker.config import MIB, StorageConfig

# Short times, so that a walk of some minutes sees results dropped, ids forgotten and jobs quarantined.
CONFIG = StorageConfig(
    map_size=256 * MIB,
    max_result_size=64 * 1024,
    result_ttl=60.0,
    dead_ttl=90.0,
    dedup_window=150.0,
    max_lost_leases=2,
    max_attempts_kept=3,
    max_workflow_jobs=12,
    max_inputs_size=70,
    upload_ttl=45.0,
)
LOOK_CLOSER_EVERY = 10


class Walk:
    """One walk over a course."""

    def __init__(self, course: Course) -> None:
        self._course = course
        self._time = TimeSteps(course)
        jobs, workers = JobSteps(course), WorkerSteps(course)
        self._steps: dict[Step, int] = {
            **jobs.steps,
            **OperatorSteps(course).steps,
            **workers.steps,
            **self._time.steps,
            **DaySteps(course, jobs, workers, self._time).steps,
            **ScheduleSteps(course).steps,
            **(WorkflowSteps(course).steps if course.has_workflows else {}),
        }

    async def run(self, steps: int) -> None:
        """Opens the engines and takes the steps. Raises AssertionError at the first thing that must not be."""
        await self._time.begin()
        for number in range(1, steps + 1):
            (step,) = self._course.rng.choices(list(self._steps), list(self._steps.values()))
            await step()
            await self._course.look(closely=number % LOOK_CLOSER_EVERY == 0)
        await self._course.look_back()


async def walk(kinds: Sequence[str], directory: Path, rng: Random, steps: int) -> None:
    """Walks over engines of these kinds, the first being what the others are compared with.

    What they leave on a disk is sound in the end.
    """
    engines = [EngineUnderTest(kind, directory / kind, CONFIG) for kind in kinds]
    course = Course(engines, rng)
    try:
        await Walk(course).run(steps)
    except AssertionError as problem:
        problem.add_note("\n".join(["the way there:", *course.trail[-30:]]))
        raise
    finally:
        for engine in engines:
            await engine.verbs.close()
    for kind in kinds:
        faults = faults_of(directory / kind / "data") if kind == "lmdb" else []
        assert not faults, [*faults, "the way there:", *course.trail[-30:]]
