"""A broker restart while a thousand jobs are running: all go on, none is given out again."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from tests.acceptance.harness.load import Callers, submit_many
from tests.acceptance.harness.site import Site
from tests.acceptance.harness.waiting import PATIENCE, until
from tests.mutants.catching import catches

from tqbroker.operations import LimitRule

RUNNING = 1000
AWAY, AFTER = "while the broker is away", "after it is back"

pytestmark = [pytest.mark.crash, pytest.mark.proof("T16")]


def outlived(site: Site, how: signal.Signals, end: str, running: int, mutant: str = "") -> None:
    """The broker ends and comes back while a worker, which may have a bug, runs so many jobs."""
    broker = site.broker()
    worker = site.worker("-P", "asyncio", "-c", str(running), mutant=mutant)
    submit_many(site.calls.ahold, site.history, running)
    until(lambda: len(site.history.read().starts) == running, "all jobs to start", pause=0.1)

    broker.signal(how)
    assert broker.wait() == (0 if how is signal.SIGTERM else -signal.SIGKILL)
    if end == AWAY:
        site.gate.touch()
        until(lambda: len(site.history.read().ends) == running, "all jobs to end", pause=0.1)
    site.started(broker)
    site.wire.connected(worker.pid)
    site.gate.touch()


@pytest.mark.parametrize(
    ("how", "end"),
    [
        (signal.SIGTERM, AFTER),
        (signal.SIGKILL, AWAY),
        pytest.param(signal.SIGTERM, AWAY, marks=pytest.mark.long),
        pytest.param(signal.SIGKILL, AFTER, marks=pytest.mark.long),
    ],
)
def test_a_thousand_running_jobs_outlive_a_restart_of_the_broker(site: Site, how: signal.Signals, end: str) -> None:
    outlived(site, how, end, RUNNING)

    site.check(lost=0)
    events = site.history.read()
    assert sum(map(len, events.starts.values())) == RUNNING


@catches("held_not_named")
def test_running_jobs_show_that_a_worker_does_not_say_after_a_restart_what_it_runs(site: Site, mutant: str) -> None:
    outlived(site, signal.SIGTERM, AFTER, 100, mutant)

    assert any(fault.startswith("I4: call") for fault in site.faults(lost=0))


def test_jobs_in_processes_outlive_a_restart_of_the_broker_too(site: Site) -> None:
    broker = site.broker()
    worker = site.worker()
    submit_many(site.calls.hold, site.history, 10)
    until(lambda: len(site.history.read().starts) == 2, "two jobs to start")

    broker.kill()
    site.started(broker)
    site.wire.connected(worker.pid)
    site.gate.touch()

    site.check(lost=0)


@pytest.mark.parametrize("how", [pytest.param(signal.SIGTERM, marks=pytest.mark.long), signal.SIGKILL])
def test_what_waits_behind_running_jobs_waits_over_a_restart_too(site: Site, how: signal.Signals) -> None:
    """Behind an ordering key, and behind a limit."""
    broker = site.broker()
    worker = site.worker("-c", "6")
    site.calls.app.operator.set_limits([LimitRule("one", concurrency=1)])
    line = call(site, ordering_key="line")
    call(site, limits="one")
    until(lambda: len(site.history.read().starts) == 2, "one of each to start")

    broker.signal(how)
    broker.wait()
    site.started(broker)
    site.wire.connected(worker.pid)
    (new,) = submit_many(site.calls.mark, site.history, 1)
    assert new.get(timeout=PATIENCE) >= 0  # so that the worker has been served
    assert len(site.history.read().starts) == 3
    site.gate.touch()

    site.check(lost=0)
    assert [number for number in site.history.read().starts if number in line] == line


def call(site: Site, **options: Any) -> list[int]:
    """Three jobs that run until the gate opens; their numbers."""
    numbers = [next(Callers.numbers) for _ in range(3)]
    for number in numbers:
        site.history.write("invoke", number)
        site.history.write("ok", number, site.calls.hold.apply_async((number,), **options).id)
    return numbers
