"""kill -9 at the worst moments: between two steps that belong together."""

from __future__ import annotations

import signal

import pytest
from tests.acceptance.harness.checker import BATCH
from tests.acceptance.harness.load import Load, submit_many
from tests.acceptance.harness.site import FEW, LOSABLE, Site
from tests.crash.failpoints import WITH_ANY_JOB, armed, kills_at

JOBS = 400
pytestmark = [pytest.mark.crash, pytest.mark.proof("T3")]


@kills_at(*WITH_ANY_JOB)
def test_a_broker_killed_at_this_point_keeps_its_promises(site: Site, place: str) -> None:
    broker = site.broker(**armed(place, 20))
    site.worker()

    with Load(site.calls.mark, site.history, JOBS, threads=3):
        assert broker.wait() == -signal.SIGKILL
        site.started(broker)

    site.check(lost=0)


@pytest.mark.proof("T5")
@kills_at("worker_before_send_outcome", "worker_after_receive")
def test_a_worker_killed_at_this_point_loses_no_job(site: Site, place: str) -> None:
    site.broker()
    worker = site.worker(*FEW, **armed(place, 20))

    with Load(site.calls.mark, site.history, JOBS, threads=3):
        assert worker.wait() == -signal.SIGKILL
        assert worker.log.closed(5), "a child has outlived its parent"
        killed = site.dead()
        worker.start()

    site.check(killed=killed, lost=LOSABLE)


@pytest.mark.proof("T5")
@kills_at("child_before_run", "child_after_run")
def test_a_child_killed_at_this_point_loses_no_job(site: Site, place: str) -> None:
    """Each child that takes the place of a killed one is killed at the same point in turn."""
    site.broker()
    worker = site.worker(**armed(place, 100))

    with Load(site.calls.mark, site.history, JOBS, threads=3):
        pass
    statuses = site.settle()

    site.check(killed=site.dead())
    assert worker.running
    kills = sum("was killed by signal 9" in line.text and "lost:" not in line.text for line in worker.log.lines)
    assert kills >= 1
    site.counts["kills"] += kills
    assert kills <= sum(status.lost_leases for status in statuses.values()) <= kills * BATCH


@kills_at("at_shutdown", "at_open")
def test_a_broker_killed_while_it_stops_or_opens_serves_at_the_next_start(site: Site, place: str) -> None:
    broker = site.broker(**armed("at_shutdown"))
    submit_many(site.calls.mark, site.history, 10)
    assert broker.stop() == -signal.SIGKILL
    if place == "at_open":
        broker.start(**armed(place))
        assert broker.wait() == -signal.SIGKILL

    site.started(broker)
    site.worker()

    site.check(lost=0)
