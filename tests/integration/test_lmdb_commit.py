"""Group commit: shared flushes, a free event loop, and the end of all service when a commit fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contracts.harness import EngineUnderTest

from tqbroker import _failpoint
from tqbroker_broker.storage import Ambiguous, Fenced
from tqbroker_broker.storage.lmdb.engine import LmdbEngine


@pytest.fixture
async def engine(tmp_path: Path) -> EngineUnderTest:
    under_test = EngineUnderTest("lmdb", tmp_path)
    await under_test.open()
    return under_test


@pytest.fixture(autouse=True)
def disarm() -> Iterator[None]:
    """Leaves no failpoint behind."""
    yield
    _failpoint.arm({})


def arm(what: str) -> None:
    _failpoint.arm({"TQ_FAILPOINT": what, "TQ_TESTING": "1"})


def commits(engine: EngineUnderTest) -> int:
    """Transactions committed so far."""
    assert isinstance(engine.verbs, LmdbEngine)
    return int(engine.verbs._store.env.info()["last_txnid"])


async def test_calls_that_arrive_together_share_a_commit(engine: EngineUnderTest) -> None:
    before = commits(engine)
    await asyncio.gather(*(engine.put(f"job{i}") for i in range(200)))
    assert commits(engine) - before <= 3
    await engine.verbs.close()


async def test_the_loop_is_free_while_a_commit_stalls_and_nothing_is_answered_early(engine: EngineUnderTest) -> None:
    arm("before_commit=sleep:0.6")
    began = time.monotonic()
    stalled = asyncio.create_task(engine.put("slow"))
    longest = 0.0
    while not stalled.done():
        tick = time.monotonic()
        await asyncio.sleep(0.01)
        longest = max(longest, time.monotonic() - tick)
    assert time.monotonic() - began >= 0.6
    assert longest < 0.3
    await engine.verbs.close()


async def test_time_in_a_stalled_commit_does_not_count_against_workers(engine: EngineUnderTest) -> None:
    await engine.join("w")
    arm("before_commit=sleep:1.5")
    await engine.put("slow")
    assert engine.verbs.beat(engine.now) >= 0.5
    await engine.verbs.close()


async def test_deadlines_come_on_a_disk_that_stays_slow(engine: EngineUnderTest) -> None:
    engine.verbs.beat(engine.now)
    arm("before_commit=sleep:1.2")
    shifted = 0.0
    for name in "ab":
        await engine.put(name)
        engine.advance(1.2)
        shifted += engine.verbs.beat(engine.now)
    assert shifted < 1.2
    await engine.verbs.close()


async def test_after_a_failed_commit_nothing_is_ever_answered_ok(engine: EngineUnderTest) -> None:
    await engine.put("before")
    arm("before_commit=raise")
    with pytest.raises(Ambiguous):
        await engine.put("during")
    with pytest.raises(Fenced, match="must be restarted"):
        await engine.put("after")
    with pytest.raises(Fenced):
        engine.verbs.beat(engine.now)
    await engine.verbs.close()


async def test_a_call_that_is_given_up_is_still_committed(engine: EngineUnderTest) -> None:
    arm("before_commit=sleep:0.2")
    call = asyncio.create_task(engine.put("job"))
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.wait([call])
    await engine.put("next")
    assert (await engine.job("job")).args
    await engine.verbs.close()


async def test_closing_finishes_what_was_gathered(engine: EngineUnderTest) -> None:
    calls = [asyncio.create_task(engine.put(f"job{i}")) for i in range(50)]
    await asyncio.sleep(0)
    await engine.verbs.close()
    assert all(answer.stored == 1 for answer in await asyncio.gather(*calls))
