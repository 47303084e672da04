"""What every engine must hand to a job of what those returned that it has waited for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.contracts.harness import CONFIG, ENGINES, EngineUnderTest
from tests.contracts.workflows import Workflow, places, run, states, submit, take, take_tokens

from tqbroker_broker.attempts import Successes, Verdict, Want
from tqbroker_broker.config import MIB
from tqbroker_broker.questions import Effect, Redrive
from tqbroker_broker.records import Head, State, text_key
from tqbroker_broker.workflows import Inputs, Shape

IGNORED = Head("tasks.add", "default", 0, "json", ignore_result=True)


async def inputs_of(engine: EngineUnderTest, name: str) -> Inputs | None:
    """What a job is handed with its delivery, the only one that is ready."""
    placed = await places(engine)
    assert list(placed) == [name]
    place = placed[name]
    return place.inputs if place else None


async def succeed_each(engine: EngineUnderTest, *results: bytes, formats: tuple[str, ...] = ()) -> None:
    """Runs what is ready, the n-th job to the n-th result."""
    tokens = (await take_tokens(engine)).values()
    for index, (token, result) in enumerate(zip(tokens, results, strict=True)):
        name = formats[index] if formats else "json"
        batch = Successes([token], [result], name, [engine.now.wall_ms], [1000])
        await engine.verbs.finish("w", [batch], [], engine.now)


async def test_in_a_chain_the_value_is_handed_on(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chain("a", "b"))
    await run(engine, "a", result=b"from a")

    assert await inputs_of(engine, "b") == Inputs(Shape.VALUE, [b"from a"], ["json"], 1)
    assert await engine.verbs.inputs(text_key("b"), 0) == Inputs(Shape.VALUE, [b"from a"], ["json"], 1)


async def test_a_body_is_handed_all_values_in_the_order_of_the_members(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chord("a", "b", "c", body="body"))
    tokens = await take_tokens(engine)
    for name in ("c", "a", "b"):
        await engine.succeed("w", [tokens[name]], result=name.encode())

    assert await inputs_of(engine, "body") == Inputs(Shape.LIST, [b"a", b"b", b"c"], ["json"], 3)


async def test_values_may_differ_in_their_format(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chord("a", "b", body="body"))
    await succeed_each(engine, b"1", b"2", formats=("json", "msgpack"))

    assert await inputs_of(engine, "body") == Inputs(Shape.LIST, [b"1", b"2"], ["json", "msgpack"], 2)


async def test_a_member_that_keeps_no_result_counts_as_an_empty_value(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a").add("b", head=IGNORED)
    await submit(engine, workflow.add("body", after=workflow.list_of("a", "b")))
    await succeed_each(engine, b"1", b"2")

    assert await inputs_of(engine, "body") == Inputs(Shape.LIST, [b"1", b""], ["json"], 2)


async def test_a_silent_follower_is_handed_nothing(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a")
    await submit(engine, workflow.add("b", after=workflow.join("a"), silent=True))
    await run(engine, "a")

    assert await inputs_of(engine, "b") is None
    assert await engine.verbs.inputs(text_key("b"), 0) is None


async def test_who_waits_for_nobody_is_handed_nothing(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chain("a", "b"))
    await engine.put("plain")

    for name in ("a", "b", "plain", "nobody"):
        assert await engine.verbs.inputs(text_key(name), 0) is None


async def test_inputs_come_with_every_attempt_until_one_asks_for_other_arguments(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chain("a", "b"))
    await run(engine, "a")
    tokens = await take_tokens(engine)
    await engine.end("w", tokens["b"], Verdict.RETRY)
    assert await engine.verbs.inputs(text_key("b"), 0) == Inputs(Shape.VALUE, [b"8"], ["json"], 1)
    tokens = await take_tokens(engine)

    await engine.end("w", tokens["b"], Verdict.RETRY, args=b"others")

    assert await inputs_of(engine, "b") is None
    assert (await engine.job("b")).args == b"others"


async def test_inputs_survive_a_restart(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chain("a", "b"))
    await run(engine, "a", result=b"from a")
    await engine.leave()
    await engine.restart()

    assert await inputs_of(engine, "b") == Inputs(Shape.VALUE, [b"from a"], ["json"], 1)


@pytest.fixture(params=ENGINES)
async def roomy(request: pytest.FixtureRequest, tmp_path: Path) -> EngineUnderTest:
    """An engine for large results."""
    under_test = EngineUnderTest(request.param, tmp_path, replace(CONFIG, max_result_size=MIB, max_inputs_size=3 * MIB))
    await under_test.open()
    return under_test


async def test_what_is_too_large_for_a_message_comes_by_pages(roomy: EngineUnderTest) -> None:
    large = b"x" * (MIB // 2)
    await submit(roomy, Workflow().chord("a", "b", "c", body="body"))
    await succeed_each(roomy, large, large, b"small")

    assert await inputs_of(roomy, "body") == Inputs(Shape.LIST, [], [], 3)
    pages = [await roomy.verbs.inputs(text_key("body"), first) for first in (0, 1, 2, 3)]
    assert pages == [
        Inputs(Shape.LIST, [large], ["json"], 3),
        Inputs(Shape.LIST, [large, b"small"], ["json"], 3),
        Inputs(Shape.LIST, [b"small"], ["json"], 3),
        Inputs(Shape.LIST, [], [], 3),
    ]


async def test_each_value_counts_for_some_bytes_more_than_its_own(roomy: EngineUnderTest) -> None:
    await submit(roomy, Workflow().chord("a", "b", body="body").chord("c", "d", body="other"))
    await succeed_each(roomy, b"x" * (MIB - 129), b"y", b"x" * (MIB - 128), b"y")

    placed = await places(roomy)

    handed = {name: place.inputs for name, place in placed.items() if place and place.inputs}
    assert {name: len(inputs.values) for name, inputs in handed.items()} == {"body": 2, "other": 0}


async def test_inputs_above_the_limit_fail_the_job_that_waited(roomy: EngineUnderTest) -> None:
    members = ["a", "b", "c", "d"]
    workflow = Workflow().chord(*members, body="body")
    workflow.add("then", after=workflow.join("body"))
    await submit(roomy, workflow.add("error", after=workflow.failure_of("body")))

    await succeed_each(roomy, *[b"x" * (MIB - 1000)] * 3, b"y" * 3001)

    assert await states(roomy, "body", "then", "error") == [State.FAILED, State.FAILED, State.QUEUED]
    job = await roomy.job("body")
    assert (job.failure and job.failure.type, job.cause) == ("InputsTooLarge", b"")
    assert (await roomy.job("then")).cause == text_key("body")


@pytest.mark.parametrize("late", [False, True])
async def test_a_redrive_of_what_inputs_failed_forgets_that_it_was_cancelled_before(
    roomy: EngineUnderTest, *, late: bool
) -> None:
    members = ["a", "b", "c", "d"]
    first, last = Workflow().chord(*members, body="body").add("other").parts([5, 1])
    await roomy.verbs.submit(first, roomy.now)
    await roomy.cancel("body")
    await roomy.verbs.submit(last, roomy.now)
    await succeed_each(roomy, *[b"x" * (MIB - 1000)] * 3, b"y" * 3001, b"other")
    if late:
        await roomy.expire_all(100)

    assert (await roomy.verbs.edit([text_key("body")], Redrive(), roomy.now)).effects == [Effect.DONE]
    await roomy.expire_all(100)

    assert await take(roomy) == ["body"]


async def test_inputs_at_the_limit_are_handed_over(roomy: EngineUnderTest) -> None:
    await submit(roomy, Workflow().chord("a", "b", "c", body="body"))
    await succeed_each(roomy, *[b"x" * MIB] * 3)

    assert await take(roomy) == ["body"]


async def test_a_silent_follower_does_not_mind_how_much_was_returned(roomy: EngineUnderTest) -> None:
    workflow = Workflow().add("a", "b", "c", "d")
    await submit(roomy, workflow.add("body", after=workflow.list_of("a", "b", "c", "d"), silent=True))
    await succeed_each(roomy, *[b"x" * MIB] * 4)

    assert await take(roomy) == ["body"]


async def test_inputs_count_towards_the_bytes_of_a_message(roomy: EngineUnderTest) -> None:
    workflow = Workflow().add("a")
    await submit(roomy, workflow.add("b", "c", "d", after=workflow.join("a")))
    await run(roomy, "a", result=b"x" * (MIB // 2))
    want = Want("w", ("default",), frozenset({"tasks.add"}), 10, 10)

    first, second = await roomy.lease(want), await roomy.lease(want)

    assert [len(batch.ids) for batch in first + second] == [2, 1]
