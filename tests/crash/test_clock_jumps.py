"""The wall clock of broker and worker is put forward and back while they work: nobody loses anything by it."""

from __future__ import annotations

import signal
from collections import Counter
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from tests.acceptance.harness.daemon import Daemon
from tests.acceptance.harness.load import Load
from tests.acceptance.harness.site import Site
from tests.acceptance.harness.waiting import PATIENCE, until
from tests.mutants.catching import catches
from tests.proof.amount import amount, seeds
from tests.proof.wallclock import FIRST_MS, WallClock

from tqbroker import AsyncResult
from tqbroker.states import Phase

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
JUMPS = (HOUR, -2 * HOUR, 400 * DAY, -400 * DAY, timedelta(seconds=5), timedelta(seconds=-90), -50 * 365 * DAY)
DYING_CLOCK = datetime.fromtimestamp(FIRST_MS / 1000, UTC)

pytestmark = [pytest.mark.crash, pytest.mark.proof("T15")]


@pytest.fixture
def clock(site: Site) -> WallClock:
    """The broker's."""
    return WallClock(site.folder / "clock")


def submitted(site: Site, countdown: float | None = None) -> AsyncResult[int]:
    """One more job, written down."""
    number = next(Load.numbers)
    site.history.write("invoke", number)
    job = site.calls.mark.apply_async((number,), countdown=countdown)
    site.history.write("ok", number, job.id)
    return job


def held(site: Site) -> None:
    """Two jobs that run until the gate opens, with time limits that they do not reach."""
    for _ in range(2):
        number = next(Load.numbers)
        site.history.write("invoke", number)
        job = site.calls.hold.apply_async((number,), time_limit=60, soft_time_limit=50)
        site.history.write("ok", number, job.id)
    until(lambda: len(site.history.read().starts) == 2, "both jobs to start")


def is_seen(site: Site) -> None:
    """Returns when the broker has looked at the new time: a delay has passed by it, longer than looks are apart."""
    submitted(site, countdown=0.6).get(timeout=PATIENCE)


def is_judged(site: Site, worker: Daemon, clock: WallClock, by: timedelta) -> None:
    """The clock jumps, and the broker looks at its leases before the worker can say that it is still there."""
    worker.signal(signal.SIGSTOP)
    clock.jump(by)
    try:
        job = submitted(site, countdown=0.6)
        until(lambda: job.phase is not Phase.SCHEDULED, "a delay to pass by the new time")
    finally:
        worker.signal(signal.SIGCONT)
    job.get(timeout=PATIENCE)


def jumping(site: Site, clock: WallClock, random: Random, jumps: int, counts: Counter[str]) -> None:
    """Under load, every jump of the broker's clock and as many of the worker's; then everything comes to its end."""
    theirs = WallClock(site.folder / "theirs")
    worker = site.worker("-c", "6", **theirs.environment)
    held(site)
    chosen = [random.choice(JUMPS) for _ in range(jumps - 1)]
    with Load(site.calls.mark, site.history, 10**6, threads=2) as load:
        try:
            for by in random.sample([HOUR, *chosen], jumps):
                load.after(load.answered + 20)
                theirs.jump(random.choice(JUMPS))
                is_judged(site, worker, clock, by)
                counts["jumps"] += 2
        finally:
            load.stop()
    site.gate.touch()


@seeds(1, 5)
def test_no_jump_loses_a_lease_or_runs_a_job_again(
    site: Site, clock: WallClock, seed: int, counts: Counter[str]
) -> None:
    site.broker(**clock.environment)

    jumping(site, clock, Random(seed), amount(2, 8), counts)

    site.check(lost=0)


@pytest.mark.long
@catches("lease_on_wall_clock")
def test_a_broker_that_measures_leases_by_the_wall_clock_is_caught(
    site: Site, clock: WallClock, mutant: str, counts: Counter[str]
) -> None:
    site.broker(mutant=mutant, **clock.environment)

    jumping(site, clock, Random(1), 1, counts)

    with pytest.raises(AssertionError, match="leases were lost"):
        site.check(lost=0)


# -- what is kept ------------------------------------------------------------------------------------------------------


def resent_after_a_jump(site: Site, clock: WallClock, mutant: str = "") -> None:
    """A result is asked for, and its job sent again, after a year has jumped by, and the broker has died on top."""
    broker = site.broker(mutant=mutant, **clock.environment)
    site.worker()
    done = submitted(site)
    assert done.get(timeout=PATIENCE) is not None
    clock.jump(400 * DAY)
    is_seen(site)
    broker.kill()
    site.started(broker, **clock.environment)
    is_seen(site)
    (number,) = (number for number, job in site.history.read().acknowledged.items() if job == done.id)
    site.calls.mark.apply_async((number,), task_id=done.id)
    is_seen(site)


def test_a_clock_put_forward_takes_no_result_and_lets_no_resend_run_again(
    site: Site, clock: WallClock, counts: Counter[str]
) -> None:
    resent_after_a_jump(site, clock)
    counts["jumps"] += 1

    site.check(lost=0)


@pytest.mark.long
@catches("a_jump_ages_everything")
def test_a_broker_that_forgets_what_is_old_only_by_a_jump_is_caught(site: Site, clock: WallClock, mutant: str) -> None:
    resent_after_a_jump(site, clock, mutant)

    with pytest.raises(AssertionError, match=r"ran 2 times"):
        site.check(lost=0)


# -- tokens ------------------------------------------------------------------------------------------------------------


def tokens(site: Site, clock: WallClock, mutant: str = "") -> list[int]:
    """The tokens of one job each: today, after each of two starts in 1970, and when the clock has been put right."""
    broker = site.broker(mutant=mutant, **clock.environment)
    site.worker()
    found = [token(site)]
    for _ in range(2):
        broker.kill()
        clock.set(DYING_CLOCK)
        site.started(broker, **clock.environment)
        found.append(token(site))
    clock.right()
    return [*found, token(site)]


def token(site: Site) -> int:
    """That of a job that has just run."""
    job = submitted(site)
    assert job.get(timeout=PATIENCE) is not None
    return site.wire.statuses([job.id])[job.id].token


@pytest.mark.long
def test_tokens_rise_over_starts_with_the_clock_in_1970(site: Site, clock: WallClock) -> None:
    found = tokens(site, clock)

    assert found == sorted(set(found))
    site.check(lost=0)


@pytest.mark.long
@catches("epoch_is_the_clock")
def test_tokens_that_follow_the_clock_are_caught(site: Site, clock: WallClock, mutant: str) -> None:
    found = tokens(site, clock, mutant)

    assert found != sorted(set(found))
