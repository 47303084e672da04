"""After a restart the broker waits for the workers it knew: for their jobs' sake, and not longer than a lease lasts."""

from __future__ import annotations

import signal

import pytest
from tests.acceptance.harness.daemon import Daemon
from tests.acceptance.harness.load import submit_many
from tests.acceptance.harness.site import Site
from tests.acceptance.harness.waiting import PATIENCE, gone, until
from tests.mutants.catching import catches

pytestmark = [pytest.mark.crash, pytest.mark.proof("T16")]


def test_jobs_from_before_wait_for_a_missing_worker_and_new_ones_do_not(site: Site) -> None:
    broker = site.broker("--lease-ttl", "6")
    missing = site.worker()
    submit_many(site.calls.hold, site.history, 2)
    until(lambda: len(site.history.read().starts) == 2, "both jobs to start")
    (before,) = submit_many(site.calls.mark, site.history, 1)
    children = missing.children()
    broker.kill()
    missing.kill()
    gone(children)
    site.started(broker)
    site.worker(name="other")

    (new,) = submit_many(site.calls.mark, site.history, 1)
    assert new.get(timeout=4) >= 0
    assert before.state == "PENDING"
    assert list(site.wire.broker().awaited) == ["worker@test"]
    assert "worker@test" in site.tqbroker("status").stdout

    site.gate.touch()
    site.check(killed=children, lost=2, counted=False)


def test_nobody_waits_when_every_worker_is_back_or_has_left(site: Site) -> None:
    """The lease would last half a minute: what is handed out sooner was not waited for."""
    broker = site.broker()
    staying, leaving = site.worker(), site.worker(name="leaving")
    assert leaving.stop() == 0
    submit_many(site.calls.hold, site.history, 2)
    until(lambda: len(site.history.read().starts) == 2, "both jobs to start")
    (before,) = submit_many(site.calls.mark, site.history, 1)

    broker.kill()
    site.started(broker)
    site.wire.connected(staying.pid)
    site.gate.touch()

    assert before.get(timeout=5) >= 0
    assert not site.wire.broker().awaited
    site.check(lost=0)


def slow_to_come_back(site: Site, broker: Daemon) -> None:
    """The broker starts again; a worker with running jobs is slower to notice than one that has none."""
    slow = site.worker()
    submit_many(site.calls.hold, site.history, 2)
    until(lambda: len(site.history.read().starts) == 2, "both jobs to start")
    quick = site.worker("-c", "3", name="quick")
    slow.signal(signal.SIGSTOP)
    broker.kill()
    site.started(broker)
    site.wire.connected(quick.pid)
    (new,) = submit_many(site.calls.mark, site.history, 1)
    assert new.get(timeout=PATIENCE) >= 0  # so that the quick one has been served
    slow.signal(signal.SIGCONT)
    site.wire.connected(slow.pid)
    site.gate.touch()


def test_a_worker_that_is_slow_to_come_back_keeps_its_jobs(site: Site) -> None:
    slow_to_come_back(site, site.broker())

    site.check(lost=0)


@pytest.mark.long
@catches("no_recovery_wait")
def test_a_slow_worker_shows_that_a_broker_does_not_wait_for_it(site: Site, mutant: str) -> None:
    slow_to_come_back(site, site.broker(mutant=mutant))

    assert any(fault.startswith("I4") for fault in site.faults(lost=0))


@catches("held_not_named")
def test_a_restart_shows_that_a_worker_does_not_say_what_it_runs(site: Site, mutant: str) -> None:
    broker = site.broker()
    worker = site.worker(mutant=mutant)
    submit_many(site.calls.hold, site.history, 2)
    until(lambda: len(site.history.read().starts) == 2, "both jobs to start")

    broker.kill()
    site.started(broker)
    site.wire.connected(worker.pid)
    site.gate.touch()

    assert any(fault.startswith("I4") for fault in site.faults(lost=0))
