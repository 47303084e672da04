"""A schedule over many deaths of the broker: each of its moments has exactly one job."""

from __future__ import annotations

import signal
from random import Random

import pytest
from tests.acceptance.harness.site import Site
from tests.acceptance.harness.waiting import PATIENCE, until
from tests.proof.amount import seeds

from tqbroker.v1 import admin_pb2, job_pb2, schedule_pb2

PLACES = ("before_commit", "after_commit", "before_apply", "in_fire")
SECOND_MS = 1000

pytestmark = [pytest.mark.crash, pytest.mark.proof("T24")]


def put(site: Site, **fields: int) -> None:
    """Every whole second, and what is missed is made up for."""
    schedule = schedule_pb2.Schedule(
        name="tick",
        every_ms=SECOND_MS,
        relative=True,
        misfire=schedule_pb2.MISFIRE_ALL,
        misfire_max=10_000,
        job=job_pb2.JobBatch(task="tasks.mark", format="json", args=[b"[[1],{}]"]),
        **fields,  # type: ignore[arg-type]
    )
    request = admin_pb2.SetSchedulesRequest(put=[schedule])
    site.wire.admin.SetSchedules(request, timeout=PATIENCE, wait_for_ready=True)


def info(site: Site) -> schedule_pb2.ScheduleInfo:
    request = admin_pb2.ListSchedulesRequest()
    (found,) = site.wire.admin.ListSchedules(request, timeout=PATIENCE, wait_for_ready=True).schedules
    return found


def jobs(site: Site) -> list[job_pb2.JobStatus]:
    """All jobs of the schedule."""
    found: list[job_pb2.JobStatus] = []
    wanted = admin_pb2.JobFilter(stamps=["schedule=tick"])
    request = admin_pb2.ListJobsRequest(filter=wanted, limit=1000)
    while True:
        page = site.wire.admin.ListJobs(request, timeout=PATIENCE, wait_for_ready=True)
        found += page.jobs
        if not page.cursor:
            return found
        request = admin_pb2.ListJobsRequest(filter=wanted, limit=1000, cursor=page.cursor)


def check(site: Site, first_ms: int) -> int:
    """Every second from the first to the last that was dealt with has one job. Returns how many."""
    state = info(site)
    fired = list(range(first_ms, state.last_unix_ms + 1, SECOND_MS))
    stamps = [stamp for job in jobs(site) for stamp in job.traits.stamps if stamp.startswith("planned=")]
    assert len(set(stamps)) == len(stamps) == len(fired)
    assert (state.fired, state.skipped) == (len(fired), 0)
    assert [firing.planned_unix_ms for firing in state.recent] == fired[-10:]
    return len(fired)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("restarts", [5, pytest.param(30, marks=pytest.mark.long)])
@seeds(1, 3)
def test_every_second_has_one_job_however_often_the_broker_is_killed_as_it_fires(
    site: Site, seed: int, restarts: int
) -> None:
    random = Random(seed)
    broker = site.broker()
    put(site)
    first_ms = info(site).next_unix_ms
    broker.kill()
    for _ in range(restarts):
        place = f"{random.choice(PLACES)}:{random.randint(1, 2)}"
        broker.start(TQ_TESTING="1", TQ_FAILPOINT=f"{place}=kill9")
        assert broker.wait() == -signal.SIGKILL, place
    site.started(broker)
    fired = info(site).fired
    until(lambda: info(site).fired > fired, "another second")

    assert check(site, first_ms) >= restarts
