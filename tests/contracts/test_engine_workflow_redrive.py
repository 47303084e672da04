"""What every engine must do when a job of a workflow is redriven: what ended because of it waits again."""

from __future__ import annotations

from tests.contracts.harness import FAILURE, EngineUnderTest
from tests.contracts.workflows import Workflow, fail, ids, run, states, submit, take, take_tokens

from tqbroker_broker.answers import Cancelled
from tqbroker_broker.attempts import Verdict
from tqbroker_broker.questions import Effect, EventKind, Redrive
from tqbroker_broker.records import State, key_text, text_key

FAILED, WAITING, QUEUED = State.FAILED, State.WAITING, State.QUEUED


async def redrive(engine: EngineUnderTest, *names: str) -> list[Effect]:
    return (await engine.verbs.edit(ids(*names), Redrive(), engine.now)).effects


async def fail_running(engine: EngineUnderTest, tokens: dict[str, int], *names: str) -> None:
    for name in names:
        await engine.end("w", tokens[name], Verdict.FAILED, failure=FAILURE)


async def test_a_chain_goes_on_where_it_failed(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chain("a", "b", "c"))
    await run(engine, "a", result=b"from a")
    await fail(engine, "b", FAILURE)

    assert await redrive(engine, "b") == [Effect.DONE]

    assert await states(engine, "a", "b", "c") == [State.SUCCEEDED, QUEUED, WAITING]
    job = await engine.job("c")
    assert (job.failure, job.cause, job.finished_ms, job.left, job.members) == (None, b"", 0, 1, 1)
    inputs = await engine.verbs.inputs(text_key("b"), 0)
    assert inputs is not None
    assert inputs.values == [b"from a"]
    assert await run(engine, "b") == ["b"]
    assert await run(engine, "c") == ["c"]


async def test_what_ended_because_of_another_cannot_be_redriven_itself(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chain("a", "b", "c"))
    await fail(engine, "a")

    assert await redrive(engine, "c", "b", "a") == [Effect.FOLLOWS, Effect.FOLLOWS, Effect.DONE]
    assert await states(engine, "a", "b", "c") == [QUEUED, WAITING, WAITING]


async def test_a_body_waits_again_once_no_other_member_is_in_the_way(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chord("a", "b", "c", body="body"))
    tokens = await take_tokens(engine)
    await fail_running(engine, tokens, "c", "b")
    await engine.succeed("w", [tokens["a"]])

    assert await redrive(engine, "c") == [Effect.DONE]
    job = await engine.job("body")
    assert (job.state, job.cause) == (FAILED, text_key("b"))

    assert await redrive(engine, "b") == [Effect.DONE]
    assert (await engine.job("body")).state is WAITING
    assert await run(engine, "c", "b") == ["c", "b"]
    assert await run(engine, "body") == ["body"]


async def test_a_member_that_succeeds_before_the_last_is_redriven_counts(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chord("a", "b", body="body"))
    tokens = await take_tokens(engine)
    await fail_running(engine, tokens, "a", "b")
    await redrive(engine, "a")
    assert await run(engine, "a") == ["a"]
    assert (await engine.job("body")).cause == text_key("b")

    await redrive(engine, "b")

    job = await engine.job("body")
    assert (job.state, job.left) == (WAITING, 1)
    assert await run(engine, "b") == ["b"]
    assert await take(engine) == ["body"]


async def test_a_cancelled_member_stays_in_the_way(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chord("a", "b", body="body"))
    await engine.cancel("a")
    await fail(engine, "b")

    assert await redrive(engine, "b") == [Effect.DONE]

    assert (await engine.job("body")).state is State.CANCELLED


async def test_what_was_cancelled_by_itself_does_not_wait_again(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chain("a", "b", "c"))
    await engine.cancel("c")
    await fail(engine, "a")

    await redrive(engine, "a")

    assert await states(engine, "a", "b", "c") == [QUEUED, WAITING, State.CANCELLED]


async def test_an_error_callback_that_was_released_stays_so(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a")
    workflow.add("b", after=workflow.join("a"))
    await submit(engine, workflow.add("error", after=workflow.failure_of("a")))
    await fail(engine, "a")
    assert await run(engine, "error") == ["error"]

    await redrive(engine, "a")
    await fail(engine, "a")

    assert await take(engine) == []
    assert await states(engine, "a", "b", "error") == [FAILED, FAILED, State.SUCCEEDED]


async def test_a_failed_error_callback_can_be_redriven(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a")
    await submit(engine, workflow.add("error", after=workflow.failure_of("a")))
    await fail(engine, "a")
    await fail(engine, "error")

    assert await redrive(engine, "error") == [Effect.DONE]
    assert await take(engine) == ["error"]


async def test_what_waits_again_has_no_moment_to_expire_any_more(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a")
    workflow.add("b", after=workflow.join("a"), expires_ms=engine.later(5))
    await submit(engine, workflow.add("c", after=workflow.join("b"), expires_in=5, countdown=2))
    await fail(engine, "a")
    engine.advance(5)

    await redrive(engine, "a")
    await engine.verbs.expire(engine.now, 10)

    assert await states(engine, "a", "b", "c") == [QUEUED, WAITING, WAITING]
    await run(engine, "a")
    await run(engine, "b")
    job = await engine.job("c")
    assert (job.due_ms, job.expires_ms) == (engine.later(2), engine.later(5))


async def test_a_chain_that_failed_again_can_be_redriven_again(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chain("a", "b"))
    for _ in range(3):
        await fail(engine, "a")
        assert await states(engine, "a", "b") == [FAILED] * 2
        assert await redrive(engine, "a") == [Effect.DONE]

    await run(engine, "a")
    assert await run(engine, "b") == ["b"]


async def test_the_redrive_survives_a_restart(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chain("a", "b", "c"))
    await fail(engine, "a")
    await redrive(engine, "a")
    await engine.leave()
    await engine.restart()

    assert await states(engine, "a", "b", "c") == [QUEUED, WAITING, WAITING]
    for name in "abc":
        assert await run(engine, name) == [name]


async def test_a_long_chain_waits_again_in_one_step(engine: EngineUnderTest) -> None:
    names = [f"job {number}" for number in range(2000)]
    await submit(engine, Workflow().chain(*names))
    await fail(engine, names[0])

    assert await redrive(engine, names[0]) == [Effect.DONE]

    assert (await engine.verbs.stats()).queues["default"].waiting == len(names) - 1


async def test_what_waits_again_is_told_in_the_log(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chain("a", "b"))
    await fail(engine, "a")
    await redrive(engine, "a")
    page = await engine.verbs.events(0, 100)

    edited = [key_text(job) for each in page.events if each.kind is EventKind.EDITED for job in each.ids]

    assert sorted(edited) == ["a", "b"]


async def test_what_was_cancelled_while_it_was_sent_ends_so_when_it_waits_again(engine: EngineUnderTest) -> None:
    first, last = Workflow().chain("a", "b", "c").parts([2, 1])
    await engine.verbs.submit(first, engine.now)
    assert (await engine.cancel("b")).effects == [Cancelled.PENDING]
    await engine.verbs.submit(last, engine.now)
    await fail(engine, "a")
    await engine.expire_all(100)

    await redrive(engine, "a")
    await run(engine, "a")
    await engine.expire_all(100)

    assert await states(engine, "a", "b", "c") == [State.SUCCEEDED, State.CANCELLED, State.CANCELLED]
