"""Whatever is sent to whatever call of a broker: a result or a reason, and the broker is as well as before.

A failing input is printed as TQ_INPUT=...: with that in the environment only it is sent.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

import grpc
import pytest
from tests.acceptance.harness.daemon import Daemon
from tests.acceptance.harness.footprint import MIB, footprint
from tests.acceptance.harness.site import Site
from tests.acceptance.harness.waiting import PATIENCE
from tests.mutants.catching import catches
from tests.network.attack import MOMENT, SECONDS, Attack, Verdict
from tests.network.inputs import Input, Inputs, calls
from tests.proof.amount import amount, numbers

from tqbroker.v1 import admin_pb2

pytestmark = pytest.mark.proof("T20")

GROWTH = 96 * MIB
"""Bytes that a broker may take more after thousands of inputs: what it buffers, and what it has stored of them."""

TOO_LARGE = 17 * MIB
"""Bytes of a message that no call takes, as it is or when it is unpacked: 16 MiB are the most."""

REPLAYED = 1500
"""Refused requests that are sent again to an empty broker."""


def source(seed: int, count: int) -> Iterator[Input]:
    """The inputs of a seed, or the one that TQ_INPUT names."""
    one = os.environ.get("TQ_INPUT")
    inputs = Inputs(seed)
    return iter([Input.parse(one)]) if one else islice(iter(inputs.next, None), count)


def send(site: Site, inputs: Iterator[Input], counts: Counter[str], moment: float = MOMENT) -> list[Verdict]:
    """Sends them all; fails with those that were not answered as they must be. Returns what was refused as INVALID."""

    async def run() -> list[Verdict]:
        attack = Attack(site.address, moment=moment)
        try:
            return await attack.run(inputs)
        finally:
            counts["inputs"] += attack.codes.total()
            lost.append(attack.codes["LOST"])
            await attack.close()

    lost: list[int] = []
    found = asyncio.run(run())
    assert lost == [0], "an input whose answer was lost again and again proves nothing"
    wrong = [f"{verdict.wrong}: TQ_INPUT={verdict.input}"[:20_000] for verdict in found if verdict.wrong]
    assert not wrong, "\n".join(wrong[:5])
    return found


def test_every_call_is_drawn() -> None:
    assert {each.path for each in source(1, amount(2500, 25_000))} == set(calls())


def is_well(site: Site, broker: Daemon) -> None:
    """It answers, has logged no error, and does its work."""
    site.wire.health(PATIENCE)
    told = [line.text for line in broker.log.lines if line.event.get("level") in ("error", "critical")]
    assert not told, told[:3]


@pytest.mark.timeout(900)
def test_every_input_gets_an_answer_or_a_reason_and_the_broker_stays_as_it_was(
    site: Site, counts: Counter[str]
) -> None:
    broker = site.broker()
    send(site, source(999, 500), Counter())  # so that what it takes is what it takes at work
    before = footprint(broker.pid)
    for seed in numbers(1, 8):
        send(site, source(seed, amount(2500, 25_000)), counts)
        is_well(site, broker)
    after = footprint(broker.pid)
    assert after.anonymous - before.anonymous < GROWTH
    assert after.threads <= before.threads + 4
    assert after.descriptors <= before.descriptors + 16


@pytest.mark.parametrize("compressed", [False, True], ids=["large", "large when unpacked"])
def test_a_message_above_the_limit_is_refused_on_every_call_and_costs_nothing(
    site: Site, counts: Counter[str], compressed: bool
) -> None:
    """Each of gRPC's threads may have had one in its hands, and keeps that memory for the next."""
    broker = site.broker()
    site.wire.health(PATIENCE)
    before = footprint(broker.pid).anonymous
    codes = asyncio.run(_too_large(site.address, compressed))
    assert codes == dict.fromkeys(calls(), "RESOURCE_EXHAUSTED")
    after = footprint(broker.pid)
    assert after.threads < len(codes) // 2
    assert after.anonymous - before < after.threads * TOO_LARGE, "what is refused is not kept"
    site.wire.health(PATIENCE)
    assert site.calls.mark.delay(0), "it goes on"
    counts["inputs"] += len(codes)


async def _too_large(address: str, compressed: bool) -> dict[str, str]:
    """How each call ends that is given more than a message may have."""
    attack = Attack(address, grpc.Compression.Gzip if compressed else grpc.Compression.NoCompression, SECONDS)
    try:
        return {path: (await attack.send(Input(path, (bytes(TOO_LARGE),)))).code for path in calls()}
    finally:
        await attack.close()


def test_of_what_is_refused_as_invalid_nothing_is_stored(site: Site, counts: Counter[str]) -> None:
    broker = site.broker()
    refused = [each.input for each in send(site, source(77, amount(600, 12_000)), Counter()) if _alone(each)]
    assert len(refused) > amount(600, 12_000) // 10, "enough is refused to see what becomes of it"
    broker.kill()
    site.data.rename(site.folder / "former")
    site.started(broker)
    empty = everything(site)

    again = send(site, iter(refused[:REPLAYED]), counts, SECONDS)

    assert len(again) == len(refused[:REPLAYED]), "what is refused as invalid is so whatever there is"
    assert everything(site) == empty


@catches("noise_is_internal")
def test_an_answer_that_may_not_be_is_found(site: Site, mutant: str) -> None:
    site.broker(mutant=mutant)
    with pytest.raises(AssertionError, match=r"(INTERNAL|UNKNOWN): .*TQ_INPUT="):
        send(site, source(1, 100), Counter())


def _alone(verdict: Verdict) -> bool:
    """Whether it is one request: what a stream has brought before, and how a worker introduces itself, counts."""
    return len(verdict.input.messages) == 1 and not verdict.input.path.endswith("/Work")


def everything(site: Site) -> list[Any]:
    """What a broker says there is."""
    admin = site.wire.admin
    return [
        admin.ListQueues(admin_pb2.ListQueuesRequest(), timeout=PATIENCE),
        admin.ListJobs(admin_pb2.ListJobsRequest(), timeout=PATIENCE),
        admin.ListLimits(admin_pb2.ListLimitsRequest(), timeout=PATIENCE),
        admin.ListSchedules(admin_pb2.ListSchedulesRequest(), timeout=PATIENCE),
        admin.ListWorkflows(admin_pb2.ListWorkflowsRequest(), timeout=PATIENCE),
        admin.ListWorkers(admin_pb2.ListWorkersRequest(), timeout=PATIENCE),
        list(admin.WatchEvents(admin_pb2.WatchEventsRequest(), timeout=PATIENCE)),
    ]
