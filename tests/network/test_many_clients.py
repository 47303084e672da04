"""Thousands of clients with a connection and a stream each: submits are as fast as ever, and memory has a bound."""

from __future__ import annotations

import select
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from uuid import uuid4

import grpc
import pytest
from tests.acceptance.harness.daemon import Daemon
from tests.acceptance.harness.footprint import MIB, Footprint, excess, footprint
from tests.acceptance.harness.load import submit_many
from tests.acceptance.harness.site import ROOT, Site
from tests.acceptance.harness.waiting import PATIENCE, until
from tests.mutants.catching import catches
from tests.network.crowd import OPTIONS
from tests.proof.amount import PROOF, amount

from tqbroker.v1 import job_pb2, queue_pb2, queue_pb2_grpc

pytestmark = pytest.mark.proof("T18")

P99 = 0.050
"""Seconds of the slowest submit but one in a hundred, while everybody is connected."""

MOST = 600 * MIB
"""Bytes that the broker may take with 10,000 connected."""

AT_ONCE = 2500
"""Clients in one process."""

WATCHED = 5000
"""Jobs that each of those who come and go waits for: about a megabyte of the broker's memory."""

LEFT = Footprint(resident=16 * MIB, anonymous=16 * MIB, descriptors=8, threads=8)
"""What a broker may take more when all have gone than after the first of them."""


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


def says(process: subprocess.Popen[str], word: str, patience: float = 120.0) -> None:
    """Returns when a crowd says so."""
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], patience)[0], f"waited {patience:g} s in vain for all to be {word}"
    assert process.stdout.readline().strip() == word


def p99_of_submits(site: Site, count: int) -> float:
    """Seconds of the slowest of so many but one in a hundred."""
    seconds = []
    for _ in range(count):
        begun = time.monotonic()
        submit_many(site.calls.mark, site.history, 1)
        seconds.append(time.monotonic() - begun)
    return sorted(seconds)[len(seconds) * 99 // 100]


def connect_everybody(site: Site, broker: Daemon, total: int, patience: float = 120.0) -> tuple[float, Footprint]:
    """So many wait for one job, and all are told of its end. The p99 of submits, and what the broker takes."""
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
            says(each, "told", patience)
    until(lambda: footprint(broker.pid).descriptors <= before.descriptors + 8, "the connections to be gone")
    until(lambda: footprint(broker.pid).threads <= before.threads + 8, "the threads of gRPC's pool to be gone")
    site.wire.health(PATIENCE)
    return p99, full


@pytest.mark.timeout(600)
def test_submits_are_fast_with_everybody_connected_and_all_are_told_of_an_end(site: Site, counts: Counter[str]) -> None:
    total = amount(300, 10_000)
    p99, full = connect_everybody(site, site.broker(), total)
    counts["connections"] += total
    counts["p99 in ms"] += round(p99 * 1000)
    counts["MiB"] += full.resident // MIB


@catches("first_waiter_only")
def test_those_who_wait_for_one_job_show_that_only_the_first_is_told(site: Site, mutant: str) -> None:
    with pytest.raises(AssertionError, match="in vain for all to be told"):
        connect_everybody(site, site.broker(mutant=mutant), 20, patience=4)


def come_and_go(site: Site, broker: Daemon, clients: int) -> list[str]:
    """So many clients, one after another, wait for the same jobs, which nobody runs, and hang up. What they leave."""
    ids = job_pb2.Ids(uuids=b"".join(uuid4().bytes for _ in range(WATCHED)))
    batch = job_pb2.JobBatch(task="tasks.mark", format="json", ids=ids, args=[b"[[0],{}]"] * WATCHED)
    site.wire.queue.Enqueue(queue_pb2.EnqueueRequest(batches=[batch]), timeout=PATIENCE)
    before = after = _after_a_client(site, broker, ids)
    for _ in range(clients):
        after = _after_a_client(site, broker, ids)
    most = Footprint(*(map(sum, zip(before, LEFT, strict=True))))
    return excess("broker", after, most)


def _after_a_client(site: Site, broker: Daemon, ids: job_pb2.Ids) -> Footprint:
    """What the broker takes when one has waited and is gone. A job that nobody knows is answered at once."""
    before = footprint(broker.pid).descriptors
    unknown = job_pb2.Ids(uuids=uuid4().bytes + ids.uuids)
    with grpc.insecure_channel(site.address, options=OPTIONS) as channel:
        stub = queue_pb2_grpc.QueueStub(channel)
        answers = stub.Wait(iter([queue_pb2.WaitRequest(watch=unknown)]), timeout=PATIENCE)
        assert next(iter(answers)).jobs
    until(lambda: footprint(broker.pid).descriptors <= before, "the connection to be gone")
    return footprint(broker.pid)


def test_those_who_wait_and_hang_up_leave_nothing_behind(site: Site, counts: Counter[str]) -> None:
    clients = amount(50, 400)
    assert come_and_go(site, site.broker(), clients) == []
    counts["connections"] += clients


@catches("watches_kept")
def test_those_who_hang_up_show_that_a_broker_remembers_what_they_waited_for(site: Site, mutant: str) -> None:
    left = come_and_go(site, site.broker(mutant=mutant), 50)

    assert any(fault.startswith("I10: broker takes") and "anonymous" in fault for fault in left), left
