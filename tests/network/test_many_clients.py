"""Thousands of clients with a connection and a stream each: submits are as fast as ever, and memory has a bound."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from tests.acceptance.harness.footprint import MIB, footprint
from tests.acceptance.harness.load import submit_many
from tests.acceptance.harness.site import ROOT, Site
from tests.acceptance.harness.waiting import PATIENCE, until
from tests.proof.amount import PROOF, amount

pytestmark = pytest.mark.proof("T18")

P99 = 0.050
"""Seconds of the slowest submit but one in a hundred, while everybody is connected."""

MOST = 600 * MIB
"""Bytes that the broker may take with 10,000 connected."""

AT_ONCE = 2500
"""Clients in one process."""


@contextmanager
def crowd(site: Site, job: str, count: int) -> Iterator[subprocess.Popen[str]]:
    """So many clients that wait for a job, in a process of their own."""
    command = [sys.executable, "-m", "tests.network.crowd", site.address, job, str(count)]
    process = subprocess.Popen(
        command, cwd=ROOT, env=site.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
        process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def says(process: subprocess.Popen[str], word: str) -> None:
    """Returns when a crowd says so."""
    assert process.stdout is not None
    assert process.stdout.readline().strip() == word


def p99_of_submits(site: Site, count: int) -> float:
    """Seconds of the slowest of so many but one in a hundred."""
    seconds = []
    for _ in range(count):
        begun = time.monotonic()
        submit_many(site.calls.mark, site.history, 1)
        seconds.append(time.monotonic() - begun)
    return sorted(seconds)[len(seconds) * 99 // 100]


@pytest.mark.timeout(600)
def test_submits_are_fast_with_everybody_connected_and_all_are_told_of_an_end(site: Site, counts: Counter[str]) -> None:
    total = amount(300, 10_000)
    broker = site.broker()
    (job,) = submit_many(site.calls.hold, site.history, 1)
    p99_of_submits(site, 20)
    before = footprint(broker.pid)
    with ExitStack() as stack:
        sizes = [min(AT_ONCE, total - at) for at in range(0, total, AT_ONCE)]
        crowds = []
        for size in sizes:
            crowds.append(stack.enter_context(crowd(site, job.id, size)))
            says(crowds[-1], "here")
        full = footprint(broker.pid)
        assert full.descriptors - before.descriptors >= total
        assert full.resident < MOST
        p99 = p99_of_submits(site, amount(50, 500))
        assert p99 < P99 or not PROOF, f"{p99:.3f} s"
        site.gate.touch()
        site.worker()
        for each in crowds:
            says(each, "told")
    until(lambda: footprint(broker.pid).descriptors <= before.descriptors + 8, "the connections to be gone")
    until(lambda: footprint(broker.pid).threads <= before.threads + 8, "the threads of gRPC's pool to be gone")
    site.wire.health(PATIENCE)
    counts["connections"] += total
    counts["p99 in ms"] += round(p99 * 1000)
    counts["MiB"] += full.resident // MIB
