"""What every engine must do with those that wait for a job that is cancelled, or expires."""

from __future__ import annotations

from tests.contracts.harness import EngineUnderTest
from tests.contracts.workflows import Workflow, fail, finals, run, states, submit, take, take_tokens

from tqbroker_broker.answers import CancelAnswer, Cancelled
from tqbroker_broker.attempts import Verdict
from tqbroker_broker.records import State, text_key

WAITING, QUEUED = State.WAITING, State.QUEUED
CANCELLED, EXPIRED = State.CANCELLED, State.EXPIRED


async def test_cancelling_a_member_cancels_what_follows(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chain("a", "b", "c"))

    answer = await engine.cancel("a")

    assert answer == CancelAnswer([Cancelled.CANCELLED], {}, (text_key("b"), text_key("c")))
    assert await states(engine, "a", "b", "c") == [CANCELLED] * 3
    job = await engine.job("b")
    assert (job.cause, job.failure and job.failure.type) == (text_key("a"), "TaskRevokedError")


async def test_a_waiting_job_can_be_cancelled(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chain("a", "b", "c"))

    answer = await engine.cancel("b")

    assert answer == CancelAnswer([Cancelled.CANCELLED], {}, (text_key("c"),))
    assert await run(engine, "a") == ["a"]
    job = await engine.job("b")
    assert (job.state, job.cause, job.failure) == (CANCELLED, b"", None)


async def test_jobs_of_one_cancel_end_one_after_the_other(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chain("a", "b", "c"))

    answer = await engine.cancel("b", "a", "c")

    assert answer == CancelAnswer([Cancelled.CANCELLED, Cancelled.CANCELLED, Cancelled.FINAL], {}, (text_key("c"),))


async def test_a_cancel_of_a_running_member_takes_its_followers_when_it_ends(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chain("a", "b"))
    tokens = await take_tokens(engine)
    assert (await engine.cancel("a")).final == ()
    assert (await engine.job("b")).state is WAITING

    await engine.end("w", tokens["a"], Verdict.CANCELLED)

    assert await states(engine, "a", "b") == [CANCELLED] * 2


async def test_a_cancel_does_not_call_for_error_callbacks(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a")
    await submit(engine, workflow.add("error", after=workflow.failure_of("a")))

    answer = await engine.cancel("a")

    assert finals(answer.final) == ["error"]
    job = await engine.job("error")
    assert (job.state, job.cause, job.failure) == (CANCELLED, b"", None)


async def test_a_cancelled_member_does_not_spare_a_callback_that_others_may_need(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a", "b")
    await submit(engine, workflow.add("error", after=workflow.failure_of("a", "b")))
    await engine.cancel("a")
    assert (await engine.job("error")).state is WAITING

    await fail(engine, "b")

    assert await take(engine) == ["error"]


async def test_an_expired_member_expires_what_follows_and_calls_for_error_callbacks(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a", expires_ms=engine.later(1))
    workflow.add("b", after=workflow.join("a"))
    await submit(engine, workflow.add("error", after=workflow.failure_of("a")))
    engine.advance(1)

    expired = await engine.verbs.expire(engine.now, 10)

    assert (finals(expired.final), expired.woken) == (["a", "b"], frozenset({"default"}))
    assert await states(engine, "a", "b", "error") == [EXPIRED, EXPIRED, QUEUED]
    job = await engine.job("b")
    assert (job.cause, job.failure and job.failure.type) == (text_key("a"), "TaskRevokedError")


async def test_a_waiting_job_expires_at_its_moment(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a")
    workflow.add("b", after=workflow.join("a"), expires_ms=engine.later(1))
    await submit(engine, workflow.add("c", after=workflow.join("b")))
    engine.advance(1)

    expired = await engine.verbs.expire(engine.now, 10)

    assert finals(expired.final) == ["b", "c"]
    assert await states(engine, "a", "b", "c") == [QUEUED, EXPIRED, EXPIRED]
