"""Cancelling answers: what happened to each job, in every pool, also while nobody is there to be told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.acceptance.harness.waiting import until
from tests.acceptance.harness.workshop import Workshop

from tqbroker import AsyncResult
from tqbroker.exceptions import TaskRevokedError
from tqbroker.states import RevokeEffect

POOLS = ("process", "thread", "asyncio", "solo")
NOBODY = "0198c0de-0000-7000-8000-000000000000"


@pytest.fixture(scope="module", params=POOLS)
def pool(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """One broker and one worker for each pool."""
    place = Workshop(tmp_path_factory.mktemp(request.param))
    place.broker()
    place.worker("-P", request.param, "-c", "1")
    yield place
    place.close()


def running(shop: Workshop, task: str, label: str, *more: Any) -> AsyncResult[Any]:
    job = shop.send(task, label, *more)
    shop.noted("start", label)
    return job


def is_revoked(job: AsyncResult[Any]) -> bool:
    return isinstance(job.get(timeout=20, propagate=False), TaskRevokedError)


def test_a_queued_and_a_scheduled_job_never_run(pool: Workshop) -> None:
    first = running(pool, "hold", "busy")
    queued, scheduled = pool.send("step", "queued"), pool.send("step", "scheduled", countdown=0.3)

    assert queued.revoke() is RevokeEffect.CANCELLED
    assert scheduled.revoke() is RevokeEffect.CANCELLED
    assert [queued.state, scheduled.state] == ["REVOKED", "REVOKED"]
    assert queued.revoke() is RevokeEffect.FINAL

    assert first.revoke() is RevokeEffect.RUNNING
    assert is_revoked(first) or first.successful()
    assert pool.send("step", "after", countdown=0.4).get(timeout=20) == "after"
    assert not {"queued", "scheduled"} & set(pool.labels())


def test_a_running_job_sees_that_it_is_cancelled(pool: Workshop) -> None:
    job = running(pool, "hold", "polite")

    assert job.revoke() is RevokeEffect.RUNNING

    pool.noted("cancelled", "polite")
    assert job.get(timeout=20) == "polite", "a job that ends well in spite of it has ended well"


@pytest.mark.parametrize("signal", ["SIGTERM", "KILL"])
def test_a_running_job_is_terminated_and_the_worker_goes_on(pool: Workshop, signal: str) -> None:
    job = running(pool, "stubborn", f"forced {signal}")

    assert job.revoke(terminate=True, signal=signal) is RevokeEffect.RUNNING

    assert is_revoked(job)
    assert job.state == "REVOKED"
    assert pool.send("step", f"after {signal}").get(timeout=20) == f"after {signal}"
    assert pool.labels("start", f"forced {signal}") == [f"forced {signal}"], "it must not be started again"
    assert pool.labels("end", f"forced {signal}") == []


def test_a_running_coroutine_is_terminated(pool: Workshop) -> None:
    job = running(pool, "ahold", "coroutine")

    assert job.revoke(terminate=True) is RevokeEffect.RUNNING

    assert is_revoked(job)
    assert pool.send("step", "after coroutine").get(timeout=20) == "after coroutine"
    assert pool.labels("end", "coroutine") == []


def test_a_signal_that_is_none_is_refused_before_anybody_is_asked(pool: Workshop) -> None:
    job = pool.send("step", "safe", countdown=3600)

    with pytest.raises(ValueError, match="SIGFOO"):
        job.revoke(terminate=True, signal="SIGFOO")

    assert job.state == "PENDING"
    done = pool.tqbroker("jobs", "cancel", job.id, "--terminate", "--signal", "SIGFOO")
    assert (done.returncode, "SIGKILL" in done.stderr) == (2, True)
    job.revoke()


# -- while nobody is there -------------------------------------------------------------------------------------------


def test_jobs_cancelled_while_all_workers_are_away_are_never_run(workshop: Workshop) -> None:
    broker = workshop.broker()
    jobs = workshop.send_many("step", [f"gone-{number}" for number in range(200)])
    kept = workshop.send("step", "kept")

    answer = workshop.app.control.revoke([job.id for job in jobs] + [NOBODY])
    workshop.restart(broker)
    workshop.worker()

    assert answer == {**{job.id: RevokeEffect.CANCELLED for job in jobs}, NOBODY: RevokeEffect.UNKNOWN}
    assert kept.get(timeout=20) == "kept"
    assert workshop.labels() == ["kept"]


def test_a_running_job_cancelled_while_its_worker_is_away_does_not_run_again(workshop: Workshop) -> None:
    broker = workshop.broker("--grace", "0.3")
    worker = workshop.worker(name="first")
    job = running(workshop, "stubborn", "lost")

    worker.kill()
    effect = job.revoke()
    workshop.restart(broker)
    worker.start()

    assert effect is RevokeEffect.RUNNING
    assert is_revoked(job)
    assert workshop.send("step", "next").get(timeout=30) == "next"
    assert workshop.labels("start", "lost") == ["lost"]


def test_many_are_cancelled_by_a_stamp_and_each_is_answered(workshop: Workshop) -> None:
    workshop.broker()
    workshop.worker()
    busy = workshop.send("hold", "busy", stamps={"order": "7"})
    workshop.noted("start", "busy")
    jobs = workshop.send_many("step", ["a", "b", "c"], stamps={"order": "7"}, countdown=3600)
    other = workshop.send("step", "other", stamps={"order": "8"}, countdown=3600)

    answer = workshop.app.control.revoke_by_stamped_headers({"order": ["7", "9"]})

    assert answer == {**{job.id: "cancelled" for job in jobs}, busy.id: "cancel requested"}
    assert [job.state for job in jobs] == ["REVOKED"] * 3
    assert other.state == "PENDING"
    until(lambda: workshop.labels("cancelled") == ["busy"], "the running one to notice")


def test_several_are_terminated_at_once(workshop: Workshop) -> None:
    workshop.broker()
    workshop.worker()
    jobs = [running(workshop, "stubborn", label) for label in ("one", "two")]

    answer = workshop.app.control.terminate([job.id for job in jobs])

    assert answer == {job.id: RevokeEffect.RUNNING for job in jobs}
    assert [is_revoked(job) for job in jobs] == [True, True]
