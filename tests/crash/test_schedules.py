"""A schedule over many deaths of the broker: each of its moments has exactly one job."""

from __future__ import annotations

import signal
from random import Random

import pytest
from tests.acceptance.harness.site import Site
from tests.acceptance.harness.ticks import Ticks
from tests.acceptance.harness.waiting import until
from tests.crash.failpoints import armed, kills_at
from tests.mutants.catching import catches
from tests.proof.amount import amount, seeds

PLACES = ("before_commit", "after_commit", "before_apply", "in_fire")

pytestmark = [pytest.mark.crash, pytest.mark.proof("T24")]


@pytest.mark.timeout(400)
@seeds(1, 3)
def test_every_second_has_one_job_however_often_the_broker_is_killed_as_it_fires(site: Site, seed: int) -> None:
    random = Random(seed)
    restarts = amount(5, 30)
    broker = site.broker()
    ticks = Ticks(site.wire)
    broker.kill()
    for _ in range(restarts):
        place = random.choice(PLACES)
        broker.start(**armed(place, random.randint(1, 2)))
        assert broker.wait() == -signal.SIGKILL, place
    site.started(broker)
    fired = ticks.info().fired
    until(lambda: ticks.info().fired > fired, "another second")

    seconds = ticks.check()
    site.counts["jobs"] += seconds
    assert seconds >= restarts


def killed_in_fire(site: Site, place: str, mutant: str = "") -> Ticks:
    """The broker is killed as it fires for the first time, and goes on."""
    broker = site.broker(mutant=mutant, **armed(place))
    ticks = Ticks(site.wire)
    assert broker.wait() == -signal.SIGKILL

    site.started(broker)
    until(lambda: ticks.info().last_unix_ms > ticks.first_ms, "another second")
    return ticks


@kills_at("in_fire")
def test_a_second_has_one_job_when_the_broker_is_killed_as_it_fires_for_it(site: Site, place: str) -> None:
    site.counts["jobs"] += killed_in_fire(site, place).check()


@catches("slot_not_in_the_commit")
def test_a_kill_shows_that_what_has_fired_is_not_in_the_commit_of_its_job(site: Site, mutant: str) -> None:
    ticks = killed_in_fire(site, "in_fire", mutant)

    with pytest.raises(AssertionError, match=r"^I7: "):
        ticks.check()
