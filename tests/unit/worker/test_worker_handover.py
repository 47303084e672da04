from __future__ import annotations

from typing import TYPE_CHECKING

from tqbroker.failures import FailureData
from tqbroker_worker.jobs import Jobs
from tqbroker_worker.ledger import Ending
from tqbroker_worker.protocol import Cancel, Ended, HandBack, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.worker.conftest import Scene

    MakeJobs = Callable[..., Jobs]

KILLED = FailureData("WorkerLostError", "tqbroker.exceptions", "the child process was killed")


def endings(scene: Scene) -> list[tuple[int, Verdict]]:
    """Token and verdict of every pending ending."""
    return [(o.ended.token, o.ended.verdict) for o in scene.ledger.take(2) if isinstance(o, Ending)]


def test_unknown_jobs_get_a_slot_each(scene: Scene, make_jobs: MakeJobs) -> None:
    one, two = scene.child(), scene.child()
    scene.handover.offer(make_jobs(2))
    assert sorted([one.tokens, two.tokens]) == [[1], [2]]
    assert scene.handover.blocked == 2


def test_fast_jobs_are_spread_over_the_children_in_chunks(scene: Scene, make_jobs: MakeJobs) -> None:
    one, two = scene.child(), scene.child()
    scene.make_fast()
    scene.handover.offer(make_jobs(100))
    assert (len(one.sent), len(two.sent)) == (1, 1)
    assert sorted(one.tokens + two.tokens) == list(range(1, 101))


def test_no_fast_job_is_put_behind_a_slow_one(scene: Scene, make_jobs: MakeJobs) -> None:
    one, two = scene.child(), scene.child()
    scene.handover.offer(make_jobs(1, task="tasks.slow"))
    busy, free = (one, two) if one.sent else (two, one)
    scene.make_fast()
    scene.handover.offer(make_jobs(50, first=10))
    assert busy.tokens == [1]
    assert free.tokens == list(range(10, 60))


def test_a_child_gets_more_fast_jobs_only_when_it_has_worked_off_some(scene: Scene, make_jobs: MakeJobs) -> None:
    child = scene.child()
    scene.make_fast(us=1000)
    scene.handover.offer(make_jobs(20))
    first = len(child.tokens)
    assert 5 <= first < 20
    scene.run(child, *child.tokens)
    assert len(child.tokens) > first


def test_jobs_that_could_not_start_soon_are_returned_at_once(scene: Scene, make_jobs: MakeJobs) -> None:
    scene.child()
    scene.make_fast(us=15_000)
    scene.handover.offer(make_jobs(100))
    returned = scene.ledger.take_returned()
    assert 80 <= len(returned) < 100
    assert returned == list(range(101 - len(returned), 101))


def test_when_every_slot_is_taken_by_a_slow_job_the_rest_is_returned(scene: Scene, make_jobs: MakeJobs) -> None:
    scene.child()
    scene.handover.offer(make_jobs(1, task="tasks.slow"))
    scene.make_fast()
    scene.handover.offer(make_jobs(5, first=10))
    assert scene.ledger.take_returned() == [10, 11, 12, 13, 14]


def test_jobs_given_back_by_a_stuck_child_run_in_another(scene: Scene, make_jobs: MakeJobs) -> None:
    stuck = scene.child()
    scene.make_fast()
    scene.handover.offer(make_jobs(4))
    other = scene.child()
    scene.start(stuck)
    scene.give_back(stuck, 2, 3, 4, overdue=True)
    assert other.tokens == [2, 3, 4]
    assert scene.handover.blocked == 1
    scene.finish(stuck, 1)
    assert scene.handover.blocked == 0


def test_jobs_given_back_by_the_only_child_return_to_the_broker(scene: Scene, make_jobs: MakeJobs) -> None:
    stuck = scene.child()
    scene.make_fast()
    scene.handover.offer(make_jobs(4))
    scene.start(stuck)
    scene.give_back(stuck, 2, 3, 4, overdue=True)
    assert scene.ledger.take_returned() == [2, 3, 4]
    assert [token for token, _ in scene.handover.leases()] == [1]


def test_a_crash_loses_only_what_was_started(scene: Scene, make_jobs: MakeJobs) -> None:
    dead = scene.child()
    scene.make_fast()
    scene.handover.offer(make_jobs(5))
    scene.run(dead, 1)
    scene.start(dead)
    other = scene.child()
    scene.handover.crashed(dead.seat, KILLED)
    assert endings(scene) == [(2, Verdict.LOST)]
    assert other.tokens == [3, 4, 5]


def test_a_crash_counts_what_had_run_but_was_not_reported(scene: Scene, make_jobs: MakeJobs) -> None:
    dead = scene.child()
    scene.make_fast()
    scene.handover.offer(make_jobs(4))
    scene.start(dead, 3)
    scene.handover.crashed(dead.seat, KILLED)
    assert endings(scene) == [(1, Verdict.LOST), (2, Verdict.LOST), (3, Verdict.LOST)]


def test_a_cancelled_job_that_is_not_started_ends_cancelled(scene: Scene, make_jobs: MakeJobs) -> None:
    child = scene.child()
    scene.make_fast()
    scene.handover.offer(make_jobs(3))
    scene.handover.cancel([2])
    assert isinstance(child.sent[-1], Cancel)
    scene.give_back(child, 2)
    assert endings(scene) == [(2, Verdict.CANCELLED)]


def test_a_cancelled_job_that_waits_in_the_parent_ends_cancelled_at_once(scene: Scene, make_jobs: MakeJobs) -> None:
    child = scene.child()
    scene.make_fast(us=5000)
    scene.handover.offer(make_jobs(10))
    scene.handover.cancel([10])
    assert endings(scene) == [(10, Verdict.CANCELLED)]
    scene.run(child, *child.tokens)
    assert 10 not in child.tokens


def test_a_cancelled_job_that_runs_may_still_succeed(scene: Scene, make_jobs: MakeJobs) -> None:
    child = scene.child()
    scene.handover.offer(make_jobs(1))
    scene.start(child)
    scene.handover.cancel([1])
    scene.finish(child, 1)
    assert [outcome.tokens() for outcome in scene.ledger.take(2)] == [[1]]


def test_outcomes_of_forgotten_leases_are_not_reported(scene: Scene, make_jobs: MakeJobs) -> None:
    child = scene.child()
    scene.make_fast()
    scene.handover.offer(make_jobs(3))
    scene.start(child, 2)
    scene.handover.forget([1, 3])
    assert [token for token, _ in scene.handover.leases()] == [2]
    scene.give_back(child, 3)
    scene.finish(child, 1, 2)
    assert [outcome.tokens() for outcome in scene.ledger.take(2)] == [[2]]
    assert scene.handover.idle


def test_closing_returns_what_is_not_started_and_lets_the_rest_finish(scene: Scene, make_jobs: MakeJobs) -> None:
    child = scene.child()
    scene.make_fast(us=5000)
    scene.handover.offer(make_jobs(10))
    scene.start(child)
    had = child.tokens
    scene.handover.close()
    assert isinstance(child.sent[-1], HandBack)
    scene.give_back(child, *had[1:])
    scene.handover.offer(make_jobs(1, first=99))
    assert sorted(scene.ledger.take_returned()) == [*range(2, 11), 99]
    scene.finish(child, 1)
    assert scene.handover.idle


def test_a_child_killed_on_purpose_gives_everything_back(scene: Scene, make_jobs: MakeJobs) -> None:
    child = scene.child()
    scene.handover.offer(make_jobs(1))
    scene.start(child)
    scene.handover.abandon(child.seat, KILLED)
    assert scene.ledger.take_returned() == [1]


def test_what_may_run_at_most_once_is_not_given_back_once_it_was_started(scene: Scene, make_jobs: MakeJobs) -> None:
    child = scene.child()
    scene.make_fast(task="tasks.once")
    scene.handover.at_most_once = frozenset({"tasks.once"})
    scene.handover.offer(make_jobs(2, task="tasks.once"))
    scene.start(child)
    scene.handover.abandon(child.seat, KILLED)
    assert scene.ledger.take_returned() == [2]
    assert endings(scene) == [(1, Verdict.LOST)]


def test_a_job_that_ended_by_force_while_it_runs_on_holds_up_no_end(scene: Scene, make_jobs: MakeJobs) -> None:
    child = scene.child(slots=2)
    scene.handover.offer(make_jobs(2))
    scene.start(child, 2)
    scene.handover.give_up(child.seat, Ended(1, Verdict.CANCELLED, None))
    assert not scene.handover.idle
    scene.run(child, 2)
    assert scene.handover.idle


def test_a_failure_is_measured_and_frees_its_slot(scene: Scene, make_jobs: MakeJobs) -> None:
    child = scene.child()
    scene.handover.offer(make_jobs(1))
    scene.start(child)
    scene.handover.ended(child.seat, Ended(1, Verdict.FAILED, None, 1, 10))
    assert (scene.handover.blocked, scene.handover.idle) == (0, True)
    assert endings(scene) == [(1, Verdict.FAILED)]


def test_a_slot_in_which_a_lost_job_still_runs_is_not_on_offer(scene: Scene, make_jobs: MakeJobs) -> None:
    child = scene.child()
    scene.handover.offer(make_jobs(1))
    scene.start(child)
    scene.handover.forget([1])
    assert (scene.handover.slots, scene.handover.blocked) == (0, 0)
    wakes = scene.wakes
    scene.finish(child, 1)
    assert (scene.handover.slots, scene.handover.blocked) == (1, 0)
    assert scene.wakes > wakes
