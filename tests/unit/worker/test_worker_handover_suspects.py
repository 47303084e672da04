"""Jobs that have lost two leases: one at a time in a child, and blamed alone when it dies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tqbroker.failures import FailureData
from tqbroker_worker.backlog import PATIENCE
from tqbroker_worker.jobs import SUSPECT, Jobs
from tqbroker_worker.ledger import Ending
from tqbroker_worker.protocol import Ended, Unstarted, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.worker.conftest import FakeChild, Scene

    MakeJobs = Callable[..., Jobs]

KILLED = FailureData("WorkerLostError", "tqbroker.exceptions", "the child process was killed")


def lost(scene: Scene) -> list[int]:
    """Tokens that are reported as lost, and nothing else may be."""
    endings = [outcome.ended for outcome in scene.ledger.take(2) if isinstance(outcome, Ending)]
    assert {ended.verdict for ended in endings} <= {Verdict.LOST}
    return [ended.token for ended in endings]


def crash(scene: Scene, child: FakeChild) -> None:
    scene.handover.crashed(child.seat, KILLED)


def test_without_a_suspect_everything_that_ran_is_lost(scene: Scene, make_jobs: MakeJobs) -> None:
    child = scene.child(slots=4)
    scene.handover.offer(make_jobs(3, lost=1))
    scene.start(child, 3)
    crash(scene, child)
    assert lost(scene) == [1, 2, 3]


def test_a_suspect_is_blamed_alone_and_its_neighbours_run_on_elsewhere(scene: Scene, make_jobs: MakeJobs) -> None:
    child = scene.child(slots=4)
    scene.handover.offer(make_jobs(2))
    scene.handover.offer(make_jobs(1, first=10, lost=SUSPECT))
    scene.handover.offer(make_jobs(1, first=20, lost=1))
    scene.start(child, 4)
    other = scene.child(slots=4)
    crash(scene, child)
    assert lost(scene) == [10]
    assert other.tokens == [1, 2, 20]
    assert scene.ledger.take_returned() == []


def test_a_suspect_that_was_not_started_is_not_blamed(scene: Scene, make_jobs: MakeJobs) -> None:
    child = scene.child(slots=2)
    scene.handover.offer(make_jobs(1))
    scene.handover.offer(make_jobs(1, first=10, lost=SUSPECT))
    scene.start(child, 1)
    other = scene.child(slots=2)
    crash(scene, child)
    assert lost(scene) == [1]
    assert other.tokens == [10]


def test_a_suspect_that_has_ended_is_not_blamed(scene: Scene, make_jobs: MakeJobs) -> None:
    child = scene.child(slots=2)
    scene.handover.offer(make_jobs(1, first=10, lost=SUSPECT))
    scene.handover.offer(make_jobs(1))
    scene.start(child, 2)
    scene.finish(child, 10)
    crash(scene, child)
    assert lost(scene) == [1]


def test_a_child_gets_one_suspect_at_a_time_in_their_order(scene: Scene, make_jobs: MakeJobs) -> None:
    child = scene.child(slots=4)
    scene.handover.offer(make_jobs(3, lost=SUSPECT))
    assert child.tokens == [1]
    scene.run(child, 1)
    assert child.tokens == [1, 2]
    scene.start(child)
    scene.handover.ended(child.seat, Ended(2, Verdict.FAILED, KILLED))
    assert child.tokens == [1, 2, 3]


def test_suspects_are_spread_over_the_children(scene: Scene, make_jobs: MakeJobs) -> None:
    one, two = scene.child(slots=2), scene.child(slots=2)
    scene.handover.offer(make_jobs(3, lost=SUSPECT))
    assert sorted([one.tokens, two.tokens]) == [[1], [2]]


def test_jobs_of_one_message_are_told_apart(scene: Scene, make_jobs: MakeJobs) -> None:
    child = scene.child(slots=4)
    jobs = make_jobs(4)
    jobs.lost = [0, SUSPECT, SUSPECT + 1, 1]
    scene.handover.offer(jobs)
    assert child.tokens == [2, 1, 4]
    assert [token for token, _ in scene.handover.leases()] == [3, 2, 1, 4]


def test_suspects_that_wait_hold_back_no_others_and_go_first_when_it_is_their_turn(
    scene: Scene, make_jobs: MakeJobs
) -> None:
    child = scene.child(slots=2)
    scene.handover.offer(make_jobs(2, first=10, lost=SUSPECT))
    scene.handover.offer(make_jobs(1))
    assert child.tokens == [10, 1]
    scene.make_fast("tasks.quick")
    scene.run(child, 1)
    scene.handover.offer(make_jobs(3, first=2, task="tasks.quick"))
    assert child.tokens == [10, 1, 2, 3, 4]
    scene.run(child, 10)
    assert child.tokens[-1] == 11


def test_fast_jobs_that_became_suspects_are_handed_over_one_by_one(scene: Scene, make_jobs: MakeJobs) -> None:
    child = scene.child()
    scene.make_fast()
    scene.handover.offer(make_jobs(3, first=10, lost=SUSPECT))
    scene.handover.offer(make_jobs(20))
    assert child.tokens == [10]


@pytest.mark.parametrize(("task", "more_slots"), [("tasks.add", 2), ("tasks.quick", 0)])
def test_suspects_that_wait_do_not_count_against_the_credit(
    scene: Scene, make_jobs: MakeJobs, task: str, more_slots: int
) -> None:
    scene.child(slots=4)
    scene.make_fast("tasks.quick")
    handover = scene.handover
    handover.offer(make_jobs(1, lost=SUSPECT, task=task))
    before = scene.credit.offer(handover.slots, handover.blocked, handover.apart)
    assert before.slots == 4
    handover.offer(make_jobs(2, first=10, lost=SUSPECT, task=task))
    after = scene.credit.offer(handover.slots, handover.blocked, handover.apart)
    assert after.slots == before.slots + more_slots
    assert handover.apart == [task, task]


def test_a_suspect_that_waits_too_long_goes_back_uncounted(scene: Scene, make_jobs: MakeJobs) -> None:
    child = scene.child(slots=4)
    scene.handover.offer(make_jobs(2, lost=SUSPECT))
    [(seconds, too_long)] = scene.timers
    assert seconds == PATIENCE
    too_long()
    assert scene.ledger.take_returned() == [2]
    assert [token for token, _ in scene.handover.leases()] == child.tokens == [1]


def test_a_suspect_that_a_child_gives_back_waits_for_its_turn_again(scene: Scene, make_jobs: MakeJobs) -> None:
    child = scene.child(slots=2)
    scene.handover.offer(make_jobs(2, lost=SUSPECT))
    child.seat.leaving = True
    scene.handover.unstarted(child.seat, Unstarted([1]))
    assert [token for token, _ in scene.handover.leases()] == [1, 2]
    other = scene.child(slots=2)
    assert other.tokens == [1]
    assert len(scene.timers) == 2


def test_a_suspect_that_waits_can_be_cancelled_and_forgotten(scene: Scene, make_jobs: MakeJobs) -> None:
    scene.child(slots=4)
    scene.handover.offer(make_jobs(3, lost=SUSPECT))
    scene.handover.cancel([2])
    scene.handover.forget([3])
    assert [token for token, _ in scene.handover.leases()] == [1]
    assert [outcome.ended.verdict for outcome in scene.ledger.take(2) if isinstance(outcome, Ending)] == [
        Verdict.CANCELLED
    ]


def test_closing_returns_the_suspects_that_wait(scene: Scene, make_jobs: MakeJobs) -> None:
    scene.child(slots=4)
    scene.handover.offer(make_jobs(3, lost=SUSPECT))
    scene.handover.close()
    assert scene.ledger.take_returned() == [2, 3]


def test_what_may_run_at_most_once_is_lost_with_a_suspect_beside_it(scene: Scene, make_jobs: MakeJobs) -> None:
    child = scene.child(slots=4)
    scene.handover.at_most_once = frozenset({"tasks.once"})
    scene.handover.offer(make_jobs(2, task="tasks.once"))
    scene.handover.offer(make_jobs(1, first=5))
    scene.handover.offer(make_jobs(1, first=10, lost=SUSPECT))
    scene.start(child, 4)
    other = scene.child(slots=4)
    crash(scene, child)
    assert lost(scene) == [1, 2, 10]
    assert other.tokens == [5]
