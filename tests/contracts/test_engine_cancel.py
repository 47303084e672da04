"""What every engine must do when somebody does not want a job any more."""

from __future__ import annotations

import pytest
from tests.contracts.harness import TTL, EngineUnderTest

from tqbroker_broker.answers import CancelAnswer, Cancelled, Mark
from tqbroker_broker.attempts import Verdict
from tqbroker_broker.records import State, text_key


async def start(engine: EngineUnderTest, *names: str) -> dict[str, int]:
    """Jobs that are running under worker "w", with their tokens."""
    await engine.put(*names)
    await engine.join()
    return await engine.take()


async def test_a_waiting_job_is_cancelled_at_once(engine: EngineUnderTest) -> None:
    await engine.put("queued")
    await engine.put("scheduled", due_ms=engine.later(60))

    assert await engine.cancel("queued", "scheduled") == CancelAnswer([Cancelled.CANCELLED] * 2, {})

    job = await engine.job("queued")
    assert (job.state, job.finished_ms, job.token, job.worker) == (State.CANCELLED, engine.now.wall_ms, 0, "")
    assert (await engine.job("scheduled")).state is State.CANCELLED


async def test_a_cancelled_job_is_never_handed_out(engine: EngineUnderTest) -> None:
    await engine.put("a", "b")
    await engine.put("later", due_ms=engine.later(5))
    await engine.cancel("a", "later")
    await engine.join()
    engine.advance(5)

    assert (await engine.verbs.due(engine.now, 10)).woken == frozenset()
    assert list(await engine.take()) == ["b"]


async def test_a_running_job_is_marked_and_its_worker_told(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a", "b")

    assert await engine.cancel("a", "b") == CancelAnswer([Cancelled.RUNNING] * 2, {"w": [tokens["a"], tokens["b"]]})

    job = await engine.job("a")
    assert (job.state, job.cancel_requested) == (State.RUNNING, True)


async def test_a_running_job_can_be_cancelled_again(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")
    await engine.cancel("a")

    assert await engine.cancel("a") == CancelAnswer([Cancelled.RUNNING], {"w": [tokens["a"]]})


async def test_what_is_final_or_unknown_is_said_to_be_so(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "done", "dropped")
    await engine.succeed("w", tokens.values())
    await engine.forget("dropped")
    await engine.put("cancelled")

    answer = await engine.cancel("done", "dropped", "nobody", "cancelled", "cancelled")

    assert answer.effects == [Cancelled.FINAL, Cancelled.FINAL, Cancelled.UNKNOWN, Cancelled.CANCELLED, Cancelled.FINAL]
    assert answer.tokens == {}
    assert (await engine.job("done")).state is State.SUCCEEDED


async def test_success_wins_over_a_cancel(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")
    await engine.cancel("a")
    await engine.succeed("w", tokens.values())

    job = await engine.job("a")
    assert (job.state, job.result, job.cancel_requested) == (State.SUCCEEDED, b"8", True)


@pytest.mark.parametrize("verdict", [Verdict.FAILED, Verdict.RETRY, Verdict.LOST, Verdict.CANCELLED], ids=str)
async def test_a_cancel_wins_over_every_other_outcome(engine: EngineUnderTest, verdict: Verdict) -> None:
    tokens = await start(engine, "a")
    await engine.cancel("a")

    answer = await engine.end("w", tokens["a"], verdict, retry_in=5)

    job = await engine.job("a")
    assert answer.final == [text_key("a")]
    assert (job.state, job.failure, job.cancel_requested) == (State.CANCELLED, None, True)


async def test_a_mark_survives_a_restart(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")
    await engine.cancel("a")
    await engine.restart()

    assert (await engine.job("a")).cancel_requested
    await engine.join(held=tokens)
    assert engine.marks() == {tokens["a"]: Mark.ASKED}


async def test_a_worker_that_comes_back_is_told_again(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a", "b")
    engine.part()
    await engine.cancel("b")

    await engine.join(held=tokens)
    assert engine.marks() == {tokens["b"]: Mark.ASKED}


async def test_a_marked_job_whose_worker_is_lost_is_cancelled(engine: EngineUnderTest) -> None:
    await start(engine, "a")
    await engine.cancel("a")
    engine.advance(TTL)

    expired = await engine.verbs.expire(engine.now, 10)

    job = await engine.job("a")
    assert (expired.final, expired.woken) == ([text_key("a")], frozenset())
    assert (job.state, job.lost, job.failure) == (State.CANCELLED, 1, None)


async def test_a_marked_job_that_comes_back_is_not_handed_out_and_soon_cancelled(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "returned", "undelivered")
    await engine.cancel("returned", "undelivered")
    await engine.verbs.release("w", [tokens["returned"]], engine.now)
    await engine.join()

    assert await engine.take() == {}
    expired = await engine.verbs.expire(engine.now, 10)
    assert sorted(expired.final) == [text_key("returned"), text_key("undelivered")]
    assert (await engine.job("returned")).state is State.CANCELLED


async def test_a_marked_job_that_came_back_can_be_cancelled_at_once(engine: EngineUnderTest) -> None:
    await start(engine, "a")
    await engine.cancel("a")
    await engine.leave()

    assert (await engine.cancel("a")).effects == [Cancelled.CANCELLED]
    assert (await engine.verbs.expire(engine.now, 10)).final == []
