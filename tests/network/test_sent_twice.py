"""Messages that come twice, in another order, after all is over, or not at all: under load nothing is done twice."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

import pytest
from tests.acceptance.harness.checker import violations
from tests.acceptance.harness.load import Calls, Load, submit_many
from tests.acceptance.harness.site import ROOT, Site
from tests.acceptance.harness.waiting import until
from tests.mutants.catching import catches
from tests.mutants.registry import planted
from tests.proof.amount import amount, seeds
from tests.proof.stores import faults_of

pytestmark = [pytest.mark.crash, pytest.mark.proof("T14")]

PATIENT = ("--lease-ttl", "8", "--grace", "6")
"""A stream that is lost is opened again long before this."""


class Repeating(NamedTuple):
    """A broker's URL behind which messages come twice."""

    url: str
    process: subprocess.Popen[str]

    def again(self) -> int:
        """Sends copies of requests that were answered long ago. How many."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("again\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


@contextmanager
def repeater(site: Site, seed: int, did: Counter[str]) -> Iterator[Repeating]:
    """A repeater before the site's broker. What was done to the messages is in `did` at the end."""
    command = [sys.executable, "-m", "tests.network.repeater", site.address, str(seed)]
    process = subprocess.Popen(
        command, cwd=ROOT, env=site.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Repeating(f"tq://127.0.0.1:{int(process.stdout.readline())}", process)
        process.stdin.close()
        did.update(json.loads(process.stdout.readline()))
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


@seeds(1, 10)
def test_a_load_whose_messages_come_twice_late_or_not_at_all_runs_each_job_once(
    site: Site, seed: int, counts: Counter[str]
) -> None:
    broker = site.broker(*PATIENT)
    did: Counter[str] = Counter()
    with repeater(site, seed, did) as between:
        site.worker(TQBROKER_URL=between.url)
        calls = Calls(between.url)
        with Load(calls.mark, site.history, amount(80, 600), threads=4) as load:
            wrong = wrong_results(site, calls, amount(60, 400))
        assert not wrong
        assert load.answered
        site.check(lost=0)
        assert between.again()
        site.check(lost=0)
        broker.kill()
        site.started(broker)
        assert between.again()
        site.check(lost=0)
        calls.app.close()
    assert did["sent twice"], did
    assert did["overtaken"], did
    counts["faults"] += did.total()


def wrong_results(site: Site, calls: Calls, count: int) -> dict[str, int]:
    """Asks for the results of so many jobs from several threads at once. Those that are not what was submitted."""
    results = submit_many(calls.step, site.history, count)
    numbers = {job: number for number, job in site.history.read().acknowledged.items()}
    with ThreadPoolExecutor(4) as pool:
        values = list(pool.map(lambda each: each.get(timeout=60), results))
    return {each.id: value for each, value in zip(results, values, strict=True) if numbers[each.id] != value}


@catches("resent_job_stored_again")
def test_a_broker_that_stores_what_it_knows_again_is_found(site: Site, mutant: str) -> None:
    broker = site.broker(*PATIENT, mutant=mutant)
    with repeater(site, 1, Counter()) as between:
        site.worker()
        calls = Calls(between.url)
        with Load(calls.mark, site.history, 60):
            pass
        until(lambda: any(len(runs) > 1 for runs in site.history.read().starts.values()), "a job to run twice")
        calls.app.close()
    statuses = site.wire.statuses(list(site.history.read().acknowledged.values()))
    assert "I4: call" in "\n".join(violations(site.history.read(), statuses))
    broker.kill()
    assert faults_of(site.data)
    shutil.rmtree(site.data)  # so that it is not found again


@catches("resent_job_stored_again")
def test_a_broker_that_stores_a_copy_from_before_its_start_is_found(site: Site, mutant: str) -> None:
    broker = site.broker(*PATIENT)
    with repeater(site, 1, Counter()) as between:
        site.worker()
        calls = Calls(between.url)
        with Load(calls.mark, site.history, 60):
            pass
        site.check(lost=0)
        broker.kill()
        site.broker(*PATIENT, mutant=mutant)
        assert between.again()
        with pytest.raises(AssertionError, match="I1: the log tells of job"):
            site.check(lost=0)
        calls.app.close()
    site.daemons[-1].kill()
    shutil.rmtree(site.data)  # so that it is not found again


@catches("reply_to_another")
def test_an_answer_that_goes_to_somebody_else_is_found(site: Site, mutant: str) -> None:
    site.broker()
    site.worker()
    with planted(mutant):
        calls = Calls(site.url)
        assert wrong_results(site, calls, 30)
        calls.app.close()
