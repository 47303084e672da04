"""kill -9 of the broker at the steps beside the plain way of a job: time, operators, rates, checkpoints."""

from __future__ import annotations

import signal

import pytest
from tests.acceptance.harness.load import Load
from tests.acceptance.harness.site import Site

from tqbroker import AsyncResult
from tqbroker.v1 import job_pb2

JOBS = 100

pytestmark = [pytest.mark.crash, pytest.mark.proof("T3")]


def armed(place: str, nth: int = 1) -> dict[str, str]:
    return {"TQ_TESTING": "1", "TQ_FAILPOINT": f"{place}:{nth}=kill9"}


def delayed(site: Site, jobs: int, seconds: float) -> list[AsyncResult[int]]:
    """Calls that are due so much later."""
    results = []
    for number in range(jobs):
        site.history.write("invoke", number)
        results.append(site.calls.mark.apply_async((number,), countdown=seconds))
        site.history.write("ok", number, results[-1].id)
    return results


def test_a_broker_killed_while_jobs_fall_due_runs_each_of_them_once(site: Site) -> None:
    broker = site.broker(**armed("in_due"))
    delayed(site, JOBS, 1.0)
    assert broker.wait() == -signal.SIGKILL

    site.started(broker)
    site.worker()

    site.check(lost=0)


def test_a_broker_killed_while_jobs_expire_ends_each_of_them(site: Site) -> None:
    broker = site.broker(**armed("in_expire"))
    jobs = [site.calls.mark.apply_async((number,), expires=1.0).id for number in range(JOBS)]
    assert broker.wait() == -signal.SIGKILL

    site.started(broker)

    ends = site.wire.finals(jobs)
    assert {status.state for status in ends.values()} == {job_pb2.STATE_EXPIRED}
    assert len(ends) == JOBS
    counts = site.wire.counts()
    assert (counts.queued, counts.scheduled, counts.expired) == (0, 0, JOBS)


def test_a_broker_killed_after_a_redrive_has_redriven_once(site: Site) -> None:
    broker = site.broker()
    worker = site.worker()
    job = site.calls.nap.apply_async((1, "not a number")).id
    assert site.wire.finals([job])[job].state == job_pb2.STATE_FAILED
    assert worker.stop() == 0
    assert broker.stop() == 0

    site.started(broker, **armed("after_order_commit"))
    assert site.tqbroker("dead", "redrive", job).returncode != 0
    assert broker.wait() == -signal.SIGKILL
    site.started(broker)
    assert site.wire.statuses([job])[job].state == job_pb2.STATE_QUEUED
    assert "QUEUED" in site.tqbroker("dead", "redrive", job).stdout
    site.worker()

    assert site.wire.finals([job])[job].state == job_pb2.STATE_FAILED
    assert len(site.history.read().starts[1]) == 2


def test_a_broker_killed_after_it_stored_a_checkpoint_lets_the_job_go_on(site: Site) -> None:
    broker = site.broker(**armed("after_annotate_commit", 10))
    site.worker()

    with Load(site.calls.step, site.history, JOBS, threads=3):
        assert broker.wait() == -signal.SIGKILL
        site.started(broker)

    site.check(lost=0)


def test_a_broker_killed_after_it_paid_for_starts_hands_out_what_it_had_not(site: Site) -> None:
    broker = site.broker(**armed("after_payment", 5))
    assert site.tqbroker("limits", "set", "task:tasks.mark", "--rate", "500/s").returncode == 0
    site.worker()

    with Load(site.calls.mark, site.history, 4 * JOBS, threads=3):
        assert broker.wait() == -signal.SIGKILL
        site.started(broker)

    site.check(lost=0)
