"""What every engine must remember of what jobs have submitted, and whom they released."""

from __future__ import annotations

from tests.contracts.harness import FAILURE, EngineUnderTest
from tests.contracts.workflows import Workflow, finals, ids, run, submit, take_tokens

from tqbroker_broker.attempts import Successes, Verdict
from tqbroker_broker.questions import Redrive


async def children(engine: EngineUnderTest, name: str) -> list[str]:
    return finals((await engine.verbs.get(ids(name), with_children=True))[0].children)


async def test_a_job_knows_what_its_body_has_submitted(engine: EngineUnderTest) -> None:
    await engine.put("a", "b")
    tokens = list((await take_tokens(engine)).values())
    batch = Successes(tokens, [b"1", b"2"], "json", [engine.now.wall_ms] * 2, [1, 1], children={1: ids("x", "y")})
    await engine.verbs.finish("w", [batch], [], engine.now)
    await engine.leave()
    await engine.restart()

    assert [await children(engine, name) for name in "ab"] == [[], ["x", "y"]]
    assert (await engine.job("b")).children == ()


async def test_what_a_failed_body_has_submitted_is_known_too(engine: EngineUnderTest) -> None:
    await engine.put("a")
    tokens = await take_tokens(engine)
    await engine.end("w", tokens["a"], Verdict.FAILED, failure=FAILURE, children=["x"])

    assert await children(engine, "a") == ["x"]

    await engine.verbs.edit(ids("a"), Redrive(), engine.now)
    assert await children(engine, "a") == []


async def test_only_what_the_last_attempt_has_submitted_is_kept(engine: EngineUnderTest) -> None:
    await engine.put("a")
    tokens = await take_tokens(engine)
    await engine.end("w", tokens["a"], Verdict.RETRY, children=["x"])
    assert await children(engine, "a") == []
    tokens = await take_tokens(engine)
    await engine.end("w", tokens["a"], Verdict.FAILED, children=["y"])

    assert await children(engine, "a") == ["y"]


async def test_what_waited_for_a_job_alone_is_among_its_children_when_released(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a", "b")
    link, both, error = workflow.join("a"), workflow.list_of("a", "b"), workflow.failure_of("a")
    await submit(engine, workflow.add("next", "link", after=link).add("body", after=both).add("error", after=error))
    assert await children(engine, "a") == []
    await run(engine, "a", "b")

    assert await children(engine, "a") == ["next", "link"]
    assert await children(engine, "b") == []


async def test_an_error_callback_is_a_child_of_the_job_that_failed(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a")
    workflow.add("b", after=workflow.join("a"))
    await submit(engine, workflow.add("error", after=workflow.failure_of("a")))
    tokens = await take_tokens(engine)
    await engine.end("w", tokens["a"], Verdict.FAILED, children=["x"])

    assert await children(engine, "a") == ["x", "error"]


async def test_a_child_that_was_forgotten_is_still_one(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chain("a", "b"))
    await run(engine, "a")
    await run(engine, "b")

    assert await engine.forget("b") == 1

    assert await children(engine, "a") == ["b"]
