"""kill -9 at the worst moments: between two steps that belong together."""

from __future__ import annotations

import signal

import pytest
from tests.acceptance.harness.load import Load
from tests.acceptance.harness.site import Site
from tests.acceptance.harness.waiting import is_running

JOBS = 400
BATCH = 64
"""Outcomes a child reports together: what it has done since the last report is lost with it."""
BROKER = [
    "before_commit",
    "after_commit",
    "before_apply",
    "after_commit_before_reply",
    "after_grant",
    "before_send",
    "after_finish_commit",
]

pytestmark = [pytest.mark.crash, pytest.mark.proof("T3")]


def armed(place: str, nth: int) -> dict[str, str]:
    return {"TQ_TESTING": "1", "TQ_FAILPOINT": f"{place}:{nth}=kill9"}


def dead(site: Site) -> set[int]:
    """Processes that have run jobs and are gone."""
    pids = {run.pid for runs in site.history.read().starts.values() for run in runs}
    return {pid for pid in pids if not is_running(pid)}


@pytest.mark.parametrize("place", BROKER)
def test_a_broker_killed_at_this_point_keeps_its_promises(site: Site, place: str) -> None:
    broker = site.broker(**armed(place, 20))
    site.worker()

    with Load(site.calls.mark, site.history, JOBS, threads=3):
        assert broker.wait() == -signal.SIGKILL
        site.started(broker)

    site.check(lost=0)


@pytest.mark.parametrize("place", ["worker_before_send_outcome", "worker_after_receive"])
def test_a_worker_killed_at_this_point_loses_no_job(site: Site, place: str) -> None:
    site.broker()
    worker = site.worker(**armed(place, 20))

    with Load(site.calls.mark, site.history, JOBS, threads=3):
        assert worker.wait() == -signal.SIGKILL
        assert worker.log.closed(5), "a child has outlived its parent"
        killed = dead(site)
        worker.start()

    site.check(killed=killed)


@pytest.mark.parametrize("place", ["child_before_run", "child_after_run"])
def test_a_child_killed_at_this_point_loses_no_job(site: Site, place: str) -> None:
    """Each child that takes the place of a killed one is killed at the same point in turn."""
    site.broker()
    worker = site.worker(**armed(place, 100))

    with Load(site.calls.mark, site.history, JOBS, threads=3):
        pass
    statuses = site.settle()

    site.check(killed=dead(site))
    assert worker.running
    kills = sum("was killed by signal 9" in line.text and "lost:" not in line.text for line in worker.log.lines)
    assert kills >= 1
    assert kills <= sum(status.lost_leases for status in statuses.values()) <= kills * BATCH


def test_a_broker_killed_while_it_opens_or_stops_serves_at_the_next_start(site: Site) -> None:
    broker = site.broker(**armed("at_shutdown", 1))
    result = site.calls.mark.delay(7)
    assert broker.stop() == -signal.SIGKILL

    broker.start(**armed("at_open", 1))
    assert broker.wait() == -signal.SIGKILL
    site.started(broker)
    site.worker()

    assert result.get(timeout=20) == 7
