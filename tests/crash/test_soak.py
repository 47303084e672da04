"""Broker, worker and client under a steady load with mild faults: none of them grows (I10), and nothing is lost."""

from __future__ import annotations

import os
import signal
import time

import pytest
from tests.acceptance.harness.daemon import Daemon
from tests.acceptance.harness.footprint import MIB, Footprint, footprint
from tests.acceptance.harness.load import Load
from tests.acceptance.harness.site import Site
from tests.acceptance.harness.waiting import until
from tests.mutants.catching import catches
from tests.proof.amount import amount

ROUND = 10.0
"""Seconds between two faults."""
WARM = 3
"""Rounds after which everybody has what it needs: pools, caches, the arenas of allocators."""
GROWTH = 24 * MIB
"""Bytes of anonymous memory that a process may have more at the end than after the warm-up."""
SPARE = 4
"""Descriptors and threads that may be in use at one look and not at another."""

pytestmark = [pytest.mark.crash, pytest.mark.long, pytest.mark.proof("T31"), pytest.mark.timeout(900)]


def a_child_dies(site: Site, worker: Daemon, killed: list[int]) -> None:
    victim = worker.children()[0]
    os.kill(victim, signal.SIGKILL)
    killed.append(victim)
    until(lambda: len(worker.children()) == 2 and victim not in worker.children(), "another child")


def everybody_reconnects(site: Site, broker: Daemon, worker: Daemon) -> None:
    """The broker stands still for a moment, and the client opens a new connection."""
    broker.signal(signal.SIGSTOP)
    time.sleep(0.5)
    broker.signal(signal.SIGCONT)
    site.calls.app.close()
    site.wire.connected(worker.pid)


def excess(name: str, before: Footprint, after: Footprint) -> list[str]:
    """What has grown between two looks, in words."""
    bounds = {"anonymous": GROWTH, "descriptors": SPARE, "threads": SPARE}
    pairs = {field: (getattr(before, field), getattr(after, field)) for field in bounds}
    return [f"{name}: {field} {a:,} -> {b:,}" for field, (a, b) in pairs.items() if b - a > bounds[field]]


def soaked(site: Site, broker: Daemon, worker: Daemon, rounds: int, seconds: float) -> tuple[list[str], list[int]]:
    """Who has grown in so many rounds of so many seconds, in words; and the processes that were killed."""
    killed: list[int] = []
    pids = {"broker": broker.pid, "worker": worker.pid, "client": os.getpid()}
    looks: list[dict[str, Footprint]] = []
    with Load(site.calls.mark, site.history, 10**7, threads=2) as load:
        try:
            for number in range(rounds):
                load.after(load.answered + 100)
                time.sleep(seconds)
                a_child_dies(site, worker, killed)
                if number % 2:
                    everybody_reconnects(site, broker, worker)
                site.counts["faults"] += 1
                looks.append({name: footprint(pid) for name, pid in pids.items()})
        finally:
            load.stop()

    return [fault for name in pids for fault in excess(name, looks[WARM - 1][name], looks[-1][name])], killed


def test_nobody_grows_under_a_steady_load_with_mild_faults(site: Site) -> None:
    grown, killed = soaked(site, site.broker(), site.worker(), amount(4, 14), ROUND)

    assert not grown, grown
    site.check(killed=killed)


@catches("pages_of_the_dead_kept")
def test_a_steady_load_shows_that_what_belonged_to_dead_children_is_kept(site: Site, mutant: str) -> None:
    grown, _ = soaked(site, site.broker(), site.worker(mutant=mutant), WARM + SPARE + 2, 0.5)

    assert any(fault.startswith("worker: descriptors") for fault in grown), grown


@catches("commits_kept")
def test_a_steady_load_shows_that_a_broker_remembers_what_it_has_committed(site: Site, mutant: str) -> None:
    grown, _ = soaked(site, site.broker(mutant=mutant), site.worker(), WARM + SPARE, 1.0)

    assert any(fault.startswith("broker: anonymous") for fault in grown), grown
