"""Every flush takes 50 to 500 ms: what needs no disk is answered at once, and a call waits for two commits at most."""

from __future__ import annotations

import time

import pytest
from tests.acceptance.harness.heart import Heart
from tests.acceptance.harness.load import Load, submit_many
from tests.acceptance.harness.site import Site
from tests.mutants.catching import catches
from tests.proof.amount import amount, seeds
from tests.proof.preload.disk import disk

pytestmark = [pytest.mark.crash, pytest.mark.proof("T12")]

SLOWEST = 0.5
"""Seconds of one flush; the write of the meta page is not slowed down."""
SPARE = 0.5
"""Seconds that a loaded machine may add to two commits."""
AT_ONCE = 1.0
THREADS, CALLS = 16, amount(60, 1000)


class Timed(Load):
    """Knows how long each call took."""

    def __init__(self, site: Site, jobs: int) -> None:
        self.took: list[float] = []
        super().__init__(site.calls.mark, site.history, jobs, THREADS)

    def make(self, number: int) -> int:
        begun = time.monotonic()
        answered = super().make(number)
        self.took.append(time.monotonic() - begun)
        return answered


def load_a_slow_disk(site: Site, seed: int, calls: int, mutant: str = "") -> None:
    """What holds while so many calls are made."""
    slow = disk(site.data, [f"fdatasync:1+:50-{int(SLOWEST * 1000)}"], seed=seed)
    site.broker("--lease-ttl", "3", mutant=mutant, **slow)
    worker = site.worker()
    connected = site.wire.connected(worker.pid).connected_unix_ms
    submit_many(site.calls.hold, site.history, 1)
    heart = Heart(site.wire)

    with Timed(site, calls) as load:
        while load.answered < calls:
            site.wire.health(AT_ONCE)
            heart.beat(AT_ONCE)
            time.sleep(0.1)
    site.gate.touch()
    took = sorted(load.took)
    p99 = took[len(took) * 99 // 100]
    print(f"seed {seed}: p50 {took[len(took) // 2]:.2f} s, p99 {p99:.2f} s, longest {took[-1]:.2f} s")

    assert took[len(took) // 2] > 0.05, "no flush was slow"
    assert p99 < 2 * SLOWEST + SPARE, f"a call waits for {p99:.2f} s"
    site.check(lost=0)
    assert site.wire.connected(worker.pid).connected_unix_ms == connected, "the worker's stream was lost"
    heart.close()


@seeds(1, 4)
def test_on_a_slow_disk_beats_are_answered_and_a_call_waits_for_two_commits_at_most(site: Site, seed: int) -> None:
    load_a_slow_disk(site, seed, CALLS)


@catches("nothing_shares_a_commit")
def test_a_slow_disk_shows_that_a_call_waits_for_the_commits_of_others(site: Site, mutant: str) -> None:
    with pytest.raises(AssertionError, match="a call waits for"):
        load_a_slow_disk(site, 1, THREADS, mutant)
