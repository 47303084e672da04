"""What every engine must do with workflows that have ended: keep them whole, drop them whole."""

from __future__ import annotations

from tests.contracts.harness import DEAD_TTL, DEDUP_WINDOW, RESULT_TTL, EngineUnderTest
from tests.contracts.workflows import Workflow, fail, ids, run, states, submit, take_tokens, workflow_id

from tqbroker_broker.attempts import Verdict
from tqbroker_broker.questions import Drop, Effect, EventKind, Redrive
from tqbroker_broker.records import Head, State
from tqbroker_broker.workflows import PartEffect

UNKNOWN, SUCCEEDED = State.UNKNOWN, State.SUCCEEDED
SHORT = Head("tasks.add", "default", 0, "json", result_ttl_ms=1000)
LONG = Head("tasks.add", "default", 0, "json", result_ttl_ms=int(RESULT_TTL * 2000))


async def pass_time(engine: EngineUnderTest, seconds: float) -> None:
    """Time goes by, with what it asks for."""
    await engine.leave()
    engine.advance(seconds)
    await engine.expire_all(10)


async def run_chain(engine: EngineUnderTest, *names: str) -> None:
    await submit(engine, Workflow().chain(*names))
    for name in names:
        await run(engine, name)


async def test_a_workflow_is_dropped_whole_when_its_last_job_has_been_kept_for_its_time(
    engine: EngineUnderTest,
) -> None:
    await submit(engine, Workflow().chain("a", "b"))
    await run(engine, "a")
    await pass_time(engine, RESULT_TTL - 1)
    await run(engine, "b")
    await pass_time(engine, RESULT_TTL - 1)
    assert await states(engine, "a", "b") == [SUCCEEDED] * 2

    await pass_time(engine, 1)

    assert [(await engine.job(name)).forgotten for name in "ab"] == [True, True]
    assert await engine.verbs.nodes(workflow_id("workflow"), b"", 10) is None
    assert await engine.verbs.expire(engine.now, 10) == ([], frozenset(), [], False)


async def test_the_job_that_is_kept_longest_decides_for_all(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a", head=LONG)
    await submit(engine, workflow.add("b", after=workflow.join("a"), head=SHORT))
    await run(engine, "a")
    await run(engine, "b")
    await pass_time(engine, 2 * RESULT_TTL - 1)
    assert await states(engine, "a", "b") == [SUCCEEDED] * 2

    await pass_time(engine, 1)

    assert await states(engine, "a", "b") == [UNKNOWN] * 2


async def test_a_workflow_with_a_dead_letter_is_kept_as_long_as_that(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a", "b")
    workflow.list_of("a", "b", group="g")
    await submit(engine, workflow)
    tokens = await take_tokens(engine)
    await engine.succeed("w", [tokens["a"]])
    await engine.leave()
    assert await fail(engine, "b") == ["b"]

    await pass_time(engine, DEAD_TTL - 1)
    assert (await engine.job("a")).result == b"8"

    await pass_time(engine, 1)
    assert await states(engine, "a", "b") == [UNKNOWN] * 2


async def test_an_open_workflow_is_kept_for_ever(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chain("a", "b"))
    await run(engine, "a")

    await pass_time(engine, 100 * DEAD_TTL)

    assert await states(engine, "a", "b") == [SUCCEEDED, State.QUEUED]


async def test_a_redrive_keeps_the_workflow(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chain("a", "b"))
    await fail(engine, "a")
    await engine.verbs.edit(ids("a"), Redrive(), engine.now)

    await pass_time(engine, 2 * DEAD_TTL)
    assert await states(engine, "a", "b") == [State.QUEUED, State.WAITING]

    await run(engine, "a")
    await run(engine, "b")
    await pass_time(engine, RESULT_TTL)
    assert await states(engine, "a", "b") == [UNKNOWN] * 2


async def test_jobs_of_an_open_workflow_are_not_forgotten(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chain("a", "b"))
    await run(engine, "a")

    assert await engine.forget("a") == 0
    assert (await engine.verbs.edit(ids("a", "b"), Drop(), engine.now)).effects == [Effect.HELD, Effect.WRONG_STATE]
    assert (await engine.job("a")).result == b"8"


async def test_jobs_of_a_workflow_that_has_ended_can_be_forgotten(engine: EngineUnderTest) -> None:
    await run_chain(engine, "a", "b", "c")

    assert await engine.forget("a") == 1
    assert (await engine.verbs.edit(ids("b"), Drop(), engine.now)).effects == [Effect.DONE]

    assert [(await engine.job(name)).forgotten for name in "abc"] == [True, True, False]
    await pass_time(engine, RESULT_TTL)
    assert (await engine.job("c")).forgotten
    assert await engine.verbs.nodes(workflow_id("workflow"), b"", 10) is None


async def test_a_member_that_was_forgotten_counts_as_an_empty_value(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chord("a", "b", body="body"))
    await run(engine, "a", "b")
    await fail(engine, "body")
    await engine.forget("a")
    await engine.verbs.edit(ids("body"), Redrive(), engine.now)

    inputs = await engine.verbs.inputs(ids("body")[0], 0)

    assert inputs is not None
    assert (inputs.values, inputs.formats, inputs.total) == ([b"", b"8"], ["", "json"], 2)


async def test_a_member_that_was_forgotten_as_failed_stays_in_the_way(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chord("a", "b", body="body"))
    for token in (await take_tokens(engine)).values():
        await engine.end("w", token, Verdict.FAILED)
    await engine.forget("a")

    await engine.verbs.edit(ids("b"), Redrive(), engine.now)

    assert await states(engine, "b", "body") == [State.QUEUED, State.FAILED]


async def test_a_workflow_that_has_ended_can_be_dropped_at_once(engine: EngineUnderTest) -> None:
    await run_chain(engine, "a", "b")

    assert await engine.verbs.drop_workflow(workflow_id("workflow"), engine.now) is Effect.DONE
    assert await engine.verbs.drop_workflow(workflow_id("workflow"), engine.now) is Effect.DONE
    await engine.expire_all(10)

    assert [(await engine.job(name)).forgotten for name in "ab"] == [True] * 2
    assert await engine.verbs.drop_workflow(workflow_id("workflow"), engine.now) is Effect.UNKNOWN


async def test_an_order_to_drop_a_workflow_is_carried_out_although_the_clock_was_put_forward(
    engine: EngineUnderTest,
) -> None:
    await run_chain(engine, "a", "b")
    await engine.expire_all(10)
    engine.advance(0.5, wall=70)
    await engine.verbs.drop_workflow(workflow_id("workflow"), engine.now)

    await engine.expire_all(10)

    assert [(await engine.job(name)).forgotten for name in "ab"] == [True] * 2


async def test_an_open_workflow_cannot_be_dropped(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chain("a", "b"))

    assert await engine.verbs.drop_workflow(workflow_id("workflow"), engine.now) is Effect.WRONG_STATE
    assert await engine.verbs.drop_workflow(workflow_id("none"), engine.now) is Effect.UNKNOWN


async def test_a_workflow_is_dropped_in_slices_also_over_a_restart(engine: EngineUnderTest) -> None:
    await run_chain(engine, "a", "b", "c")
    await engine.leave()
    await engine.verbs.drop_workflow(workflow_id("workflow"), engine.now)

    assert (await engine.verbs.expire(engine.now, 2)).more
    assert sum([(await engine.job(name)).forgotten for name in "abc"]) == 2
    await engine.restart()
    await engine.expire_all(2)

    assert [(await engine.job(name)).forgotten for name in "abc"] == [True] * 3


async def test_what_is_being_dropped_cannot_be_redriven_or_added_to(engine: EngineUnderTest) -> None:
    workflow = Workflow().chain("a", "b")
    await submit(engine, workflow)
    await fail(engine, "a")
    await engine.verbs.drop_workflow(workflow_id("workflow"), engine.now)

    assert (await engine.verbs.edit(ids("a", "b"), Redrive(), engine.now)).effects == [Effect.UNKNOWN] * 2
    assert (await submit(engine, workflow)).effect is PartEffect.OUT_OF_ORDER


async def test_ids_of_a_dropped_workflow_are_remembered_for_their_time(engine: EngineUnderTest) -> None:
    workflow = Workflow().chain("a", "b")
    await run_chain(engine, "a", "b")
    await engine.verbs.drop_workflow(workflow_id("workflow"), engine.now)
    await engine.expire_all(10)
    assert (await submit(engine, workflow)).effect is PartEffect.REFUSED

    await pass_time(engine, DEDUP_WINDOW)

    assert (await submit(engine, workflow)).effect is PartEffect.STORED


async def test_a_workflow_without_jobs_is_dropped_too(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow())
    await pass_time(engine, RESULT_TTL - 1)
    assert await engine.verbs.nodes(workflow_id("workflow"), b"", 10) is not None

    await pass_time(engine, 1)

    assert await engine.verbs.nodes(workflow_id("workflow"), b"", 10) is None


async def test_dropping_a_workflow_tells_nothing(engine: EngineUnderTest) -> None:
    await run_chain(engine, "a", "b")
    before = (await engine.verbs.events(0, 100)).cursor
    await engine.verbs.drop_workflow(workflow_id("workflow"), engine.now)

    assert (await engine.expire_all(10)).final == []

    kinds = [each.kind for each in (await engine.verbs.events(before, 100)).events]
    assert EventKind.REVOKED not in kinds
