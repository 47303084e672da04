"""Rows in the place of others: an id or a number that has become another one on the disk is never another's result."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.contracts.harness import DEDUP_WINDOW, RESULT_TTL, EngineUnderTest

from tqbroker_broker.answers import Cancelled
from tqbroker_broker.questions import Effect, Redrive
from tqbroker_broker.records import State, text_key
from tqbroker_broker.storage import Fenced
from tqbroker_broker.storage.lmdb.engine import LmdbEngine

PAGE, FLAGS_AT, NO_LEAF = 4096, 10, 4


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[EngineUnderTest]:
    """One with two jobs, of which "a" has the result 1 and "b" the result 2."""
    under_test = EngineUnderTest("lmdb", tmp_path)
    await under_test.open()
    await under_test.join()
    await under_test.put("a", "b")
    tokens = await under_test.take()
    await under_test.succeed("w", [tokens["a"]], result=b"1")
    await under_test.succeed("w", [tokens["b"]], result=b"2")
    yield under_test
    await under_test.verbs.close()


def move(engine: EngineUnderTest, database: str, source: bytes, target: bytes) -> None:
    """What stands under one key stands under another from now on."""
    assert isinstance(engine.verbs, LmdbEngine)
    store = engine.verbs._store
    with store.env.begin(write=True) as txn:
        row = txn.pop(source, db=store.db[database])
        assert row is not None
        txn.put(target, row, db=store.db[database])


def seq(engine: EngineUnderTest, name: str) -> bytes:
    assert isinstance(engine.verbs, LmdbEngine)
    store = engine.verbs._store
    number = store.seq_of(store.read(), text_key(name))
    store.done_reading()
    assert number is not None
    return number.to_bytes(8, "big")


async def test_the_outcome_of_another_job_is_none(engine: EngineUnderTest) -> None:
    move(engine, "final", seq(engine, "a"), seq(engine, "b"))
    job = await engine.job("b")
    assert job.state is State.FAILED
    assert job.failure is not None
    assert job.failure.type == "DamagedRecord"
    assert job.result == b""


async def test_an_id_that_leads_to_another_job_leads_nowhere(engine: EngineUnderTest) -> None:
    move(engine, "ids", text_key("a"), text_key("b"))
    job = await engine.job("b")
    assert (job.id, job.state, job.result) == (text_key("b"), State.FAILED, b"")
    assert job.failure is not None
    assert job.failure.type == "DamagedRecord"
    assert (await engine.cancel("b")).effects == [Cancelled.FINAL]
    assert (await engine.verbs.edit([text_key("b")], Redrive(), engine.now)).effects == [Effect.UNKNOWN]
    assert await engine.forget("b") == 0


async def test_a_job_whose_id_is_lost_is_dropped_when_its_time_has_come(engine: EngineUnderTest) -> None:
    move(engine, "ids", text_key("a"), b"nobody")
    engine.advance(RESULT_TTL + 1)
    await engine.expire_all(10)
    assert (await engine.verbs.stats()).queues == {}
    assert (await engine.job("b")).forgotten
    engine.advance(DEDUP_WINDOW)
    await engine.expire_all(10)
    await engine.put("a")
    assert (await engine.job("a")).state is State.QUEUED


async def test_a_page_that_cannot_be_read_stops_the_broker(tmp_path: Path) -> None:
    engine = EngineUnderTest("lmdb", tmp_path)
    await engine.open()
    await engine.join()
    await engine.put("a")
    await engine.succeed("w", (await engine.take()).values(), result=b"the result")
    await engine.verbs.close()
    file = tmp_path / "data" / "data.mdb"
    content = bytearray(file.read_bytes())
    flags = content.rindex(b"the result") // PAGE * PAGE + FLAGS_AT
    content[flags] = NO_LEAF
    file.write_bytes(content)
    engine = EngineUnderTest("lmdb", tmp_path)
    await engine.open()

    with pytest.raises(Fenced, match=r"the store cannot be read: .* tqbroker verify says what is damaged"):
        await engine.job("a")
    with pytest.raises(Fenced):
        await engine.verbs.ended([text_key("a")])

    await engine.verbs.close()
