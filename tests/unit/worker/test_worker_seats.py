"""Children that leave, are full, or are killed for one of their jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tqbroker.failures import FailureData
from tqbroker_worker.jobs import Jobs
from tqbroker_worker.ledger import Ending
from tqbroker_worker.protocol import Cancel, Ended, HandBack, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.worker.conftest import Scene

    from tqbroker_worker.seats import Seat

    MakeJobs = Callable[..., Jobs]

DEAD = FailureData("WorkerLostError", "tqbroker.exceptions", "the child process was killed")
OVER = FailureData("TimeLimitExceeded", "tqbroker.exceptions", "too long")


def endings(scene: Scene) -> list[tuple[int, Verdict]]:
    """Token and verdict of every pending ending."""
    return [(o.ended.token, o.ended.verdict) for o in scene.ledger.take(2) if isinstance(o, Ending)]


def test_a_child_gets_no_more_jobs_in_its_life_than_it_may(scene: Scene, make_jobs: MakeJobs) -> None:
    child, other = scene.child(), scene.child()
    child.seat.most = 3
    full: list[Seat] = []
    scene.handover.feeder.on_full = full.append
    scene.make_fast()
    scene.handover.offer(make_jobs(10))
    scene.handover.offer(make_jobs(10, first=11))
    assert len(child.tokens) == 3
    assert sorted(child.tokens + other.tokens) == list(range(1, 21))
    assert full == [child.seat]


def test_jobs_given_back_do_not_count_against_what_a_child_may_have(scene: Scene, make_jobs: MakeJobs) -> None:
    child = scene.child()
    child.seat.most = 10
    scene.make_fast()
    scene.handover.offer(make_jobs(4))
    scene.start(child)
    scene.give_back(child, 2, 3, 4, overdue=True)
    assert child.seat.left == 9


def test_a_child_that_leaves_gives_back_and_its_slot_counts_while_it_runs(scene: Scene, make_jobs: MakeJobs) -> None:
    child = scene.child()
    scene.handover.offer(make_jobs(1))
    scene.start(child)
    scene.handover.leave(child.seat)
    assert isinstance(child.sent[-1], HandBack)
    assert (scene.handover.slots, scene.handover.blocked) == (1, 1)
    scene.finish(child, 1)
    assert (scene.handover.slots, scene.handover.blocked) == (0, 0)
    scene.handover.offer(make_jobs(1, first=2))
    assert child.tokens == [1]
    assert scene.ledger.take_returned() == [2]


def test_a_child_killed_for_one_job_ends_that_and_gives_the_others_back_uncounted(
    scene: Scene, make_jobs: MakeJobs
) -> None:
    child = scene.child(slots=2)
    scene.make_fast()
    scene.handover.offer(make_jobs(4))
    scene.start(child, 2)
    child.seat.doomed[1] = Ended(1, Verdict.FAILED, OVER)
    other = scene.child()
    fates = scene.handover.crashed(child.seat, DEAD)
    assert endings(scene) == [(1, Verdict.FAILED)]
    assert [ending.ended.token for ending in fates] == [1]
    assert other.tokens == [2, 3, 4]


def test_a_job_that_ends_before_its_child_is_killed_for_it_is_not_doomed(scene: Scene, make_jobs: MakeJobs) -> None:
    child = scene.child()
    scene.handover.offer(make_jobs(1))
    scene.start(child)
    child.seat.doomed[1] = Ended(1, Verdict.FAILED, OVER)
    scene.finish(child, 1)
    assert child.seat.doomed == {}
    assert scene.handover.crashed(child.seat, DEAD) == []
    assert endings(scene) == []


def test_a_child_killed_for_a_job_that_ends_just_then_costs_the_next_one_nothing(
    scene: Scene, make_jobs: MakeJobs
) -> None:
    child = scene.child()
    scene.make_fast()
    scene.handover.offer(make_jobs(2))
    scene.start(child)
    child.seat.doomed[1] = Ended(1, Verdict.FAILED, OVER)
    child.seat.leaving = child.seat.condemned = True
    scene.finish(child, 1)
    scene.start(child)
    other = scene.child()
    assert scene.handover.crashed(child.seat, DEAD) == []
    assert endings(scene) == []
    assert other.tokens == [2]


def test_a_job_to_be_ended_by_force_is_named_to_its_child(scene: Scene, make_jobs: MakeJobs) -> None:
    child = scene.child()
    scene.make_fast()
    scene.handover.offer(make_jobs(3))
    scene.start(child)
    assert scene.handover.terminate(1, "SIGUSR2") is child.seat
    cancel = child.sent[-1]
    assert isinstance(cancel, Cancel)
    assert (cancel.tokens, cancel.force, cancel.signal) == ([1], True, "SIGUSR2")


def test_a_job_to_be_ended_by_force_that_does_not_run_ends_cancelled(scene: Scene, make_jobs: MakeJobs) -> None:
    child = scene.child()
    scene.make_fast(us=2000)
    scene.handover.offer(make_jobs(10))
    assert scene.handover.terminate(10, "") is None
    scene.handover.terminate(2, "")
    scene.give_back(child, 2)
    assert endings(scene) == [(10, Verdict.CANCELLED), (2, Verdict.CANCELLED)]


def test_a_job_that_cannot_be_stopped_ends_and_its_slot_is_not_on_offer_until_it_does(
    scene: Scene, make_jobs: MakeJobs
) -> None:
    child = scene.child(slots=4)
    scene.handover.offer(make_jobs(2))
    scene.start(child, 2)
    scene.handover.give_up(child.seat, Ended(1, Verdict.CANCELLED, None))
    assert endings(scene) == [(1, Verdict.CANCELLED)]
    assert [token for token, _ in scene.handover.leases()] == [2]
    assert (scene.handover.slots, scene.handover.blocked) == (3, 1)
    scene.finish(child, 1, 2)
    assert [outcome.tokens() for outcome in scene.ledger.take(3)] == [[2]]
    assert (scene.handover.slots, scene.handover.blocked) == (4, 0)
