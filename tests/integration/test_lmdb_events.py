"""What the LMDB engine does with its event log: starts wait for a commit, damage is a gap, small maps are spared."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import lmdb
import pytest
from tests.contracts.harness import CONFIG, HEAD, EngineUnderTest, new_jobs

from tqbroker_broker.attempts import Want
from tqbroker_broker.config import GIB, MIB
from tqbroker_broker.questions import EventKind
from tqbroker_broker.records import text_key
from tqbroker_broker.storage.lmdb.events import MOST_STARTED
from tqbroker_broker.storage.lmdb.keys import U64


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[EngineUnderTest]:
    under_test = EngineUnderTest("lmdb", tmp_path)
    await under_test.open()
    yield under_test
    await under_test.verbs.close()


async def numbers(engine: EngineUnderTest, kind: EventKind) -> list[int]:
    """The numbers of all events of a kind."""
    page = await engine.verbs.events(0, 100_000)
    return [n for events in page.events if events.kind is kind for n in range(events.first, events.last + 1)]


async def test_a_lease_writes_nothing_and_its_start_rides_with_the_next_commit(engine: EngineUnderTest) -> None:
    await engine.put("a")
    await engine.join()
    await engine.take()
    assert await numbers(engine, EventKind.STARTED) == []

    await engine.put("b")

    assert await numbers(engine, EventKind.STARTED) == [3]
    assert await numbers(engine, EventKind.SENT) == [1, 4]


async def test_a_start_that_finds_no_commit_gets_its_own_within_moments(engine: EngineUnderTest) -> None:
    await engine.put("a")
    await engine.join()
    await engine.take()
    await engine.verbs.expire(engine.now, 10)
    assert await numbers(engine, EventKind.STARTED) == []

    engine.advance(1)
    await engine.verbs.expire(engine.now, 10)

    assert await numbers(engine, EventKind.STARTED) == [3]


async def test_a_clock_put_back_does_not_keep_a_start_waiting(engine: EngineUnderTest) -> None:
    await engine.put("a")
    await engine.join()
    await engine.take()

    engine.advance(1, wall=-7200)
    await engine.verbs.expire(engine.now, 10)

    assert await numbers(engine, EventKind.STARTED) == [3]


async def test_the_starts_that_wait_for_a_commit_are_bounded(tmp_path: Path) -> None:
    engine = EngineUnderTest("lmdb", tmp_path, replace(CONFIG, map_size=4 * GIB))
    await engine.open()
    for first in range(0, 2 * MOST_STARTED, 1000):
        await engine.verbs.enqueue([new_jobs([f"job{i}" for i in range(first, first + 1000)])], engine.now)
    await engine.join()
    want = Want("w", ("default",), frozenset({HEAD.task}), 1000, 1000)
    taken = 0
    while leased := await engine.lease(want):
        taken += sum(len(batch.ids) for batch in leased)
    assert taken == 2 * MOST_STARTED

    await engine.put("next")

    assert len(await numbers(engine, EventKind.STARTED)) == MOST_STARTED
    await engine.verbs.close()


async def test_events_that_cannot_be_read_are_a_gap_and_no_more(engine: EngineUnderTest) -> None:
    await engine.put("a", "b")
    await engine.put("c")
    await engine.verbs.close()
    with lmdb.open(str(engine.directory / "data" / "data.mdb"), subdir=False, max_dbs=32) as env:
        db = env.open_db(b"events")
        with env.begin(write=True) as txn:
            value = txn.get(U64.pack(1), db=db)
            assert value is not None
            txn.put(U64.pack(1), value[:-1] + b"?", db=db)
    await engine.open()

    page = await engine.verbs.events(0, 10)
    assert [(events.first, events.ids) for events in page.events] == [(3, [text_key("c")])]
    await engine.put("d")
    assert await numbers(engine, EventKind.SENT) == [3, 4]


async def test_the_log_takes_a_tenth_of_a_small_map_at_most(tmp_path: Path) -> None:
    engine = EngineUnderTest("lmdb", tmp_path, replace(CONFIG, map_size=4 * MIB))
    await engine.open()
    for i in range(60):
        await engine.put(*(f"{i:03}{k:03}-{'x' * 50}" for k in range(100)))
        await engine.cancel(*(f"{i:03}{k:03}-{'x' * 50}" for k in range(100)))
        await engine.forget(*(f"{i:03}{k:03}-{'x' * 50}" for k in range(100)))
    assert (await engine.verbs.events(0, 1)).lost_before == 0

    await engine.expire_all(10)

    lost_before = (await engine.verbs.events(0, 1)).lost_before
    assert lost_before > 0
    kept = 12_000 - lost_before
    assert 0 < kept * 58 < 4 * MIB // 10
    await engine.verbs.close()
