"""The disk hangs for seconds under load: the broker answers what needs no disk, and promises nothing."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor

import grpc
import pytest
from tests.acceptance.harness.daemon import Daemon
from tests.acceptance.harness.heart import Heart
from tests.acceptance.harness.load import Calls, Load, submit_many
from tests.acceptance.harness.site import Site
from tests.acceptance.harness.waiting import stalled, until
from tests.crash.failpoints import armed
from tests.mutants.catching import catches
from tests.proof.amount import amount
from tests.proof.preload.disk import disk

from tqbroker import Task
from tqbroker.exceptions import OperationalError

STALL = amount(5, 15)
"""Seconds. Leases are half as long, or less."""
AT_ONCE = 1.0
"""Seconds within which health checks and heartbeats are answered."""
TTL = ("--lease-ttl", "3")
"""Leases live on heartbeats alone."""
STALLED = armed("before_commit", 150, f"sleep:{STALL}")

pytestmark = [pytest.mark.crash, pytest.mark.proof("T12")]


def call_late(site: Site, timeout: float) -> float:
    """A call made while the disk hangs, with a deadline of its own: seconds until its answer."""
    calls = Calls(site.url)
    calls.app.conf.submit_timeout = timeout
    begun = time.monotonic()
    with Load(calls.mark, site.history, 1, threads=1) as late:
        late.join()
    return time.monotonic() - begun


def hang(site: Site, broker: Daemon, task: Task[[int], int]) -> None:
    """What holds whatever makes the disk hang. The broker runs, and its disk will hang under a load of this task.

    Under one of `mark` the commit that hangs is one of calls, of outcomes, or of both; jobs that hold have none yet.
    """
    worker = site.worker()
    connected = site.wire.connected(worker.pid).connected_unix_ms
    submit_many(site.calls.hold, site.history, 1)
    heart = Heart(site.wire)
    site.calls.app.conf.submit_timeout = 2 * STALL
    with Load(task, site.history, 10**6) as load, ThreadPoolExecutor(2) as pool:
        load.after(50)
        stalled(broker.pid)
        begun = time.monotonic()
        patient, hasty = pool.submit(call_late, site, 2.0 * STALL), pool.submit(call_late, site, 2.0)
        slowest = watch(site, heart, patient, load)
        lasted = time.monotonic() - begun
        load.stop()

    print(f"stalled for {lasted:.1f} s; health after {slowest[0]:.3f} s, heartbeat after {slowest[1]:.3f} s at most")
    assert patient.result() > STALL - 3, "a call was answered while nothing could be on the disk"
    assert hasty.result() == pytest.approx(2.0, abs=0.5)
    assert load.longest > STALL - 1
    site.gate.touch()
    site.check(lost=0)
    assert site.wire.connected(worker.pid).connected_unix_ms == connected, "the worker's stream was lost"
    heart.close()


def watch(site: Site, heart: Heart, patient: Future[float], load: Load) -> tuple[float, float]:
    """Asks for health and beats until the patient call is answered; the slowest answer of each.

    Calls that are part of the commit that hangs get no answer either.
    """
    health, beat = site.wire.health(AT_ONCE), 0.0
    answered, end = load.answered, time.monotonic() + STALL - 3
    while not patient.done():
        health = max(health, site.wire.health(AT_ONCE))
        beat = max(beat, heart.beat(AT_ONCE))
        assert load.answered == answered or time.monotonic() > end, "a call was answered while its commit hung"
        time.sleep(0.2)
    return health, beat


def test_a_hanging_commit_loses_no_lease_and_promises_nothing(site: Site) -> None:
    hang(site, site.broker(*TTL, **STALLED), site.calls.mark)


@catches("reply_after_a_second")
def test_a_hanging_commit_shows_that_a_broker_promises_what_is_not_on_the_disk(site: Site, mutant: str) -> None:
    with pytest.raises(AssertionError, match="a call was answered while its commit hung"):
        hang(site, site.broker(*TTL, mutant=mutant, **STALLED), site.calls.hold)


@catches("commit_holds_up_everything")
def test_a_hanging_commit_shows_that_a_broker_is_deaf_meanwhile(site: Site, mutant: str) -> None:
    with pytest.raises(grpc.RpcError, match="DEADLINE_EXCEEDED"):
        hang(site, site.broker(*TTL, mutant=mutant, **STALLED), site.calls.mark)


@pytest.mark.long
def test_a_hanging_fdatasync_loses_no_lease_and_promises_nothing(site: Site) -> None:
    hang(site, site.broker(*TTL, **disk(site.data, [f"fdatasync:150:{STALL * 1000}"])), site.calls.mark)


def test_a_call_with_the_usual_deadline_says_that_its_fate_is_unknown(site: Site) -> None:
    """A short stall, for the error itself: what was sent and not confirmed may be stored."""
    site.broker(TQ_TESTING="1", TQ_FAILPOINT="before_commit:5=sleep:2")
    site.worker()
    site.calls.app.conf.submit_timeout = 0.5

    def submit_some() -> None:
        for number in range(100):
            site.calls.mark.delay(number)

    with pytest.raises(OperationalError) as raised:
        submit_some()

    assert raised.value.outcome == "unknown"
    (job,) = raised.value.task_ids
    until(lambda: site.calls.app.AsyncResult(job).successful(), "the job to be stored and to run after all")
