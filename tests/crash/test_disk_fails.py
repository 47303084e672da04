"""The disk fails, or the broker dies in the middle of a flush: nothing is OK after that, and nothing before is lost."""

from __future__ import annotations

import signal
from collections import Counter
from typing import Any, cast

import grpc
import pytest
from tests.acceptance.harness.site import Site
from tests.acceptance.harness.waiting import PATIENCE
from tests.crash.powercut.clients import PARKED, batch
from tests.crash.powercut.recording import left, record
from tests.integration.broker_harness import error_of
from tests.mutants.catching import catches
from tests.proof.amount import amount, seeds
from tests.proof.preload.disk import disk

from tqbroker.v1 import errors_pb2, queue_pb2

pytestmark = pytest.mark.crash

JOB = b"asked once more "
ONE_FLUSH = "fdatasync:1:eio"
"""It heals at once: LMDB itself would go on as if nothing had been."""
FAULTS = [
    pytest.param(ONE_FLUSH, id="one data flush"),
    pytest.param("metawrite:1+:eio", id="meta page"),
    pytest.param("fdatasync:1+:eio", id="data flush", marks=pytest.mark.long),
    pytest.param("pwrite:1+:eio", id="write", marks=pytest.mark.long),
    pytest.param("pwrite:1+:short", id="half a write", marks=pytest.mark.long),
]
WITHIN = 3.0
"""Seconds until the broker has ended: it does at once."""

FIRST_FLUSHES = 30
"""Until these a broker makes its store, its workers join, and too few were told anything."""


def fails(site: Site, fault: str, mutant: str = "") -> None:
    """The disk fails under one submit: its fate is unknown, the broker ends; sent again, the job is there once."""
    control = site.folder / "fails"
    broker = site.broker(mutant=mutant, **disk(site.data, [f"{fault}:{control}"]))
    request = queue_pb2.EnqueueRequest(batches=[batch([JOB], queue=PARKED)])

    told = site.wire.told()
    assert next(told) == "SERVING"
    control.touch()
    with pytest.raises(grpc.RpcError) as caught:
        site.wire.queue.Enqueue(request, timeout=PATIENCE)
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() in (grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE), caught.value
    if caught.value.code() is grpc.StatusCode.UNKNOWN:
        assert error_of(cast("Any", caught.value)).reason == errors_pb2.REASON_AMBIGUOUS
    serving = _is_serving(site)
    assert broker.wait(WITHIN) == 1
    assert not serving, "it still says SERVING"
    assert "SERVING" not in list(told)
    broker.expect("storage has failed")

    site.started(broker)
    again = site.wire.queue.Enqueue(request, timeout=PATIENCE)
    assert again.stored == 1 or again.exceptions[0].duplicate
    assert site.wire.counts(PARKED).queued == 1


def _is_serving(site: Site) -> bool:
    """Whether a health check says so."""
    try:
        site.wire.health()
    except (grpc.RpcError, AssertionError):
        return False
    return True


@pytest.mark.proof("T11")
@pytest.mark.parametrize("fault", FAULTS)
def test_after_an_error_of_the_disk_nothing_is_answered_ok_and_the_broker_ends(
    site: Site, counts: Counter[str], fault: str
) -> None:
    fails(site, fault)
    counts["faults"] += 1


@pytest.mark.proof("T11")
def test_a_start_on_a_failing_disk_says_so_in_one_line(site: Site, counts: Counter[str]) -> None:
    broker = site.broker()
    broker.kill()

    broker.start(**disk(site.data, ["fdatasync:1+:eio"]))
    assert broker.wait() == 1
    broker.expect("tqbroker serve: cannot open")
    assert "Traceback" not in broker.log.text()
    counts["faults"] += 1


@pytest.mark.long
@pytest.mark.proof("T11")
@pytest.mark.parametrize("call", ["fdatasync", "metawrite", "pwrite"])
@seeds(1, 5)
def test_what_was_acknowledged_before_the_disk_failed_is_there(
    site: Site, counts: Counter[str], call: str, seed: int
) -> None:
    moment = (FIRST_FLUSHES + 17 * seed) * (10 if call == "pwrite" else 1)
    log = record(site, seed, steps=amount(25, 60), faults=[f"{call}:{moment}:eio"])

    assert site.daemons[-1].wait() == 1
    assert not (wrong := left(site, log)), f"seed {seed}: {wrong}"
    counts["faults"] += 1


@pytest.mark.proof("T4")
@pytest.mark.parametrize("when", ["kill", "killed"], ids=["before", "after"])
@seeds(1, 20)
def test_what_was_acknowledged_before_a_kill_at_a_flush_is_there(site: Site, when: str, seed: int) -> None:
    moment = FIRST_FLUSHES + 8 * (seed + 1) - (when == "kill")
    log = record(site, seed, steps=amount(25, 60), faults=[f"fdatasync:{moment}:{when}"])

    assert site.daemons[-1].wait() == -signal.SIGKILL
    assert not (wrong := left(site, log)), f"seed {seed}: {wrong}"


@catches("commit_error_ignored")
def test_a_broker_that_goes_on_after_a_failed_flush_is_caught(site: Site, counts: Counter[str], mutant: str) -> None:
    with pytest.raises(AssertionError, match="did not end"):
        fails(site, ONE_FLUSH, mutant)
    counts["faults"] += 1
