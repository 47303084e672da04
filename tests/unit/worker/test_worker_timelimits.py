"""Hard time limits, on a clock of the test."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from tqbroker_worker.config import WorkerConfig
from tqbroker_worker.jobs import Head, Jobs, Traits
from tqbroker_worker.protocol import Ended, Manifest, TaskLimits, TimeLimits, Verdict, WorkerSettings
from tqbroker_worker.timelimits import HardLimits, LimitTable

if TYPE_CHECKING:
    from tests.unit.worker.conftest import FakeChild, Scene

    from tqbroker_worker.seats import Seat

    MakeJobs = Callable[..., Jobs]

MANIFEST = Manifest(
    "app",
    "tq://here",
    ["default"],
    ["tasks.add", "tasks.slow"],
    {"tasks.slow": TaskLimits(soft_ms=1000, hard_ms=2000)},
    WorkerSettings(limits=TaskLimits(hard_ms=10_000)),
)


class Watch:
    """The limits of a scene; time goes on when the test says so."""

    def __init__(self, scene: Scene, config: WorkerConfig | None = None, manifest: Manifest = MANIFEST) -> None:
        self.now = 0.0
        self.killed: list[Ended] = []
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.table = LimitTable(config or WorkerConfig("tasks"), manifest)
        hard = HardLimits(self.table, self._kill, self._later, lambda: self.now)
        scene.handover.feeder.watch = hard.watch

    def _later(self, seconds: float, function: Callable[[], None]) -> None:
        self.timers.append((self.now + seconds, function))

    def _kill(self, seat: Seat, fates: Iterable[Ended]) -> None:
        fates = list(fates)
        seat.doomed.update((ended.token, ended) for ended in fates)
        self.killed += fates

    def wait(self, seconds: float) -> None:
        """Lets so much time pass, with everything that is due in it."""
        end = self.now + seconds
        while due := [timer for timer in self.timers if timer[0] <= end]:
            first = min(due, key=lambda timer: timer[0])
            self.timers.remove(first)
            self.now = first[0]
            first[1]()
        self.now = end


def run_one(scene: Scene, jobs: Jobs) -> FakeChild:
    child = scene.child()
    scene.handover.offer(jobs)
    scene.start(child)
    return child


def test_a_job_that_runs_longer_than_its_task_may_is_killed(scene: Scene, make_jobs: MakeJobs) -> None:
    watch = Watch(scene)
    run_one(scene, make_jobs(1, task="tasks.slow"))
    watch.wait(1.9)
    assert watch.killed == []
    watch.wait(0.4)
    (ended,) = watch.killed
    assert (ended.token, ended.verdict) == (1, Verdict.FAILED)
    assert ended.failure is not None
    assert (ended.failure.module, ended.failure.type) == ("tqbroker.exceptions", "TimeLimitExceeded")
    assert ended.failure.message == "hard time limit (2s) exceeded"
    assert 1_900_000 < ended.runtime_us < 2_400_000


def test_the_limit_of_the_call_goes_first_and_the_worker_has_one_for_all_others(
    scene: Scene, make_jobs: MakeJobs
) -> None:
    watch = Watch(scene, WorkerConfig("tasks", time_limit=5))
    jobs = make_jobs(1, task="tasks.slow")
    jobs.head = Head("tasks.slow", "default", 0, "json", traits=Traits(hard_limit_ms=500))
    run_one(scene, jobs)
    run_one(scene, make_jobs(1, task="tasks.add", first=2))
    watch.wait(0.6)
    assert [ended.token for ended in watch.killed] == [1]
    watch.wait(4.0)
    assert [ended.token for ended in watch.killed] == [1]
    watch.wait(1.0)
    assert [ended.token for ended in watch.killed] == [1, 2]


def test_each_job_of_a_chunk_has_its_own_time(scene: Scene, make_jobs: MakeJobs) -> None:
    watch = Watch(scene)
    scene.make_fast("tasks.slow")
    child = run_one(scene, make_jobs(5, task="tasks.slow"))
    for token in range(1, 5):
        watch.wait(1.5)
        scene.finish(child, token)
        scene.start(child)
    assert watch.killed == []
    watch.wait(3.0)
    assert [ended.token for ended in watch.killed] == [5]


def test_nobody_looks_while_no_job_has_a_limit(scene: Scene, make_jobs: MakeJobs) -> None:
    watch = Watch(scene, manifest=Manifest("app", "tq://here", ["default"], ["tasks.add"]))
    run_one(scene, make_jobs(1))
    assert watch.timers == []


def test_looking_ends_with_the_last_job_that_has_a_limit(scene: Scene, make_jobs: MakeJobs) -> None:
    watch = Watch(scene)
    child = run_one(scene, make_jobs(1, task="tasks.slow"))
    scene.finish(child, 1)
    watch.wait(1.0)
    assert watch.timers == []
    scene.handover.offer(make_jobs(1, task="tasks.slow", first=2))
    assert len(watch.timers) == 1


def test_children_are_told_what_they_cannot_know_from_the_app() -> None:
    assert LimitTable(WorkerConfig("tasks"), MANIFEST).to_tell() == []
    table = LimitTable(WorkerConfig("tasks", soft_time_limit=3), MANIFEST)
    assert table.to_tell() == [TimeLimits("tasks.add", 3000, 10_000), TimeLimits("tasks.slow", 1000, 2000)]
    table.set("tasks.add", 0, 700)
    assert table.to_tell()[0] == TimeLimits("tasks.add", 0, 700)
    assert table.hard_ms(Head("tasks.add", "default", 0, "json")) == 700
