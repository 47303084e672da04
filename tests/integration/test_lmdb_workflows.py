"""What workflows leave on the disk: nothing, once all of it is dropped, however small the slices."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs
from tests.contracts.harness import CONFIG, DEAD_TTL, DEDUP_WINDOW, FAILURE, RESULT_TTL, EngineUnderTest
from tests.contracts.workflows import Workflow, fail, states, submit, take_tokens, workflow_id

from tqbroker_broker.answers import Cancelled
from tqbroker_broker.attempts import Ending, Held, Successes, Verdict
from tqbroker_broker.questions import Effect, Redrive
from tqbroker_broker.records import State, key_text, text_key
from tqbroker_broker.storage import StoreFull, Unavailable
from tqbroker_broker.storage.lmdb.engine import LmdbEngine
from tqbroker_broker.storage.lmdb.keys import DATABASES
from tqbroker_broker.workflow_decisions import SHORT
from tqbroker_broker.workflows import Tally

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


async def test_a_job_goes_with_its_workflow_whatever_was_planned_for_it_before(engine: EngineUnderTest) -> None:
    await engine.put("a")
    await fail(engine, "a")
    engine.advance(DEAD_TTL - 1)
    engine.extend()
    await engine.verbs.edit([text_key("a")], Redrive(None, 0, 0), engine.now)
    token = (await take_tokens(engine))["a"]
    beside = Workflow("beside").add("b", due_ms=engine.later(10 * RESULT_TTL))
    await engine.verbs.submit(beside.part(beside=Held(text_key("a"), token)), engine.now)
    await engine.succeed("w", [token])

    for _ in range(2):
        engine.advance(RESULT_TTL + 2)
        while (await engine.verbs.expire(engine.now, 10)).more:
            pass

    assert (await engine.job("a")).state is State.SUCCEEDED


async def long_chain(directory: Path, *, length: int = 100, group_limit: int = 10) -> tuple[EngineUnderTest, list[str]]:
    engine = EngineUnderTest("lmdb", directory, replace(CONFIG, group_limit=group_limit))
    await engine.open()
    names = [f"job {number}" for number in range(length)]
    await submit(engine, Workflow().chain(*names))
    return engine, names


async def test_a_very_long_chain_ends_in_several_commits_also_over_a_restart(tmp_path: Path) -> None:
    engine, names = await long_chain(tmp_path)
    final = await fail(engine, names[0], FAILURE)
    assert len(final) == 11

    with pytest.raises(Unavailable):
        await engine.verbs.edit([text_key(names[0])], Redrive(None, 0, 0), engine.now)
    await engine.restart()
    while (expired := await engine.verbs.expire(engine.now, 10)).more:
        assert 0 < len(expired.final) <= 11
        final += [key_text(job) for job in expired.final]
    final += [key_text(job) for job in expired.final]

    assert final == names
    last = await engine.job(names[-1])
    assert (last.state, last.failure, last.cause) == (State.FAILED, FAILURE, text_key(names[-2]))
    answer = await engine.verbs.edit([text_key(names[0])], Redrive(None, 0, 0), engine.now)
    assert answer.effects == [Effect.DONE]
    assert set(await states(engine, *names[1:])) == {State.WAITING}
    await engine.verbs.close()


async def test_a_workflow_that_ends_in_several_commits_is_cancelled_meanwhile(tmp_path: Path) -> None:
    engine, names = await long_chain(tmp_path)
    await fail(engine, names[0])

    assert (await engine.cancel(names[50])).effects == [Cancelled.CANCELLED]
    while (await engine.verbs.expire(engine.now, 10)).more:
        pass

    assert await states(engine, *names) == [State.FAILED] * 50 + [State.CANCELLED] * 50
    page = await engine.verbs.workflows(frozenset(), b"", 1)
    assert page.workflows[0].tally == Tally(100, 0, 0, 50, 50)
    await engine.verbs.close()


async def test_the_failure_of_a_long_chain_is_not_copied_without_end(tmp_path: Path) -> None:
    engine, names = await long_chain(tmp_path, group_limit=5000)
    failure = structs.replace(FAILURE, message="m" * 5000, traceback="t" * 60_000)
    await fail(engine, names[0], failure)

    assert (await engine.job(names[0])).failure == failure
    last = (await engine.job(names[-1])).failure
    assert last == structs.replace(failure, message="m" * SHORT, traceback="")
    await engine.verbs.close()


async def test_there_is_room_for_the_end_of_all_that_waits(tmp_path: Path) -> None:
    engine = EngineUnderTest("lmdb", tmp_path, replace(CONFIG, map_size=32 << 20, max_result_size=4096))
    await engine.open()
    await engine.join()
    count = 0
    with contextlib.suppress(StoreFull):
        while count < 1000:
            names = [f"job {count} {number}" for number in range(500)]
            await submit(engine, Workflow(f"workflow {count}").chain(*names))
            count += 1
            engine.advance(1)  # so that it is looked again how full the store is
            engine.extend()
    assert 3 <= count < 1000

    failure = structs.replace(FAILURE, message="m" * 5000, traceback="t" * 60_000)
    for _ in range(count):
        tokens = await engine.take(slots=1)
        assert len((await engine.end("w", next(iter(tokens.values())), Verdict.FAILED, failure=failure)).final) == 500
    await engine.verbs.close()
