"""What every engine must tell of groups: those of workflows, and those that somebody saved."""

from __future__ import annotations

from tests.contracts.harness import RESULT_TTL, EngineUnderTest
from tests.contracts.workflows import Workflow, ids, submit, workflow_id

from tqbroker_broker.workflows import Members

FLOW = workflow_id("workflow")


async def test_the_members_of_a_group_can_be_asked_for(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chord("a", "b", "c", body="body"))

    assert await engine.verbs.group(workflow_id("group"), 0, 2) == Members(ids("a", "b"), 3)
    assert await engine.verbs.group(workflow_id("group"), 2, 2) == Members(ids("c"), 3)
    assert await engine.verbs.group(workflow_id("group"), 5, 2) == Members([], 3)
    assert await engine.verbs.group(workflow_id("none"), 0, 2) is None


async def test_a_group_is_known_when_its_workflow_is_live_and_as_long_as_that_is_kept(engine: EngineUnderTest) -> None:
    first, last = Workflow().chord("a", "b", body="body").parts([2, 1])
    await engine.verbs.submit(first, engine.now)
    assert await engine.verbs.group(workflow_id("group"), 0, 2) is None

    await engine.verbs.submit(last, engine.now)
    await engine.cancel("a", "b")
    assert await engine.verbs.group(workflow_id("group"), 0, 2) == Members(ids("a", "b"), 2)

    await engine.verbs.drop_workflow(FLOW, engine.now)
    await engine.expire_all(10)
    assert await engine.verbs.group(workflow_id("group"), 0, 2) is None


async def test_a_group_can_be_saved_and_deleted(engine: EngineUnderTest) -> None:
    await engine.verbs.save_group(workflow_id("g"), ids("a", "b"), engine.now)
    assert await engine.verbs.group(workflow_id("g"), 0, 10) == Members(ids("a", "b"), 2)

    await engine.verbs.save_group(workflow_id("g"), ids("c"), engine.now)
    await engine.restart()
    assert await engine.verbs.group(workflow_id("g"), 0, 10) == Members(ids("c"), 1)

    assert await engine.verbs.delete_group(workflow_id("g")) is True
    assert await engine.verbs.delete_group(workflow_id("g")) is False
    assert await engine.verbs.group(workflow_id("g"), 0, 10) is None


async def test_a_saved_group_is_kept_as_long_as_results_are(engine: EngineUnderTest) -> None:
    await engine.verbs.save_group(workflow_id("g"), ids("a"), engine.now)
    engine.advance(RESULT_TTL - 1)
    await engine.expire_all(10)
    assert await engine.verbs.group(workflow_id("g"), 0, 10) is not None

    engine.advance(1)
    await engine.expire_all(10)

    assert await engine.verbs.group(workflow_id("g"), 0, 10) is None


async def test_what_was_saved_goes_before_what_a_workflow_has(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chord("a", "b", body="body"))
    await engine.verbs.save_group(workflow_id("group"), ids("x"), engine.now)
    assert await engine.verbs.group(workflow_id("group"), 0, 10) == Members(ids("x"), 1)

    assert await engine.verbs.delete_group(workflow_id("group")) is True

    assert await engine.verbs.group(workflow_id("group"), 0, 10) == Members(ids("a", "b"), 2)
    assert await engine.verbs.delete_group(workflow_id("group")) is False


async def test_an_empty_group_can_be_saved(engine: EngineUnderTest) -> None:
    await engine.verbs.save_group(workflow_id("g"), [], engine.now)

    assert await engine.verbs.group(workflow_id("g"), 0, 10) == Members([], 0)
