"""What every engine must do with progress and checkpoints: the newest is kept, only the holder may write."""

from __future__ import annotations

import asyncio

from tests.contracts.harness import DEAD_TTL, FAILURE, GRACE, TTL, EngineUnderTest

from tqbroker_broker.attempts import Extra, Progress, Refusal, Verdict, Want
from tqbroker_broker.questions import Redrive
from tqbroker_broker.records import text_key

HALF = Progress("LOADING", b'{"file": 1}', "json", 1, 2, "half way", 1_800_000_000_000)
DONE = Progress("LOADING", b"", "", 2, 2, "", 1_800_000_000_001)


async def start(engine: EngineUnderTest, *names: str) -> dict[str, int]:
    """Jobs that are running under worker "w", with their tokens."""
    await engine.put(*names)
    await engine.join()
    return await engine.take()


async def extras(engine: EngineUnderTest) -> dict[int, Extra]:
    """What comes beside the jobs that worker "w" gets next."""
    batches = await engine.lease(Want("w", ("default",), frozenset({"tasks.add"}), 9, 9))
    return {at: extra for batch in batches for at, extra in batch.extras.items()}


async def test_progress_is_replaced_and_visible_while_the_job_runs_and_after(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")

    assert await engine.annotate("w", tokens["a"], progress=HALF) == {}
    assert (await engine.job("a")).progress == HALF
    assert await engine.annotate("w", tokens["a"], progress=DONE) == {}
    assert (await engine.job("a")).progress == DONE

    await engine.succeed("w", tokens.values())
    assert (await engine.job("a")).progress == DONE


async def test_progress_survives_a_restart_and_is_dropped_with_the_job(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")
    await engine.annotate("w", tokens["a"], progress=HALF)
    await engine.restart()
    assert (await engine.job("a")).progress == HALF
    await engine.join(held=tokens)
    await engine.succeed("w", tokens.values())

    engine.advance(DEAD_TTL)
    await engine.expire_all(10)

    assert (await engine.job("a")).progress is None


async def test_only_the_holder_of_a_lease_may_say_something(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a", "ended")
    await engine.join("v")
    await engine.succeed("w", [tokens["ended"]])

    for worker, token in (("v", tokens["a"]), ("w", tokens["ended"]), ("w", 7), ("nobody", tokens["a"])):
        assert await engine.annotate(worker, token, progress=HALF) == {token: Refusal.STALE}

    assert (await engine.job("a")).progress is None
    assert (await engine.job("ended")).progress is None


async def test_the_attempt_after_a_lost_one_gets_the_last_checkpoint(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")
    await engine.annotate("w", tokens["a"], checkpoint=b"1")
    await engine.annotate("w", tokens["a"], checkpoint=b"2")
    engine.part()
    engine.advance(GRACE)
    await engine.expire_all(10)
    await engine.join()

    assert await extras(engine) == {0: Extra(checkpoint=b"2", checkpoint_format="json")}


async def test_a_checkpoint_comes_back_after_a_retry_a_return_and_a_restart(engine: EngineUnderTest) -> None:
    checkpoint = Extra(checkpoint=b"1", checkpoint_format="json")
    tokens = await start(engine, "a")
    await engine.annotate("w", tokens["a"], checkpoint=b"1")
    await engine.end("w", tokens["a"], Verdict.RETRY)
    assert await extras(engine) == {0: checkpoint}
    await engine.verbs.release("w", [(await engine.job("a")).token], engine.now)
    assert await extras(engine) == {0: checkpoint}

    await engine.restart()
    await engine.join(process=2)
    engine.advance(TTL)

    await engine.join(process=2)
    assert await extras(engine) == {0: checkpoint}


async def test_a_checkpoint_of_a_worker_that_a_restart_lost_comes_back(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a", "plain")
    await engine.annotate("w", tokens["a"], checkpoint=b"1")

    await engine.restart()
    await engine.join(process=2)

    assert await extras(engine) == {0: Extra(checkpoint=b"1", checkpoint_format="json")}


async def test_progress_and_checkpoint_are_replaced_apart_from_each_other(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")
    await engine.annotate("w", tokens["a"], progress=HALF, checkpoint=b"1")
    await engine.annotate("w", tokens["a"], progress=DONE)
    await engine.annotate("w", tokens["a"], checkpoint=b"2")

    assert (await engine.job("a")).progress == DONE
    await engine.end("w", tokens["a"], Verdict.RETRY, failure=FAILURE)
    assert (await extras(engine))[0].checkpoint == b"2"


async def test_a_delivered_job_says_when_it_was_due_and_when_it_expires(engine: EngineUnderTest) -> None:
    due_ms, expires_ms = engine.later(5), engine.later(50)
    await engine.put("late", due_ms=due_ms, expires_ms=expires_ms)
    await engine.put("plain")
    await engine.join()
    engine.advance(5)
    await engine.verbs.due(engine.now, 10)

    assert await extras(engine) == {1: Extra(due_ms, expires_ms)}


async def test_a_delivered_retry_says_when_it_was_due(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")
    due_ms = engine.later(5)
    await engine.end("w", tokens["a"], Verdict.RETRY, retry_in=5)
    engine.advance(5)
    await engine.verbs.due(engine.now, 10)

    assert await extras(engine) == {0: Extra(due_ms)}


async def test_the_checkpoint_of_a_job_that_ended_is_gone_also_when_it_is_redriven(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a", "b")
    await engine.annotate("w", tokens["a"], progress=HALF, checkpoint=b"1")
    await engine.end("w", tokens["a"], Verdict.FAILED, failure=FAILURE)
    await asyncio.gather(
        engine.put("first of a commit"),
        engine.annotate("w", tokens["b"], progress=HALF, checkpoint=b"1"),
        engine.end("w", tokens["b"], Verdict.FAILED, failure=FAILURE),
    )

    await engine.verbs.edit([text_key("a"), text_key("b")], Redrive(), engine.now)

    assert [extra.checkpoint for extra in (await extras(engine)).values()] == [b"", b""]
    assert (await engine.job("b")).progress == HALF
