"""What every engine must do when a running job adds a workflow to its own, and members to its groups."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.contracts.harness import CONFIG, ENGINES, EngineUnderTest
from tests.contracts.workflows import (
    Workflow,
    fail,
    finals,
    ids,
    run,
    start,
    states,
    submit,
    take,
    take_tokens,
    workflow_id,
)

from tqbroker_broker.attempts import Held, Verdict
from tqbroker_broker.records import Head, State, text_key
from tqbroker_broker.workflows import Inputs, Members, PartAnswer, PartEffect, Shape, Tally

WAITING = State.WAITING
GUEST = workflow_id("guest")


async def add_beside(engine: EngineUnderTest, workflow: Workflow, name: str, token: int) -> PartAnswer:
    return await engine.verbs.submit(workflow.part(beside=Held(text_key(name), token)), engine.now)


async def test_a_job_of_a_group_can_add_members_to_it(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow("host").chord("a", "b", body="body"))
    tokens = await take_tokens(engine)

    answer = await add_beside(engine, Workflow("guest").add("c", beside=True), "a", tokens["a"])

    assert answer == PartAnswer(PartEffect.STORED, woken=frozenset({"default"}))
    assert await engine.verbs.group(workflow_id("group"), 0, 10) == Members(ids("a", "b", "c"), 3)
    await engine.succeed("w", tokens.values(), result=b"1")
    assert (await engine.job("body")).state is WAITING
    assert await run(engine, "c", result=b"2") == ["c"]
    assert await engine.verbs.inputs(text_key("body"), 0) == Inputs(Shape.LIST, [b"1", b"1", b"2"], ["json"], 3)


async def test_only_the_end_of_what_is_added_is_a_member(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow("host").chord("a", "b", body="body"))
    tokens = await take_tokens(engine)
    workflow = Workflow("guest").add("c")
    await add_beside(engine, workflow.add("d", after=workflow.join("c"), beside=True), "a", tokens["a"])
    await engine.succeed("w", tokens.values())

    await run(engine, "c")
    assert (await engine.job("body")).state is WAITING
    await run(engine, "d")
    assert await take(engine) == ["body"]


async def test_what_is_added_belongs_to_the_workflow_of_the_job(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow("host").chord("a", "b", body="body"))
    tokens = await take_tokens(engine)
    workflow = Workflow("guest").add("c")
    await add_beside(engine, workflow.add("d", after=workflow.join("c"), beside=True), "a", tokens["a"])

    page = await engine.verbs.nodes(workflow_id("host"), b"", 10)

    assert page is not None
    assert [(node.job.id, node.after, node.member_of) for node in page.nodes] == [
        (text_key("a"), 0, (1,)),
        (text_key("b"), 0, (1,)),
        (text_key("body"), 1, ()),
        (text_key("c"), 0, (2,)),
        (text_key("d"), 2, (1,)),
    ]
    job = await engine.job("d")
    assert (job.workflow, job.root, job.group, job.group_index) == (
        workflow_id("host"),
        text_key("a"),
        workflow_id("group"),
        2,
    )


async def test_a_failure_of_what_was_added_breaks_the_group(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow("host").chord("a", "b", body="body"))
    tokens = await take_tokens(engine)
    await add_beside(engine, Workflow("guest").add("c", beside=True), "a", tokens["a"])

    assert await fail(engine, "c") == ["c", "body"]


async def test_joins_of_one_job_and_joins_that_are_decided_take_no_member(engine: EngineUnderTest) -> None:
    workflow = Workflow("host").add("a", "b")
    workflow.add("link", after=workflow.join("a"))
    await submit(engine, workflow.add("body", after=workflow.list_of("a", "b")))
    tokens = await take_tokens(engine)
    await engine.end("w", tokens["b"], Verdict.FAILED)

    await add_beside(engine, Workflow("guest").add("c", beside=True), "a", tokens["a"])

    page = await engine.verbs.nodes(workflow_id("host"), b"", 10)
    assert page is not None
    assert [join.members for join in page.joins] == [1, 2]
    assert page.nodes[-1].member_of == ()


async def test_a_plain_job_gets_a_workflow_with_what_is_added(engine: EngineUnderTest) -> None:
    await engine.put("a")
    token = await start(engine, "a")

    await add_beside(engine, Workflow("guest").add("c", beside=True), "a", token)

    page = await engine.verbs.nodes(GUEST, b"", 10)
    assert page is not None
    assert finals(node.job.id for node in page.nodes) == ["a", "c"]
    assert (await engine.job("c")).root == text_key("a")
    await engine.succeed("w", [token])
    assert await run(engine, "c") == ["c"]
    assert (await info_of(engine, GUEST)) == Tally(2, 0, succeeded=2)


async def test_a_job_to_which_nothing_was_added_is_kept_no_longer_for_it(engine: EngineUnderTest) -> None:
    await engine.put("a", head=Head("tasks.add", "default", 0, "json", result_ttl_ms=1000))
    token = await start(engine, "a")
    assert (await add_beside(engine, Workflow("guest"), "a", token)).effect is PartEffect.STORED
    await engine.succeed("w", [token])
    engine.advance(2)

    await engine.expire_all(10)

    assert await states(engine, "a") == [State.UNKNOWN]
    assert (await engine.verbs.workflows(frozenset(), b"", 10)).workflows == []


async def test_what_was_added_can_be_sent_again(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow("host").chord("a", "b", body="body"))
    tokens = await take_tokens(engine)
    workflow = Workflow("guest").add("c", beside=True)
    await add_beside(engine, workflow, "a", tokens["a"])
    await engine.succeed("w", [tokens["a"]])

    assert await add_beside(engine, workflow, "a", tokens["a"]) == PartAnswer(PartEffect.DUPLICATE)


async def test_only_who_runs_the_job_can_add_to_it(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow("host").chord("a", "b", body="body"))
    tokens = await take_tokens(engine)
    workflow = Workflow("guest").add("c", beside=True)

    assert await add_beside(engine, workflow, "a", tokens["b"]) == PartAnswer(PartEffect.LEASE_LOST)
    assert await add_beside(engine, workflow, "nobody", tokens["a"]) == PartAnswer(PartEffect.LEASE_LOST)
    await engine.succeed("w", [tokens["a"]])
    assert await add_beside(engine, workflow, "a", tokens["a"]) == PartAnswer(PartEffect.LEASE_LOST)
    assert (await engine.job("c")).state is State.UNKNOWN


async def test_what_is_added_is_refused_as_any_workflow_is(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow("host").chord("a", "b", body="body"))
    tokens = await take_tokens(engine)

    answer = await add_beside(engine, Workflow("guest").add("b", beside=True), "a", tokens["a"])

    assert answer.effect is PartEffect.REFUSED
    assert await engine.verbs.group(workflow_id("group"), 0, 10) == Members(ids("a", "b"), 2)


@pytest.mark.parametrize("kind", ENGINES)
async def test_what_is_added_counts_towards_the_size_of_the_workflow(kind: str, tmp_path: Path) -> None:
    engine = EngineUnderTest(kind, tmp_path, replace(CONFIG, max_workflow_jobs=3))
    await engine.open()
    await submit(engine, Workflow("host").chain("a", "b"))
    token = await start(engine, "a")

    assert await add_beside(engine, Workflow("two").add("c", "d"), "a", token) == PartAnswer(PartEffect.TOO_LARGE)
    assert (await add_beside(engine, Workflow("one").add("c"), "a", token)).effect is PartEffect.STORED
    await engine.verbs.close()


async def test_several_workflows_can_be_added(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow("host").chord("a", "b", body="body"))
    tokens = await take_tokens(engine)
    for number in range(3):
        workflow = Workflow(f"guest {number}").chain(f"c{number}", f"d{number}")
        await add_beside(engine, workflow, "a", tokens["a"])

    page = await engine.verbs.nodes(workflow_id("host"), b"", 10)

    assert page is not None
    assert [node.after for node in page.nodes] == [0, 0, 1, 0, 2, 0, 3, 0, 4]


async def info_of(engine: EngineUnderTest, workflow: bytes) -> Tally:
    page = await engine.verbs.nodes(workflow, b"", 1)
    assert page is not None
    return page.workflow.tally
