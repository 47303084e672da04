"""kill -9 of the broker at any moment: what was acknowledged runs, and runs once."""

from __future__ import annotations

from random import Random

import pytest
from tests.acceptance.harness.load import Load
from tests.acceptance.harness.site import Site
from tests.mutants.catching import catches
from tests.proof.amount import amount, seeds

JOBS = amount(1500, 5000)

pytestmark = [pytest.mark.crash, pytest.mark.proof("T3")]


@seeds(1, 15)
def test_every_acknowledged_job_runs_once_when_the_broker_is_killed_under_load(site: Site, seed: int) -> None:
    moment = Random(seed).randrange(50, JOBS - 50)
    broker = site.broker()
    site.worker()

    with Load(site.calls.mark, site.history, JOBS, threads=4) as load:
        load.after(moment)
        broker.kill()
        site.started(broker)

    site.check(lost=0)
    print(f"seed {seed}: killed after {moment} answers; the longest call took {load.longest:.2f} s")


@seeds(1, 5)
def test_and_when_it_is_killed_again_while_it_recovers(site: Site, seed: int) -> None:
    random = Random(seed)
    broker = site.broker()
    site.worker()

    with Load(site.calls.mark, site.history, JOBS, threads=4) as load:
        for moment in sorted(random.sample(range(50, JOBS - 50), 3)):
            load.after(moment)
            broker.kill()
            site.started(broker)
            broker.kill()
            site.started(broker)

    site.check(lost=0)


@catches("events_behind", "event_numbers_left_out")
def test_a_kill_shows_that_the_event_log_is_not_what_happened(site: Site, mutant: str) -> None:
    broker = site.broker(mutant=mutant)
    site.worker()
    with Load(site.calls.mark, site.history, 200, threads=2) as load:
        load.after(100)
        broker.kill()
        site.started(broker)

    said = {"events_behind": "I1: the log tells of job", "event_numbers_left_out": "is followed by event"}[mutant]
    assert any(said in fault for fault in site.faults(lost=0))
