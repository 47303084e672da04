"""Processes that neither run nor die: stopped for longer than a lease lasts, then going on as if nothing had been."""

from __future__ import annotations

import os
import signal
import time

import pytest
from tests.acceptance.harness.load import Load, submit_many
from tests.acceptance.harness.site import Site
from tests.acceptance.harness.waiting import until

FROZEN = 3.5
"""Seconds: more than three times the lease's."""

pytestmark = pytest.mark.crash


@pytest.mark.proof("T7")
def test_a_frozen_broker_takes_no_job_from_a_worker_that_was_there_all_the_time(site: Site) -> None:
    broker = site.broker("--lease-ttl", "1", "--grace", "0.5")
    worker = site.worker()
    submit_many(site.calls.hold, site.history, 1)
    site.calls.app.conf.submit_timeout = 20
    with Load(site.calls.mark, site.history, 10**6, threads=2) as load:
        load.after(100)
        broker.signal(signal.SIGSTOP)
        time.sleep(FROZEN)
        broker.signal(signal.SIGCONT)
        load.after(load.answered + 100)
        load.stop()
    site.wire.connected(worker.pid)
    site.gate.touch()

    site.check(lost=0)


@pytest.mark.proof("T8")
def test_a_frozen_worker_loses_its_jobs_and_its_late_outcomes_change_nothing(site: Site) -> None:
    site.broker("--lease-ttl", "1", "--grace", "0.5")
    frozen = site.worker()
    submit_many(site.calls.hold, site.history, 2)
    until(lambda: len(site.history.read().starts) == 2, "both jobs to start")
    children = frozen.children()
    for pid in (frozen.pid, *children):
        os.kill(pid, signal.SIGSTOP)
    site.counts["freezes"] += 1

    site.worker(name="second")
    site.gate.touch()
    statuses = site.settle()
    for pid in (*children, frozen.pid):
        os.kill(pid, signal.SIGCONT)

    assert {status.worker for status in statuses.values()} == {"second@test"}
    until(lambda: not site.history.read().unfinished(), "the late runs to end")
    assert frozen.stop() == os.EX_OK, "it waits for the broker's word on each outcome"
    site.check(killed=children, lost=2)
    assert {status.worker for status in site.settle().values()} == {"second@test"}
