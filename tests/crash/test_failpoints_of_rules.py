"""kill -9 of the broker at the steps beside the plain way of a job: time, operators, rates, checkpoints."""

from __future__ import annotations

import signal

import pytest
from tests.acceptance.harness.load import Load
from tests.acceptance.harness.site import Site
from tests.crash.failpoints import armed, kills_at

from tqbroker import AsyncResult
from tqbroker.v1 import job_pb2

JOBS = 100

pytestmark = [pytest.mark.crash, pytest.mark.proof("T3")]


def delayed(site: Site, jobs: int, seconds: float) -> list[AsyncResult[int]]:
    """Calls that are due so much later."""
    results = []
    for number in range(jobs):
        site.history.write("invoke", number)
        results.append(site.calls.mark.apply_async((number,), countdown=seconds))
        site.history.write("ok", number, results[-1].id)
    return results


@kills_at("in_due")
def test_a_broker_killed_while_jobs_fall_due_runs_each_of_them_once(site: Site, place: str) -> None:
    broker = site.broker(**armed(place))
    delayed(site, JOBS, 1.0)
    assert broker.wait() == -signal.SIGKILL

    site.started(broker)
    site.worker()

    site.check(lost=0)


@kills_at("in_expire")
def test_a_broker_killed_while_jobs_expire_ends_each_of_them(site: Site, place: str) -> None:
    broker = site.broker(**armed(place))
    jobs = [site.calls.mark.apply_async((number,), expires=1.0).id for number in range(JOBS)]
    assert broker.wait() == -signal.SIGKILL

    site.started(broker)

    ends = site.wire.finals(jobs)
    assert {status.state for status in ends.values()} == {job_pb2.STATE_EXPIRED}
    assert len(ends) == JOBS
    site.counts["jobs"] += JOBS
    counts = site.wire.counts()
    assert (counts.queued, counts.scheduled, counts.expired) == (0, 0, JOBS)


@kills_at("after_order_commit")
def test_a_broker_killed_after_a_redrive_has_redriven_once(site: Site, place: str) -> None:
    broker = site.broker()
    worker = site.worker()
    job = site.calls.nap.apply_async((1, "not a number")).id
    assert site.wire.finals([job])[job].state == job_pb2.STATE_FAILED
    assert worker.stop() == 0
    assert broker.stop() == 0

    site.started(broker, **armed(place))
    assert site.tqbroker("dead", "redrive", job).returncode != 0
    assert broker.wait() == -signal.SIGKILL
    site.started(broker)
    assert site.wire.statuses([job])[job].state == job_pb2.STATE_QUEUED
    assert "QUEUED" in site.tqbroker("dead", "redrive", job).stdout
    site.worker()

    assert site.wire.finals([job])[job].state == job_pb2.STATE_FAILED
    assert len(site.history.read().starts[1]) == 2


@kills_at("after_annotate_commit")
def test_a_broker_killed_after_it_stored_a_checkpoint_lets_the_job_go_on(site: Site, place: str) -> None:
    broker = site.broker(**armed(place, 10))
    site.worker()

    with Load(site.calls.step, site.history, JOBS, threads=3):
        assert broker.wait() == -signal.SIGKILL
        site.started(broker)

    site.check(lost=0)


@kills_at("after_payment")
def test_a_broker_killed_after_it_paid_for_starts_hands_out_what_it_had_not(site: Site, place: str) -> None:
    broker = site.broker(**armed(place, 5))
    assert site.tqbroker("limits", "set", "task:tasks.mark", "--rate", "500/s").returncode == 0
    site.worker()

    with Load(site.calls.mark, site.history, 4 * JOBS, threads=3):
        assert broker.wait() == -signal.SIGKILL
        site.started(broker)

    site.check(lost=0)
