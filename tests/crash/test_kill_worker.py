"""kill -9 of a worker or of one of its children: every job still ends, and runs again only if it was really lost."""

from __future__ import annotations

import os
import signal
import time
from random import Random
from statistics import median

import pytest
from tests.acceptance.harness.checker import check
from tests.acceptance.harness.daemon import Daemon
from tests.acceptance.harness.load import Load, submit_many
from tests.acceptance.harness.mixed import QUEUES, Mixed
from tests.acceptance.harness.site import FEW, LOSABLE, Site
from tests.acceptance.harness.waiting import PATIENCE, gone, until
from tests.mutants.catching import catches
from tests.proof.amount import amount, seeds

from tqbroker.exceptions import WorkerLostError

JOBS = amount(1500, 3000)
AGAIN = 1.0
"""Seconds within which a job runs again whose process was killed, where another process is free."""
USUAL = 0.1
"""Seconds that a call takes from its submit to its result on a machine with which AGAIN holds; often 10 ms."""

pytestmark = [pytest.mark.crash, pytest.mark.proof("T5")]


@seeds(1, 10)
def test_a_killed_worker_costs_its_running_jobs_one_attempt(site: Site, seed: int) -> None:
    moment = Random(seed).randrange(50, JOBS - 50)
    site.broker()
    worker = site.worker(*FEW)

    with Load(site.calls.mark, site.history, JOBS, threads=4) as load:
        load.after(moment)
        children = worker.children()
        worker.kill()
        worker.start()

    site.check(killed=children, lost=LOSABLE)
    assert len(children) == 2


@seeds(1, 10)
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


@seeds(1, 4)
def test_every_call_comes_to_its_end_however_often_workers_and_children_are_killed(site: Site, seed: int) -> None:
    random = Random(seed)
    site.broker("--max-lost-leases", "1000", "--grace", "0.5")
    queues = ("-Q", ",".join(QUEUES))
    workers = [site.worker(*queues, *FEW), site.worker(*queues, *FEW, name="second")]

    with Mixed(site.calls.app, site.history, random, alone=False) as load:
        for _ in range(amount(4, 30)):
            load.after(load.answered + random.randrange(1, 200))
            kill_some(site, random.choice(workers), random)
        load.stop()

    site.check(killed=site.dead())
    assert load.disorder(site.history.read()) == []


def kill_some(site: Site, worker: Daemon, random: Random) -> None:
    """The whole of a worker, which comes back, or one of its children."""
    children = worker.children()
    if children and random.random() < 0.5:
        site.counts["kills"] += 1
        os.kill(random.choice(children), signal.SIGKILL)
    else:
        worker.kill()
        worker.start()


def test_a_job_whose_child_was_killed_runs_again_within_a_second(site: Site) -> None:
    site.broker("--max-lost-leases", "1000")
    worker = site.worker()
    (job,) = submit_many(site.calls.hold, site.history, 1)
    (number,) = site.history.read().acknowledged
    took: list[float] = []
    usual: list[float] = []
    for kill in range(amount(2, 10)):
        until(lambda: len(site.history.read().starts[number]) > len(took), "the job to run")
        called(site)  # by now there is another child that is ready
        usual.append(called(site))
        begun = time.monotonic()
        os.kill(site.history.read().starts[number][kill].pid, signal.SIGKILL)
        site.counts["kills"] += 1
        until(lambda: len(site.history.read().starts[number]) > len(took) + 1, "the job to run again")
        took.append(time.monotonic() - begun)
    site.gate.touch()

    assert median(took) < AGAIN * max(1.0, median(usual) / USUAL), usual
    assert job.get(timeout=PATIENCE) == number
    site.check(killed=site.dead())
    assert worker.running


def called(site: Site) -> float:
    """Seconds that a call takes from its submit to its result: in the other process, while one holds a job."""
    begun = time.monotonic()
    (job,) = submit_many(site.calls.mark, site.history, 1)
    job.get(timeout=PATIENCE)
    return time.monotonic() - begun


@catches("lost_jobs_uncounted")
def test_a_killed_child_shows_that_a_broker_does_not_count_what_is_lost(site: Site, mutant: str) -> None:
    site.broker(mutant=mutant)
    site.worker()
    submit_many(site.calls.hold, site.history, 1)
    until(lambda: site.history.read().starts, "the job to run")
    os.kill(site.history.read().starts.popitem()[1][0].pid, signal.SIGKILL)
    site.gate.touch()

    found = site.faults(killed=site.dead())
    assert any(fault.startswith("I4") for fault in found), found


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
