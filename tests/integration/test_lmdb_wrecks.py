"""Rows of workflows that cannot be read any more: nothing waits for ever, and what cannot go on says so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.contracts.harness import EngineUnderTest
from tests.contracts.workflows import Workflow, states, submit, take_tokens

from tqbroker_broker.answers import QueueCounts
from tqbroker_broker.attempts import Verdict
from tqbroker_broker.records import State
from tqbroker_broker.storage.lmdb.engine import LmdbEngine

SUCCEEDED, FAILED, CANCELLED = State.SUCCEEDED, State.FAILED, State.CANCELLED


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[EngineUnderTest]:
    under_test = EngineUnderTest("lmdb", tmp_path)
    await under_test.open()
    yield under_test
    await under_test.verbs.close()


async def chord_with_all(engine: EngineUnderTest) -> None:
    """A chord, an error callback of its body, and a job behind that."""
    workflow = Workflow().chord("a", "b", body="body")
    workflow.add("error", after=workflow.failure_of("body"))
    await submit(engine, workflow.add("end", after=workflow.join("body")))


def spoil(engine: EngineUnderTest, database: str, row: int) -> None:
    assert isinstance(engine.verbs, LmdbEngine)
    store = engine.verbs._store
    with store.env.begin(write=True) as txn:
        cursor = txn.cursor(store.db[database])
        cursor.first()
        for _ in range(row):
            cursor.next()
        cursor.put(cursor.key(), cursor.value()[:-1] + bytes([cursor.value()[-1] ^ 255]))


async def settle(engine: EngineUnderTest) -> None:
    """Runs what can run, until nothing goes on any more."""
    while True:
        tokens = await take_tokens(engine)
        await engine.succeed("w", tokens.values())
        ended = [await engine.verbs.expire(engine.now, 3)]
        while ended[-1].more:
            ended.append(await engine.verbs.expire(engine.now, 3))
        if not tokens and not any(each.final for each in ended):
            return


@pytest.mark.parametrize(
    ("database", "row", "ends"),
    [
        ("workflows", 0, [SUCCEEDED, CANCELLED, SUCCEEDED]),
        ("joins", 0, [FAILED, SUCCEEDED, FAILED]),  # what the body waits for
        ("joins", 1, [SUCCEEDED, FAILED, SUCCEEDED]),  # what the error callback waits for
        ("joins", 2, [SUCCEEDED, CANCELLED, FAILED]),  # what the end waits for
        ("nodes", 0, [FAILED, SUCCEEDED, FAILED]),  # of a member
        ("nodes", 2, [FAILED, FAILED, FAILED]),  # of the body
        ("nodes", 3, [SUCCEEDED, FAILED, SUCCEEDED]),
        ("nodes", 4, [SUCCEEDED, CANCELLED, FAILED]),
    ],
)
async def test_every_job_ends_whatever_row_is_damaged(
    engine: EngineUnderTest, database: str, row: int, ends: list[State]
) -> None:
    await chord_with_all(engine)
    spoil(engine, database, row)
    await engine.restart()

    await settle(engine)

    assert await states(engine, "a", "b", "body", "error", "end") == [SUCCEEDED, SUCCEEDED, *ends]
    failures = {job.failure.type for name in ("body", "error", "end") if (job := await engine.job(name)).failure}
    assert failures <= {"DamagedRecord"}
    counts = QueueCounts(
        succeeded=2 + ends.count(SUCCEEDED), failed=ends.count(FAILED), cancelled=ends.count(CANCELLED)
    )
    assert (await engine.verbs.stats()).queues == {"default": counts}


@pytest.mark.parametrize(("database", "row"), [("workflows", 0), ("joins", 0), ("nodes", 2)])
async def test_what_waits_where_nothing_can_be_read_ends_when_it_is_cancelled(
    engine: EngineUnderTest, database: str, row: int
) -> None:
    await chord_with_all(engine)
    spoil(engine, database, row)
    await engine.restart()

    await engine.cancel("body")
    while (await engine.verbs.expire(engine.now, 10)).more:
        pass

    assert (await engine.job("body")).state in (FAILED, CANCELLED)


@pytest.mark.parametrize("database", ["takers", "nodes"])
async def test_a_replacement_that_cannot_be_read_counts_as_lost(engine: EngineUnderTest, database: str) -> None:
    await engine.put("a")
    token = (await take_tokens(engine))["a"]
    held = Workflow("guest").add("taker", takes_over=True)
    await engine.verbs.submit(held.part(held=True), engine.now)
    spoil(engine, database, 0)

    await engine.end("w", token, Verdict.REPLACED, workflow=held.id)

    job = await engine.job("a")
    assert (job.state, job.lost) == (State.QUEUED, 1)
