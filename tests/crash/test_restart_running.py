"""A broker restart while a thousand jobs are running: all go on, none is given out again."""

from __future__ import annotations

import signal

import pytest
from tests.acceptance.harness.load import submit_many
from tests.acceptance.harness.site import Site
from tests.acceptance.harness.waiting import until

RUNNING = 1000

pytestmark = [pytest.mark.crash, pytest.mark.proof("T16")]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("end", ["while the broker is away", "after it is back"])
def test_a_thousand_running_jobs_outlive_a_restart_of_the_broker(site: Site, how: signal.Signals, end: str) -> None:
    broker = site.broker()
    worker = site.worker("-P", "asyncio", "-c", str(RUNNING))
    submit_many(site.calls.ahold, site.history, RUNNING)
    until(lambda: len(site.history.read().starts) == RUNNING, "all jobs to start", pause=0.1)

    broker.signal(how)
    assert broker.wait() == (0 if how is signal.SIGTERM else -signal.SIGKILL)
    if end == "while the broker is away":
        site.gate.touch()
        until(lambda: len(site.history.read().ends) == RUNNING, "all jobs to end", pause=0.1)
    site.started(broker)
    site.wire.connected(worker.pid)
    site.gate.touch()

    site.check(lost=0)
    events = site.history.read()
    assert sum(map(len, events.starts.values())) == RUNNING


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
