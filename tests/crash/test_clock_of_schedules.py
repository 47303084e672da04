"""Schedules while the clock of their broker is put forward and back, and in the nights in which all clocks are."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, time, timedelta
from random import Random

import pytest
from tests.acceptance.harness.daemon import Daemon
from tests.acceptance.harness.site import Site
from tests.acceptance.harness.ticks import Ticks
from tests.acceptance.harness.waiting import PATIENCE, until
from tests.mutants.catching import catches
from tests.proof.amount import amount, seeds
from tests.proof.wallclock import WallClock

from tqbroker.states import Phase
from tqbroker.v1 import admin_pb2, job_pb2, schedule_pb2

JUMPS = [timedelta(seconds=seconds) for seconds in (-2, -30, -3600, 3, 90, 3600)]

pytestmark = [pytest.mark.crash, pytest.mark.proof("T24")]


@pytest.fixture
def clock(site: Site) -> WallClock:
    """The broker's."""
    return WallClock(site.folder / "clock")


def is_looked_at(site: Site) -> None:
    """Returns when the broker has looked at its schedules by the time that it has now."""
    job = site.calls.mark.apply_async((0,), countdown=0.6)
    until(lambda: job.phase is not Phase.SCHEDULED, "a delay to pass")


def catches_up(site: Site, clock: WallClock, ticks: Ticks) -> None:
    """The clock is put to the next moment, if that is to come, and the schedule goes on."""
    state = ticks.info()
    clock.jump(timedelta(milliseconds=max(0, state.next_unix_ms - clock.now_ms())))
    until(lambda: ticks.info().fired > state.fired, "another second")


def ticking(site: Site, broker: Daemon, clock: WallClock, random: Random, counts: Counter[str]) -> Ticks:
    """Jumps and deaths, in any order."""
    ticks = Ticks(site.wire)
    for _ in range(amount(2, 15)):
        clock.jump(random.choice(JUMPS))
        counts["jumps"] += 1
        if random.random() < 0.5:
            broker.kill()
            site.started(broker, **clock.environment)
        is_looked_at(site)
        if random.random() < 0.5:
            catches_up(site, clock, ticks)
    catches_up(site, clock, ticks)
    return ticks


@pytest.mark.timeout(400)
@seeds(1, 2)
def test_every_second_has_one_job_whatever_the_clock_does(
    site: Site, clock: WallClock, seed: int, counts: Counter[str]
) -> None:
    ticks = ticking(site, site.broker(**clock.environment), clock, Random(seed), counts)

    counts["jobs"] += ticks.check()


@pytest.mark.long
@catches("schedule_looks_back")
def test_a_schedule_that_fires_again_when_the_clock_is_put_back_is_caught(
    site: Site, clock: WallClock, mutant: str
) -> None:
    site.broker(mutant=mutant, **clock.environment)
    ticks = Ticks(site.wire)
    until(lambda: ticks.info().fired > 2, "three seconds")
    clock.jump(timedelta(seconds=-2))
    is_looked_at(site)
    catches_up(site, clock, ticks)

    with pytest.raises(AssertionError, match=r"I7: .* has 2 jobs"):
        ticks.check()


# -- the nights in which clocks are put forward and back ---------------------------------------------------------------


def put(site: Site, **schedule: str) -> None:
    """A schedule in Berlin."""
    job = job_pb2.JobBatch(task="tasks.tick", format="json", args=[b"[[],{}]"])
    made = schedule_pb2.Schedule(zone="Europe/Berlin", misfire=schedule_pb2.MISFIRE_ALL, misfire_max=100, job=job)
    for field, value in schedule.items():
        setattr(made, field, value)
    site.wire.admin.SetSchedules(admin_pb2.SetSchedulesRequest(put=[made]), timeout=PATIENCE, wait_for_ready=True)


def moments(site: Site, name: str) -> list[str]:
    """The moments (UTC) for which it has fired."""
    answer = site.wire.admin.ListSchedules(admin_pb2.ListSchedulesRequest(), timeout=PATIENCE)
    (info,) = (each for each in answer.schedules if each.schedule.name == name)
    planned = [firing.planned_unix_ms for firing in info.recent if firing.job]
    return [f"{datetime.fromtimestamp(at / 1000, UTC):%d %H:%M}" for at in planned]


@pytest.mark.parametrize(
    ("begin", "passes", "nightly", "quarterly"),
    [
        # 02:30 is left out: it fires when the gap is over.
        (datetime(2027, 3, 28, 0, 59, 58, tzinfo=UTC), ["01:14:58"], ["28 01:00"], ["28 01:00", "28 01:15"]),
        # 02:30 comes twice: it fires at the first.
        pytest.param(
            datetime(2027, 10, 31, 0, 29, 58, tzinfo=UTC),
            ["01:29:58", "01:44:58"],
            ["31 00:30"],
            ["31 00:30", "31 00:45", "31 01:00", "31 01:15", "31 01:30", "31 01:45"],
            marks=pytest.mark.long,
        ),
    ],
    ids=["forward", "back"],
)
def test_what_is_planned_for_a_night_fires_once_in_a_night_of_the_change(
    site: Site,
    clock: WallClock,
    counts: Counter[str],
    begin: datetime,
    passes: list[str],
    nightly: list[str],
    quarterly: list[str],
) -> None:
    clock.set(begin - timedelta(minutes=5))
    broker = site.broker(**clock.environment)
    put(site, name="nightly", cron="30 2 * * *")
    put(site, name="quarterly", cron="*/15 2-3 * * *")
    for moment in [begin, *(datetime.combine(begin, time.fromisoformat(each), UTC) for each in passes)]:
        clock.set(moment)
        counts["jumps"] += 1
        soon = f"{moment + timedelta(seconds=2):%d %H:%M}"
        until(lambda soon=soon: soon in moments(site, "quarterly"), soon)  # type: ignore[misc]
    broker.kill()
    site.started(broker, **clock.environment)
    is_looked_at(site)

    assert moments(site, "nightly") == nightly
    assert moments(site, "quarterly") == quarterly
