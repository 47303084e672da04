"""A backup takes the place of its store while workers and clients are connected: nothing of the two is mixed up."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from tests.acceptance.harness.daemon import Daemon
from tests.acceptance.harness.load import submit_many
from tests.acceptance.harness.site import Site
from tests.acceptance.harness.waiting import until

from tqbroker import AsyncResult
from tqbroker.exceptions import ResultNotFound
from tqbroker.v1 import job_pb2

pytestmark = pytest.mark.proof("T27")


@pytest.fixture
def file(site: Site) -> Path:
    """Where the backup goes."""
    return site.folder / "backup"


def save(site: Site, file: Path) -> None:
    """`tqbroker backup`."""
    done = site.tqbroker("backup", file)
    assert done.returncode == 0, done.stderr
    assert ", verified" in done.stdout


def put_back(site: Site, file: Path) -> None:
    """The store goes away, and the backup comes in its place."""
    site.data.rename(site.folder / "former")
    done = site.tqbroker("restore", file, "--data-dir", site.data)
    assert done.returncode == 0, done.stderr


def started(site: Site, runs: int) -> None:
    """Returns when so many bodies have begun."""
    until(lambda: sum(map(len, site.history.read().starts.values())) == runs, f"{runs} runs to start")


def status(site: Site, job: AsyncResult[int]) -> job_pb2.JobStatus:
    return site.wire.finals([job.id])[job.id]


def replaced(site: Site, broker: Daemon, file: Path) -> None:
    """The broker stops, and serves what was restored at the same address."""
    broker.stop()
    put_back(site, file)
    site.started(broker)


def test_a_running_job_of_the_former_store_counts_for_nothing_in_the_restored_one(site: Site, file: Path) -> None:
    broker = site.broker()
    worker = site.worker()
    (job,) = submit_many(site.calls.hold, site.history, 1)
    started(site, 1)
    former = site.wire.broker().store
    save(site, file)
    begun = len(worker.log.lines)

    replaced(site, broker, file)
    worker.expect("another store than before: 1 jobs of the former one are dropped", since=begun)
    started(site, 2)
    site.gate.touch()

    seen = status(site, job)
    assert site.wire.broker().store != former
    assert seen.state == job_pb2.STATE_SUCCEEDED
    assert seen.lost_leases == 0
    until(lambda: not site.history.read().unfinished(), "the former run to end")
    assert status(site, job) == seen, "what the former run returns changes nothing"
    assert worker.stop() == 0


@pytest.mark.long
def test_an_outcome_of_the_former_store_is_refused_and_the_job_runs_in_the_restored_one(site: Site, file: Path) -> None:
    broker = site.broker()
    worker = site.worker()
    (job,) = submit_many(site.calls.hold, site.history, 1)
    started(site, 1)
    save(site, file)
    begun = len(worker.log.lines)

    broker.stop()
    site.gate.touch()  # it ends while nobody is there to be told
    until(lambda: not site.history.read().unfinished(), "the run to end")
    put_back(site, file)
    site.started(broker)

    worker.expect("another store than before: 1 jobs of the former one are dropped", since=begun)
    seen = status(site, job)
    assert (seen.state, seen.lost_leases, seen.retries) == (job_pb2.STATE_SUCCEEDED, 0, 0)
    assert sum(map(len, site.history.read().starts.values())) == 2


def test_who_waits_hears_of_the_restored_store_or_that_it_has_no_such_job(site: Site, file: Path) -> None:
    broker = site.broker()
    site.calls.app.conf.request_timeout = 20
    (kept,) = submit_many(site.calls.mark, site.history, 1)
    save(site, file)
    (younger,) = submit_many(site.calls.mark, site.history, 1)
    answers: dict[str, object] = {}
    waiting = [threading.Thread(target=_wait, args=(job, answers), daemon=True) for job in (kept, younger)]
    for thread in waiting:
        thread.start()

    replaced(site, broker, file)
    site.worker()
    for thread in waiting:
        thread.join(30)

    assert isinstance(answers[kept.id], int)
    assert isinstance(answers[younger.id], ResultNotFound)
    assert [run.id for runs in site.history.read().starts.values() for run in runs] == [kept.id]


def _wait(job: AsyncResult[int], answers: dict[str, object]) -> None:
    try:
        answers[job.id] = job.get(timeout=30)
    except Exception as error:
        answers[job.id] = error
