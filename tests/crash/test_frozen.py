"""Processes that neither run nor die: stopped for a while, then going on as if nothing had been."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.acceptance.harness.daemon import Daemon
from tests.acceptance.harness.load import Load, submit_many
from tests.acceptance.harness.site import Site
from tests.acceptance.harness.waiting import PATIENCE, stalled, until
from tests.crash.failpoints import armed
from tests.mutants.catching import catches
from tests.proof.amount import amount

TTL = 1.5
RULES = ("--lease-ttl", f"{TTL:g}", "--grace", "0.5")
SLOW = ("--lease-ttl", f"{2 * TTL:g}")
"""For what goes on a moment later than the broker."""
LONG = amount(2, 3) * TTL
"""Seconds in which every lease would run out."""
PAUSE = 0.1
"""Seconds between one of several frozen processes and the next to go on."""
LATE = 2.0
"""Seconds beyond the lease's within which a job runs again."""

pytestmark = pytest.mark.crash


def freeze(site: Site, pids: Iterable[int], seconds: float) -> None:
    """Stops processes, and lets them go on after so many seconds."""
    frozen = list(pids)
    site.counts["freezes"] += 1
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(seconds)
    for pid in reversed(frozen):
        os.kill(pid, signal.SIGCONT)
        time.sleep(PAUSE)


def hold(site: Site, jobs: int = 2) -> None:
    """Jobs that run until the gate opens."""
    submit_many(site.calls.hold, site.history, jobs)
    until(lambda: len(site.history.read().starts) >= jobs, "the jobs to start")


def around(site: Site, broker: Daemon, seconds: float) -> None:
    """The broker is frozen while jobs run, one worker idles, one client submits and another waits for a result."""
    worker, idle = site.worker(), site.worker("-Q", "nothing", name="idle")
    hold(site, 1)
    site.calls.app.conf.submit_timeout = 20
    waited = site.calls.app.AsyncResult(next(iter(site.history.read().acknowledged.values())))
    with ThreadPoolExecutor(1) as pool, Load(site.calls.mark, site.history, 10**6, threads=2) as load:
        value = pool.submit(waited.get, timeout=PATIENCE + seconds)
        load.after(100)
        freeze(site, [broker.pid], seconds)
        load.after(load.answered + 100)
        load.stop()
        for each in (worker, idle):
            site.wire.connected(each.pid)
        site.gate.touch()
        assert value.result() in site.history.read().acknowledged


@pytest.mark.proof("T7")
def test_a_frozen_broker_takes_no_job_from_a_worker_that_was_there_all_the_time(site: Site) -> None:
    around(site, site.broker(*RULES), LONG)

    site.check(lost=0)


@pytest.mark.long
@pytest.mark.proof("T7")
def test_a_broker_frozen_in_the_middle_of_a_commit_goes_on_with_it(site: Site) -> None:
    broker = site.broker(*RULES, **armed("before_commit", 40, "sleep:1"))
    site.worker()
    with Load(site.calls.mark, site.history, 2000, threads=2) as load:
        load.after(10)
        stalled(broker.pid)
        freeze(site, [broker.pid], LONG)

    site.check(lost=0)


def together(site: Site, broker: Daemon) -> None:
    """Broker and worker are frozen, as in a machine that is suspended. The broker goes on a little earlier."""
    worker = site.worker()
    hold(site)
    freeze(site, [*worker.children(), worker.pid, broker.pid], LONG)
    site.wire.connected(worker.pid)
    site.gate.touch()


@pytest.mark.proof("T7")
def test_a_worker_and_its_broker_that_are_frozen_together_go_on_together(site: Site) -> None:
    together(site, site.broker(*SLOW))

    site.check(lost=0)


@catches("stall_not_forgiven")
def test_a_freeze_shows_that_a_broker_counts_the_time_in_which_it_was_deaf(site: Site, mutant: str) -> None:
    together(site, site.broker(*RULES, mutant=mutant))

    assert any(fault.startswith("I4") for fault in site.faults(lost=0))


@pytest.mark.long
@pytest.mark.proof("T8")
def test_a_worker_frozen_for_less_than_its_leases_last_keeps_its_jobs(site: Site) -> None:
    site.broker("--lease-ttl", "6", "--grace", "0.5")
    worker = site.worker()
    hold(site)

    freeze(site, [worker.pid, *worker.children()], 2)
    site.gate.touch()

    site.check(lost=0)


@pytest.mark.long
@pytest.mark.proof("T8")
def test_a_child_that_is_frozen_alone_keeps_its_job(site: Site) -> None:
    """Its parent is there and speaks for it: how long a job may take is for time limits to say."""
    site.broker(*RULES)
    worker = site.worker()
    hold(site)

    freeze(site, worker.children(), 1.5 * TTL)
    site.gate.touch()

    site.check(lost=0)


def late(site: Site) -> Collection[int]:
    """A worker is frozen, another gets its jobs and ends them, and then it goes on. Returns the processes it had."""
    frozen = site.worker()
    hold(site)
    site.worker(name="second")
    children = frozen.children()
    site.counts["freezes"] += 1
    for pid in (frozen.pid, *children):
        os.kill(pid, signal.SIGSTOP)
    stopped = time.monotonic()
    until(lambda: all(len(runs) == 2 for runs in site.history.read().starts.values()), "the jobs to run elsewhere")
    assert time.monotonic() - stopped < TTL + LATE
    site.gate.touch()
    statuses = site.settle()
    for pid in (*children, frozen.pid):
        os.kill(pid, signal.SIGCONT)
    assert {status.worker for status in statuses.values()} == {"second@test"}
    until(lambda: not site.history.read().unfinished(), "the late runs to end")
    assert frozen.stop() == os.EX_OK, "it waits for the broker's word on each outcome"
    return children


@pytest.mark.proof("T8")
def test_a_frozen_worker_loses_its_jobs_and_its_late_outcomes_change_nothing(site: Site) -> None:
    site.broker(*RULES)

    killed = late(site)

    site.check(killed=killed, lost=2)
    assert {status.worker for status in site.settle().values()} == {"second@test"}


def told_all_the_same(site: Site) -> Collection[int]:
    """A frozen worker goes on while another runs its jobs, and tells their outcomes although it has lost them.

    Returns the processes that it had.
    """
    frozen = site.worker(mutant="no_fencing")
    hold(site)
    second = site.worker(name="second")
    children = frozen.children()
    site.counts["freezes"] += 1
    for pid in (frozen.pid, *children):
        os.kill(pid, signal.SIGSTOP)
    until(lambda: all(len(runs) == 2 for runs in site.history.read().starts.values()), "the jobs to run elsewhere")
    running = second.children()
    for pid in running:
        os.kill(pid, signal.SIGSTOP)
    site.gate.touch()
    for pid in (*children, frozen.pid):
        os.kill(pid, signal.SIGCONT)
    site.wire.connected(frozen.pid)
    assert frozen.stop() == os.EX_OK, "it waits for the broker's word on each outcome"
    for pid in running:
        os.kill(pid, signal.SIGCONT)
    until(lambda: not site.history.read().unfinished(), "all runs to end")
    return children


@pytest.mark.long
@pytest.mark.proof("T8")
def test_outcomes_that_a_worker_tells_of_jobs_that_it_has_lost_change_nothing(site: Site) -> None:
    site.broker(*RULES)

    killed = told_all_the_same(site)

    site.check(killed=killed, lost=2)
    assert {status.worker for status in site.settle().values()} == {"second@test"}


@catches("no_fencing")
def test_late_outcomes_show_that_a_broker_does_not_look_at_tokens(site: Site, mutant: str) -> None:
    site.broker(*RULES, mutant=mutant)

    killed = told_all_the_same(site)

    found = site.faults(killed=killed, lost=2)
    assert any(fault.startswith("I3") for fault in found), found


def back(site: Site) -> Collection[int]:
    """A worker is frozen, and goes on while another runs its jobs. Returns the processes it had."""
    frozen = site.worker()
    hold(site)
    site.worker(name="second")
    children = frozen.children()
    site.counts["freezes"] += 1
    for pid in (frozen.pid, *children):
        os.kill(pid, signal.SIGSTOP)
    until(lambda: all(len(runs) == 2 for runs in site.history.read().starts.values()), "the jobs to run elsewhere")
    for pid in (*children, frozen.pid):
        os.kill(pid, signal.SIGCONT)
    site.wire.connected(frozen.pid)
    site.gate.touch()
    until(lambda: not site.history.read().unfinished(), "all runs to end")
    return children


@pytest.mark.long
@pytest.mark.proof("T8")
def test_a_worker_that_comes_back_while_its_jobs_run_elsewhere_does_not_get_them_again(site: Site) -> None:
    site.broker(*RULES)

    killed = back(site)

    site.check(killed=killed, lost=2)


@pytest.mark.long
@catches("taken_back")
def test_a_worker_that_comes_back_shows_that_a_broker_believes_two(site: Site, mutant: str) -> None:
    site.broker(*RULES, mutant=mutant)

    killed = back(site)

    assert any(fault.startswith("I3") for fault in site.faults(killed=killed, lost=2))
