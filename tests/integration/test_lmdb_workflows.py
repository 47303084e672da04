"""What workflows leave on the disk: nothing, once all of it is dropped, however small the slices."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.contracts.harness import DEAD_TTL, DEDUP_WINDOW, EngineUnderTest
from tests.contracts.workflows import Workflow, submit, take_tokens, workflow_id

from tqbroker_broker.attempts import Ending, Held, Successes, Verdict
from tqbroker_broker.records import State, text_key
from tqbroker_broker.storage.lmdb.engine import LmdbEngine
from tqbroker_broker.storage.lmdb.keys import DATABASES

STAY = {"meta", "counts", "events", "names", "workers"}
"""What does not belong to jobs, and grows with the names that are in use."""


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[EngineUnderTest]:
    under_test = EngineUnderTest("lmdb", tmp_path)
    await under_test.open()
    yield under_test
    await under_test.verbs.close()


def rows(engine: EngineUnderTest) -> dict[str, int]:
    """How many rows each database has that is to be empty."""
    assert isinstance(engine.verbs, LmdbEngine)
    store = engine.verbs._store
    txn = store.read()
    counted = {name: txn.stat(store.db[name])["entries"] for name in DATABASES if name not in STAY}
    store.done_reading()
    return {name: count for name, count in counted.items() if count}


async def all_kinds(engine: EngineUnderTest) -> None:
    """A workflow with guests of both kinds, trails, an error callback and a group, a saved group, and two uploads."""
    workflow = Workflow("host").chord("a", "b", body="body")
    workflow.add("error", after=workflow.failure_of("body"))
    await submit(engine, workflow)
    tokens = await take_tokens(engine)
    held = Workflow("guest").add("x", "y")
    held.add("taker", after=held.list_of("x", "y", group="inner"), takes_over=True)
    await engine.verbs.submit(held.part(held=True), engine.now)
    beside = Workflow("beside").add("c", beside=True)
    await engine.verbs.submit(beside.part(beside=Held(text_key("b"), tokens["b"])), engine.now)
    replaced = Ending(tokens["a"], Verdict.REPLACED, None, workflow=workflow_id("guest"))
    done = Successes([tokens["b"]], [b"8"], "json", [1], [1], children={0: [text_key("child")]})
    await engine.verbs.finish("w", [done], [replaced], engine.now)
    await engine.verbs.save_group(workflow_id("saved"), [text_key("a")], engine.now)
    given_up = Workflow("upload").add("u").chain("v", "w")
    await engine.verbs.submit(given_up.parts([2, 1])[0], engine.now)
    await engine.verbs.submit(Workflow("never").add("t", takes_over=True).part(held=True), engine.now)


@pytest.mark.parametrize("limit", [1, 3, 1000])
async def test_nothing_is_left_of_workflows_that_were_dropped(engine: EngineUnderTest, limit: int) -> None:
    await all_kinds(engine)
    while tokens := await take_tokens(engine):
        await engine.succeed("w", tokens.values())
    assert {"workflows", "parts", "nodes", "joins", "members", "counted", "followers", "trails", "takers"} <= set(
        rows(engine)
    )

    engine.advance(DEAD_TTL)
    while (await engine.verbs.expire(engine.now, limit)).more:
        pass
    engine.advance(DEDUP_WINDOW)
    while (await engine.verbs.expire(engine.now, limit)).more:
        pass

    assert rows(engine) == {}


@pytest.mark.parametrize("database", ["notes", "jobs"])
async def test_what_waits_for_a_damaged_job_ends_with_it(engine: EngineUnderTest, database: str) -> None:
    await submit(engine, Workflow().chain("a", "b"))
    assert isinstance(engine.verbs, LmdbEngine)
    store = engine.verbs._store
    with store.env.begin(write=True) as txn:
        cursor = txn.cursor(store.db[database])
        cursor.first()
        cursor.put(cursor.key(), cursor.value()[:-1] + bytes([cursor.value()[-1] ^ 255]))

    assert await take_tokens(engine) == {}
    while (await engine.verbs.expire(engine.now, 10)).more:
        pass

    assert [(await engine.job(name)).state for name in "ab"] == [State.FAILED] * 2
    job = await engine.job("b")
    assert job.failure is not None
    assert (job.failure.type, job.cause) == ("DamagedRecord", text_key("a"))


async def test_a_restart_in_the_middle_of_a_drop_goes_on_with_it(engine: EngineUnderTest) -> None:
    await all_kinds(engine)
    while tokens := await take_tokens(engine):
        await engine.succeed("w", tokens.values())
    await engine.leave()
    engine.advance(DEAD_TTL + DEDUP_WINDOW)

    for _ in range(4):
        await engine.verbs.expire(engine.now, 2)
        await engine.restart()
    while (await engine.verbs.expire(engine.now, 2)).more:
        pass

    assert rows(engine) == {}
