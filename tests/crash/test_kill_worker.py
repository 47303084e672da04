"""kill -9 of a worker or of one of its children: every job still ends, and runs again only if it was really lost."""

from __future__ import annotations

import os
import signal
from random import Random

import pytest
from tests.acceptance.harness.checker import check
from tests.acceptance.harness.load import Load, submit_many
from tests.acceptance.harness.site import Site
from tests.acceptance.harness.waiting import PATIENCE, gone, until
from tests.proof.amount import seeds

from tqbroker.exceptions import WorkerLostError

JOBS = 3000

pytestmark = [pytest.mark.crash, pytest.mark.proof("T5")]


@seeds(3, 10)
def test_a_killed_worker_costs_its_running_jobs_one_attempt(site: Site, seed: int) -> None:
    moment = Random(seed).randrange(50, JOBS - 50)
    site.broker()
    worker = site.worker()

    with Load(site.calls.mark, site.history, JOBS, threads=4) as load:
        load.after(moment)
        children = worker.children()
        worker.kill()
        worker.start()

    site.check(killed=children)
    assert len(children) == 2


@seeds(3, 10)
def test_a_killed_child_costs_its_running_job_one_attempt(site: Site, seed: int) -> None:
    random = Random(seed)
    moment = random.randrange(50, JOBS - 50)
    site.broker()
    worker = site.worker()

    with Load(site.calls.mark, site.history, JOBS, threads=4) as load:
        load.after(moment)
        child = random.choice(worker.children())
        os.kill(child, signal.SIGKILL)
        site.counts["kills"] += 1

    site.check(killed=[child])
    until(lambda: len(worker.children()) == 2, "the killed child to be replaced")
    assert worker.running


def test_children_end_soon_after_their_parent_was_killed(site: Site) -> None:
    site.broker()
    worker = site.worker()
    submit_many(site.calls.hold, site.history, 2)
    until(lambda: len(site.history.read().starts) == 2, "both jobs to start")
    children = worker.children()

    worker.kill()

    gone(children, timeout=5)
    assert worker.log.closed(5), "somebody still holds the worker's stderr"


def test_another_worker_takes_over_when_the_first_stays_away(site: Site) -> None:
    site.broker("--grace", "0.5")
    first = site.worker()
    submit_many(site.calls.hold, site.history, 2)
    until(lambda: len(site.history.read().starts) == 2, "both jobs to start")
    children = first.children()

    first.kill()
    site.worker(name="second")
    site.gate.touch()

    site.check(killed=children, lost=2)
    assert len(site.history.read().unfinished()) == 2


def test_a_job_that_kills_its_process_ends_after_three_attempts_and_harms_no_other(site: Site) -> None:
    site.broker()
    worker = site.worker()
    poison = site.calls.die.delay(-1)

    submit_many(site.calls.mark, site.history, 500)
    with pytest.raises(WorkerLostError):
        poison.get(timeout=PATIENCE)

    assert poison.state == "FAILURE"
    settled = site.settle()
    events = site.history.read()
    assert len(events.starts.pop(-1)) == 3
    check(events, settled)
    site.counts["jobs"] += len(settled)
    assert worker.running
