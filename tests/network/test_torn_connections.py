"""Connections that are torn, frozen, slow, half closed or reset, at random moments under load, between real processes.

What was acknowledged runs; what was not is safe to send again; a job runs twice only where a lease was lost.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from uuid import uuid4

import pytest
from tests.acceptance.harness.load import Calls, Load, submit_many
from tests.acceptance.harness.proxy import Proxy
from tests.acceptance.harness.site import Site
from tests.acceptance.harness.storm import Storm
from tests.acceptance.harness.waiting import until
from tests.mutants.catching import catches
from tests.proof.amount import amount, seeds

from tqbroker import AsyncResult, Task
from tqbroker.exceptions import OperationalError

pytestmark = [pytest.mark.crash, pytest.mark.proof("T13")]

SHORT = ("--lease-ttl", "1", "--grace", "0.5")
"""Leases that are lost within a test."""

LONG = ("--lease-ttl", "8", "--grace", "6")
"""Leases that outlive every fault of a storm."""

NOTICED = 15.0
"""Seconds within which each side must know that the other cannot be reached, with the default settings."""


@contextmanager
def between(site: Site) -> Iterator[tuple[Proxy, Proxy, Calls]]:
    """A proxy for clients, one for workers, and the tasks as a client has them that goes through the first."""
    with Proxy(site.address) as near, Proxy(site.address) as far:
        calls = Calls(near.url)
        try:
            yield near, far, calls
        finally:
            calls.app.close()


class Getter:
    """A thread that asks for the result of every job that was acknowledged, one after another, until told to stop."""

    def __init__(self, site: Site, calls: Calls) -> None:
        self.got: dict[int, int] = {}
        self._site, self._calls = site, calls
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            for number, job in list(self._site.history.read().acknowledged.items())[len(self.got) :][:100]:
                self.got[number] = AsyncResult(job, app=self._calls.app).get(timeout=30)

    def stop(self) -> dict[int, int]:
        """What it got, by the number of the call."""
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), "a get() hangs"
        return self.got


def raging(site: Site, storm: Storm, calls: Calls, faults: int) -> None:
    """So many faults while jobs of two kinds are submitted and run, and then a moment of peace."""
    with _load(site, calls.mark) as marks, _load(site, calls.step) as steps:
        marks.after(50)
        storm.rage(faults)
        marks.after(marks.answered + 50)
        steps.after(steps.answered + 10)
        for load in (marks, steps):
            load.stop()


@seeds(1, 8)
def test_faults_shorter_than_a_lease_cost_nothing_but_time(site: Site, seed: int, counts: Counter[str]) -> None:
    site.broker(*LONG)
    faults = amount(8, 24)
    with between(site) as (near, far, calls):
        worker = site.worker("-c", "4", TQBROKER_URL=far.url)
        getter = Getter(site, calls)
        storm = Storm(seed, near, far)
        raging(site, storm, calls, faults)
        site.wire.connected(worker.pid)
        site.check(lost=0)
        got = getter.stop()
    assert storm.met >= faults // 2, storm.told
    assert got, storm.told
    assert all(number == value for number, value in got.items()), storm.told
    counts["faults"] += storm.met


def torn_with_an_outcome_on_its_way(site: Site, mutant: str = "") -> list[str]:
    """Every promise that was broken when a worker's connection was torn that had carried an outcome half the way."""
    site.broker(*LONG)
    with between(site) as (_, far, calls):
        worker = site.worker("-l", "info", mutant=mutant, TQBROKER_URL=far.url)
        submit_many(calls.hold, site.history, 1)
        until(lambda: site.history.read().starts, "the job to start")
        far.up.freeze()
        site.gate.touch()
        worker.expect("succeeded")  # no job waits for its line: the outcome has gone before
        far.reset()
        far.thaw()
        worker.expect("1 outcomes not acknowledged")
        return site.faults(lost=0)


def test_an_outcome_on_its_way_when_the_connection_is_torn_is_sent_again(site: Site, counts: Counter[str]) -> None:
    assert not torn_with_an_outcome_on_its_way(site)
    counts["faults"] += 1


@catches("resend_dropped")
def test_a_torn_connection_shows_that_a_worker_forgets_what_it_has_sent(site: Site, mutant: str) -> None:
    found = torn_with_an_outcome_on_its_way(site, mutant)

    assert any(fault.startswith("I4: call") for fault in found), found


def test_a_worker_behind_a_frozen_connection_loses_its_jobs_and_its_late_outcomes_change_nothing(
    site: Site, counts: Counter[str]
) -> None:
    site.broker(*SHORT)
    with between(site) as (_, far, calls):
        cut_off = site.worker(TQBROKER_URL=far.url)
        submit_many(calls.hold, site.history, 2)
        until(lambda: len(site.history.read().starts) == 2, "both jobs to start")
        far.freeze()
        cut_off.expect("broker connection lost")
        site.worker(name="second")
        site.gate.touch()
        statuses = site.settle()
        assert {status.worker for status in statuses.values()} == {"second@test"}

        far.thaw()
        site.wire.connected(cut_off.pid)
        assert cut_off.stop() == 0, "it waits for the broker's word on each outcome"
        site.check(killed=_pids(site), lost=2)
        assert {status.worker for status in site.settle().values()} == {"second@test"}
    counts["freezes"] += 1


def test_a_worker_whose_broker_takes_everything_and_answers_nothing_connects_anew(
    site: Site, counts: Counter[str]
) -> None:
    site.broker("--lease-ttl", "1", "--grace", "10")
    with between(site) as (_, far, calls):
        worker = site.worker(TQBROKER_URL=far.url)
        submit_many(calls.hold, site.history, 2)
        until(lambda: len(site.history.read().starts) == 2, "both jobs to start")
        far.swallow()
        worker.expect("no word from the broker")
        site.gate.touch()
        until(lambda: not site.history.read().unfinished(), "both jobs to end, out of the broker's sight")
        far.heal()
        site.check(killed=_pids(site), lost=2)
    counts["faults"] += 1


@pytest.mark.parametrize("ways", amount([("up", "down")], [("up",), ("down",), ("up", "down")]), ids="-".join)
def test_a_submit_over_a_frozen_connection_ends_in_time_as_unknown_and_is_safe_to_repeat(
    site: Site, ways: tuple[str, ...], counts: Counter[str]
) -> None:
    site.broker(*LONG)
    site.worker()
    with between(site) as (near, _, calls):
        (first,) = submit_many(calls.mark, site.history, 1)
        assert first.get(timeout=20) >= 0
        number, job = next(Load.numbers), str(uuid4())
        site.history.write("invoke", number)
        for way in ways:
            getattr(near, way).freeze()
        calls.app.conf.submit_timeout = 0.5
        begun = time.monotonic()
        with pytest.raises(OperationalError) as failure:
            calls.mark.apply_async((number,), task_id=job)
        assert time.monotonic() - begun < 0.5 + 1 + 2, (
            "a second more to ask whether anybody is there, and a slow machine"
        )
        assert failure.value.outcome == "unknown"

        near.thaw()
        calls.app.conf.submit_timeout = 20.0
        assert calls.mark.apply_async((number,), task_id=job).get(timeout=20) == number
        site.history.write("ok", number, job)
        site.check(lost=0)
    counts["freezes"] += 1


def test_get_goes_on_where_it_was_when_its_connection_is_torn_again_and_again(site: Site, counts: Counter[str]) -> None:
    site.broker(*LONG)
    site.worker()
    with between(site) as (near, _, calls):
        results = submit_many(calls.hold, site.history, 20)
        got: list[int] = []

        def get(result: AsyncResult[int]) -> None:
            got.append(result.get(timeout=60))

        threads = [threading.Thread(target=get, args=(result,)) for result in results]
        for thread in threads:
            thread.start()
        for _ in range(amount(4, 20)):
            seen = near.accepted
            near.reset()
            until(partial(_more, near, seen), "the client to connect again")
            counts["faults"] += 1
        site.gate.touch()
        for thread in threads:
            thread.join(60)
        assert sorted(got) == sorted(site.history.read().acknowledged)
        site.check(lost=0)


@pytest.mark.long
@pytest.mark.parametrize("fault", ["frozen", "swallowed", "frozen up", "frozen down"])
def test_either_side_notices_a_frozen_peer_within_fifteen_seconds_by_default(
    site: Site, fault: str, counts: Counter[str]
) -> None:
    site.broker()
    with between(site) as (_, far, calls):
        worker = site.worker(TQBROKER_URL=far.url)
        submit_many(calls.hold, site.history, 1)
        until(lambda: site.history.read().starts, "the job to start")
        begun = time.monotonic()
        hurt = {"frozen": far.freeze, "swallowed": far.swallow, "frozen up": far.up.freeze}
        hurt.get(fault, far.down.freeze)()
        until(lambda: not any(each.connected for each in site.wire.workers().values()), "the broker to notice", 30)
        assert time.monotonic() - begun < NOTICED
        assert worker.expect("broker connection lost", 30).at - begun < NOTICED
        site.gate.touch()
        far.heal()
        site.check(killed=_pids(site), lost=1)
    counts["freezes"] += 1


def _load(site: Site, task: Task[[int], int]) -> Load:
    return Load(task, site.history, 10**6, threads=2)


def _more(proxy: Proxy, seen: int) -> bool:
    return proxy.accepted > seen


def _pids(site: Site) -> set[int]:
    """Processes that ran task bodies."""
    return {run.pid for runs in site.history.read().starts.values() for run in runs}
