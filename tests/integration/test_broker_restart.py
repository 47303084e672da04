"""What survives: running jobs a broker's restart, leases and streams a disk that stands still."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.broker_harness import TASK, column, running

from tqbroker import _failpoint
from tqbroker.v1 import job_pb2, worker_pb2


@pytest.fixture
def disarmed() -> Iterator[None]:
    yield
    _failpoint.arm({})


async def test_a_thousand_running_jobs_outlive_a_restart_and_none_is_delivered_again(tmp_path: Path) -> None:
    async with running(tmp_path, "") as site:
        worker = site.attach()
        welcome = await worker.start(slots=2, window=1000, fast=[TASK])
        jobs = await site.enqueue(1000)
        pairs = await worker.delivered()
        while len(pairs) < len(jobs):
            pairs += await worker.delivered()
    async with running(tmp_path, "") as site:
        held = worker_pb2.Held(ids=column([job for job, _ in pairs]), tokens=[token for _, token in pairs])
        back = site.attach(store=welcome.store, held=held)
        again = await back.start(slots=2, window=2000, fast=[TASK])
        assert again.epoch > welcome.epoch
        assert list(again.lost) == []
        response = await back.acked(await back.succeed(*(token for _, token in pairs)))
        assert not response.refused
        assert not any(seen.deliveries for seen in [*back.seen, response])
        statuses = await site.wait(jobs)
        assert {status.state for status in statuses.values()} == {job_pb2.STATE_SUCCEEDED}
        assert {status.lost_leases for status in statuses.values()} == {0}


async def test_a_resent_outcome_is_accepted_once_and_frees_the_worker(tmp_path: Path) -> None:
    async with running(tmp_path, "") as site:
        worker = site.attach()
        welcome = await worker.start()
        (job,) = await site.enqueue()
        ((_, token),) = await worker.delivered()
        await worker.acked(await worker.succeed(token))
        worker.call.cancel()
        held = worker_pb2.Held(ids=column([job]), tokens=[token])
        back = site.attach(store=welcome.store, held=held)
        assert list((await back.start()).lost) == []
        resent = worker_pb2.Successes(tokens=[token], results=[b"8"], format="json", ids=column([job]))
        response = await back.acked(await back.send(successes=[resent]))
        assert not response.refused
        (following,) = await site.enqueue()
        assert [delivered for delivered, _ in await back.delivered()] == [following]


@pytest.mark.usefixtures("disarmed")
async def test_while_a_commit_hangs_heartbeats_are_answered_and_no_lease_is_lost(tmp_path: Path) -> None:
    async with running(tmp_path, "", lease_ttl=1.0, grace=0.5) as site:
        worker = site.attach()
        await worker.start()
        (job,) = await site.enqueue()
        ((_, token),) = await worker.delivered()
        _failpoint.arm({"TQ_FAILPOINT": "before_commit=sleep:2.5", "TQ_TESTING": "1"})
        stuck = asyncio.create_task(site.enqueue())
        slowest = 0.0
        while not stuck.done():
            began = time.monotonic()
            await worker.send(heartbeat=True)
            await worker.until(lambda seen: seen.heartbeat)
            slowest = max(slowest, time.monotonic() - began)
            await asyncio.wait({stuck}, timeout=0.3)
        assert slowest < 1.0
        assert not (await worker.acked(await worker.succeed(token))).refused
        status = await site.status(job)
        assert (status.state, status.lost_leases) == (job_pb2.STATE_SUCCEEDED, 0)
