"""What every engine must keep of the attempts of a job that did not succeed."""

from __future__ import annotations

from tests.contracts.harness import DEAD_TTL, DEDUP_WINDOW, FAILURE, GRACE, EngineUnderTest

from tqbroker_broker.attempts import PastAttempt, Verdict
from tqbroker_broker.records import State


async def start(engine: EngineUnderTest, *names: str) -> dict[str, int]:
    """Jobs that are running under worker "w", with their tokens."""
    await engine.put(*names)
    await engine.join()
    return await engine.take()


async def verdicts(engine: EngineUnderTest, name: str) -> list[Verdict]:
    return [attempt.verdict for attempt in await engine.history(name)]


async def test_an_attempt_that_is_retried_stays_visible_with_its_failure_and_what_was_planned(
    engine: EngineUnderTest,
) -> None:
    tokens = await start(engine, "a")

    await engine.end("w", tokens["a"], Verdict.RETRY, retry_in=10, failure=FAILURE)

    now_ms = engine.now.wall_ms
    past = PastAttempt("w", tokens["a"], Verdict.RETRY, now_ms, now_ms, FAILURE, engine.later(10))
    assert await engine.history("a") == [past]


async def test_the_last_attempt_of_a_failed_job_is_kept_like_those_before(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")
    await engine.end("w", tokens["a"], Verdict.RETRY)
    tokens = await engine.take()
    await engine.end("w", tokens["a"], Verdict.REQUEUED)
    tokens = await engine.take()
    await engine.end("w", tokens["a"], Verdict.FAILED, failure=FAILURE)

    attempts = await engine.history("a")
    assert [attempt.verdict for attempt in attempts] == [Verdict.RETRY, Verdict.REQUEUED, Verdict.FAILED]
    assert (attempts[-1].token, attempts[-1].failure, attempts[-1].next_due_ms) == (tokens["a"], FAILURE, 0)


async def test_an_attempt_that_is_lost_began_when_it_was_handed_out_unless_its_worker_says_otherwise(
    engine: EngineUnderTest,
) -> None:
    await start(engine, "a")
    leased_ms = engine.now.wall_ms
    engine.advance(5)
    engine.part()
    engine.advance(GRACE)
    await engine.expire_all(10)
    await engine.join()
    tokens = await engine.take()
    engine.advance(5)
    await engine.end("w", tokens["a"], Verdict.LOST)

    first, second = await engine.history("a")
    assert first.started_ms == leased_ms
    assert second.started_ms == engine.now.wall_ms
    assert first.ended_ms > first.started_ms


async def test_lost_leases_are_part_of_the_history_whoever_notices(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")
    await engine.end("w", tokens["a"], Verdict.LOST)
    await engine.take()
    engine.part()
    engine.advance(GRACE)
    await engine.expire_all(10)
    await engine.join()
    await engine.take()
    engine.part()

    await engine.join(process=2)

    job = await engine.job("a")
    assert job.state is State.FAILED
    attempts = await engine.history("a")
    assert [attempt.verdict for attempt in attempts] == [Verdict.LOST] * 3
    reasons = [attempt.failure.message for attempt in attempts if attempt.failure is not None]
    for words, reason in zip(("lost the process", "fell silent", "died"), reasons, strict=True):
        assert words in reason
    assert attempts[-1].failure == job.failure


async def test_successes_and_cancelled_attempts_leave_no_history(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "done", "stopped", "marked")
    await engine.cancel("marked")

    await engine.succeed("w", [tokens["done"]])
    await engine.end("w", tokens["stopped"], Verdict.CANCELLED, failure=FAILURE)
    await engine.end("w", tokens["marked"], Verdict.LOST)

    assert [await engine.history(name) for name in tokens] == [[], [], []]


async def test_a_job_that_succeeds_at_last_shows_its_earlier_attempts(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")
    await engine.end("w", tokens["a"], Verdict.RETRY)

    await engine.succeed("w", (await engine.take()).values())

    assert await verdicts(engine, "a") == [Verdict.RETRY]


async def test_the_history_survives_a_restart(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")
    await engine.end("w", tokens["a"], Verdict.RETRY, failure=FAILURE)
    before = await engine.history("a")

    await engine.restart()

    assert await engine.history("a") == before


async def test_attempts_are_told_only_to_who_asks(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")
    await engine.end("w", tokens["a"], Verdict.RETRY)

    assert list((await engine.job("a")).attempts) == []


async def test_the_history_is_dropped_with_its_job_and_no_other(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a", "b", "c")
    for name, token in tokens.items():
        await engine.end("w", token, Verdict.FAILED if name == "b" else Verdict.RETRY, failure=FAILURE)
    await engine.leave()

    assert await engine.forget("b") == 1

    assert [await verdicts(engine, name) for name in "abc"] == [[Verdict.RETRY], [], [Verdict.RETRY]]
    engine.advance(DEAD_TTL + DEDUP_WINDOW)
    await engine.expire_all(10)
    assert (await engine.put("b")).stored == 1
    assert await verdicts(engine, "b") == []


async def test_of_many_attempts_the_first_and_the_newest_are_kept(engine: EngineUnderTest) -> None:
    tokens = [await start(engine, "a")]
    for _ in range(5):
        await engine.end("w", tokens[-1]["a"], Verdict.RETRY)
        tokens.append(await engine.take())
    await engine.end("w", tokens[-1]["a"], Verdict.FAILED)

    kept = [attempt.token for attempt in await engine.history("a")]

    assert engine.config.max_attempts_kept == 3
    assert kept == [tokens[0]["a"], tokens[-2]["a"], tokens[-1]["a"]]
