"""What every engine must tell of whole workflows: how they do, what they are made of, groups, and trails."""

from __future__ import annotations

import contextlib

import pytest
from tests.contracts.harness import EngineUnderTest
from tests.contracts.workflows import Workflow, fail, finals, ids, run, submit, take_tokens, workflow_id

from tqbroker_broker.attempts import Verdict
from tqbroker_broker.questions import Redrive
from tqbroker_broker.records import State, text_key
from tqbroker_broker.workflows import JoinInfo, NewJoin, On, Shape, Tally, WorkflowInfo, WorkflowState

UPLOADING, RUNNING, SUCCEEDED = WorkflowState.UPLOADING, WorkflowState.RUNNING, WorkflowState.SUCCEEDED
FAILED, CANCELLED = WorkflowState.FAILED, WorkflowState.CANCELLED
FLOW = workflow_id("workflow")


async def info(engine: EngineUnderTest, workflow: str = "workflow") -> WorkflowInfo:
    page = await engine.verbs.nodes(workflow_id(workflow), b"", 1)
    assert page is not None
    return page.workflow


async def listed(engine: EngineUnderTest, *wanted: WorkflowState, limit: int = 2) -> list[str]:
    """Names of the workflows in these states, by pages."""
    found: list[str] = []
    cursor = b""
    while True:
        page = await engine.verbs.workflows(frozenset(wanted), cursor, limit)
        assert len(page.workflows) <= limit
        found += [each.id.rstrip(b".").decode() for each in page.workflows]
        cursor = page.cursor
        if not cursor:
            return found


# -- how a workflow does ---------------------------------------------------------------------------------------------


async def test_a_workflow_counts_its_jobs_as_they_end(engine: EngineUnderTest) -> None:
    started_ms = engine.now.wall_ms
    await submit(engine, Workflow().chain("a", "b"))
    assert await info(engine) == WorkflowInfo(FLOW, "a workflow", RUNNING, started_ms, 0, Tally(2, 2))

    await run(engine, "a")
    assert (await info(engine)).tally == Tally(2, 1, succeeded=1)

    engine.advance(7)
    await run(engine, "b")
    tally = Tally(2, 0, succeeded=2)
    assert await info(engine) == WorkflowInfo(FLOW, "a workflow", SUCCEEDED, started_ms, engine.now.wall_ms, tally)


async def test_a_failed_workflow_names_the_job_that_failed_first(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chord("a", "b", body="body"))
    tokens = await take_tokens(engine)
    for name in ("b", "a"):
        await engine.end("w", tokens[name], Verdict.FAILED)

    answer = await info(engine)

    assert (answer.state, answer.tally, answer.first_failed) == (FAILED, Tally(3, 0, failed=3), text_key("b"))


async def test_what_waits_again_after_a_redrive_has_not_ended(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chord("a", "b", body="body"))
    tokens = await take_tokens(engine)
    for name in ("b", "a"):
        await engine.end("w", tokens[name], Verdict.FAILED)

    await engine.verbs.edit(ids("b"), Redrive(), engine.now)
    answer = await info(engine)
    assert (answer.state, answer.tally, answer.first_failed) == (RUNNING, Tally(3, 1, failed=2), text_key("a"))
    assert answer.finished_ms == 0

    await engine.verbs.edit(ids("a"), Redrive(), engine.now)
    answer = await info(engine)
    assert (answer.state, answer.tally, answer.first_failed) == (RUNNING, Tally(3, 3), b"")


async def test_expired_jobs_count_as_failed(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().add("a", expires_ms=engine.later(1)))
    engine.advance(1)
    await engine.verbs.expire(engine.now, 10)

    answer = await info(engine)

    assert (answer.state, answer.tally, answer.first_failed) == (FAILED, Tally(1, 0, failed=1), text_key("a"))


async def test_a_workflow_with_a_cancelled_job_is_cancelled(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chain("a", "b"))
    await run(engine, "a")
    await engine.cancel("b")

    answer = await info(engine)

    assert (answer.state, answer.tally) == (CANCELLED, Tally(2, 0, succeeded=1, cancelled=1))


async def test_a_spared_callback_does_not_spoil_a_success(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a")
    workflow.add("error", after=workflow.failure_of("a"))
    await submit(engine, workflow.add("then", after=workflow.join("error")))
    await run(engine, "a")

    answer = await info(engine)

    assert (answer.state, answer.tally) == (SUCCEEDED, Tally(3, 0, succeeded=1, unneeded=2))


async def test_forgotten_jobs_are_still_counted_and_listed_in_their_places(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chain("a", "b"))
    await run(engine, "a")
    await run(engine, "b")
    await engine.forget("a")

    page = await engine.verbs.nodes(FLOW, b"", 10)

    assert page is not None
    assert page.workflow.tally == Tally(2, 0, succeeded=2)
    assert [(node.job.state, node.job.forgotten) for node in page.nodes] == [
        (State.UNKNOWN, True),
        (State.SUCCEEDED, False),
    ]
    assert (page.nodes[0].after, page.nodes[0].member_of, page.nodes[1].after) == (0, (1,), 1)


async def test_progress_survives_a_restart(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chain("a", "b"))
    await fail(engine, "a")
    before = await engine.verbs.nodes(FLOW, b"", 10)
    await engine.leave()
    await engine.restart()

    assert await engine.verbs.nodes(FLOW, b"", 10) == before


# -- lists -----------------------------------------------------------------------------------------------------------


async def test_workflows_are_listed_the_oldest_first(engine: EngineUnderTest) -> None:
    for name in ("one", "two", "three", "four", "five"):
        await submit(engine, Workflow(name).add(f"{name}.a"))

    assert await listed(engine) == ["one", "two", "three", "four", "five"]


async def test_workflows_are_listed_by_state(engine: EngineUnderTest) -> None:
    await engine.verbs.submit(Workflow("uploading").add("u", "v").parts([1, 1])[0], engine.now)
    await engine.verbs.submit(Workflow("held").add("h").part(held=True), engine.now)
    await submit(engine, Workflow("succeeded").add("s"))
    await run(engine, "s")
    await submit(engine, Workflow("failed").add("f"))
    await fail(engine, "f")
    await submit(engine, Workflow("cancelled").add("c"))
    await engine.cancel("c")
    await submit(engine, Workflow("running").chain("r", "q"))

    assert await listed(engine, UPLOADING) == ["uploading", "held"]
    assert await listed(engine, RUNNING) == ["running"]
    assert await listed(engine, SUCCEEDED, FAILED, CANCELLED) == ["succeeded", "failed", "cancelled"]


async def test_a_workflow_that_is_dropped_is_not_listed_any_more(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow("one").add("a"))
    await submit(engine, Workflow("two").add("b"))
    await engine.cancel("a")
    await engine.verbs.drop_workflow(workflow_id("one"), engine.now)
    await engine.expire_all(10)

    assert await listed(engine) == ["two"]


async def test_a_cursor_that_is_none_is_refused(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().add("a"))

    with pytest.raises(ValueError, match=r"."):
        await engine.verbs.workflows(frozenset(), b"x", 10)
    with pytest.raises(ValueError, match=r"."):
        await engine.verbs.nodes(FLOW, b"x", 10)


@pytest.mark.parametrize("size", [8, 12, 16, 24])
async def test_a_cursor_of_noise_is_refused_or_leads_behind_the_end(engine: EngineUnderTest, size: int) -> None:
    await submit(engine, Workflow().add("a"))

    for cursor in (b"\xff" * size, b"\x80" * size):
        with contextlib.suppress(ValueError):
            assert not (await engine.verbs.workflows(frozenset(), cursor, 10)).workflows
        with contextlib.suppress(ValueError):
            page = await engine.verbs.nodes(FLOW, cursor, 10)
            assert page is not None
            assert not page.nodes


async def test_nodes_come_in_the_order_they_were_sent_with_the_joins_they_name(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a", "b")
    both, error = workflow.list_of("a", "b", group="g"), workflow.failure_of("b")
    await submit(engine, workflow.add("body", after=both, silent=True).add("error", after=error))
    tokens = await take_tokens(engine)
    await engine.succeed("w", [tokens["a"]])

    page = await engine.verbs.nodes(FLOW, b"", 3)
    assert page is not None
    assert [(node.job.id, node.after, node.silent, node.member_of) for node in page.nodes] == [
        (text_key("a"), 0, False, (both,)),
        (text_key("b"), 0, False, (both, error)),
        (text_key("body"), both, True, ()),
    ]
    assert page.joins == [
        JoinInfo(NewJoin(both, On.SUCCESS, Shape.LIST, workflow_id("g")), 2, 1, released=False),
        JoinInfo(NewJoin(error, On.FAILURE, Shape.VALUE), 1, 1, released=False),
    ]

    rest = await engine.verbs.nodes(FLOW, page.cursor, 3)
    assert rest is not None
    assert ([node.job.id for node in rest.nodes], rest.cursor) == ([text_key("error")], b"")
    assert [join.join.number for join in rest.joins] == [error]


async def test_joins_say_what_was_decided(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a")
    workflow.add("b", after=workflow.join("a"))
    workflow.add("error", after=workflow.failure_of("a", "b"))
    await submit(engine, workflow.add("other", after=workflow.failure_of("error")))
    await fail(engine, "a")

    page = await engine.verbs.nodes(FLOW, b"", 10)

    assert page is not None
    decided = [(join.left, join.released, join.cause) for join in page.joins]
    assert decided == [(1, False, text_key("a")), (2, True, text_key("a")), (1, False, b"")]


async def test_an_upload_is_shown_as_far_as_it_has_come(engine: EngineUnderTest) -> None:
    await engine.verbs.submit(Workflow().chain("a", "b", "c").parts([2, 1])[0], engine.now)

    page = await engine.verbs.nodes(FLOW, b"", 10)

    assert page is not None
    assert (page.workflow.state, page.workflow.tally) == (UPLOADING, Tally(2, 2))
    assert finals(node.job.id for node in page.nodes) == ["a", "b"]


async def test_nobody_knows_a_workflow_that_never_came(engine: EngineUnderTest) -> None:
    assert await engine.verbs.nodes(workflow_id("none"), b"", 10) is None
