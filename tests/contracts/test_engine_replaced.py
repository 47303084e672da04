"""What every engine must do when a workflow takes the place of a running job."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.contracts.harness import CONFIG, ENGINES, FAILURE, EngineUnderTest
from tests.contracts.workflows import (
    Workflow,
    extras,
    finals,
    ids,
    places,
    run,
    start,
    states,
    submit,
    take,
    take_tokens,
    workflow_id,
)

from tqbroker_broker.answers import Finished
from tqbroker_broker.attempts import Progress, Refusal, Verdict
from tqbroker_broker.questions import Redrive
from tqbroker_broker.records import Head, State, text_key
from tqbroker_broker.rules import Traits, Unique, UniqueConflict, UniqueUntil
from tqbroker_broker.workflows import Inputs, Members, PartAnswer, PartEffect, Shape, Tally

WAITING, QUEUED = State.WAITING, State.QUEUED
GUEST = workflow_id("guest")
OTHER = Head("tasks.slow", "default", 0, "msgpack")


async def hold(engine: EngineUnderTest, workflow: Workflow) -> None:
    answer = await engine.verbs.submit(workflow.part(held=True), engine.now)
    assert answer.effect is PartEffect.STORED


async def replace_by(engine: EngineUnderTest, token: int, workflow: bytes = GUEST) -> Finished:
    return await engine.end("w", token, Verdict.REPLACED, workflow=workflow)


def chord_in_place() -> Workflow:
    """Two jobs, and the one that takes over waits for both."""
    workflow = Workflow("guest").add("x", "y")
    return workflow.add("taker", after=workflow.list_of("x", "y", group="inner"), takes_over=True, head=OTHER)


async def test_a_workflow_takes_the_place_of_a_plain_job(engine: EngineUnderTest) -> None:
    await engine.put("a")
    token = await start(engine, "a")
    await hold(engine, chord_in_place())

    finished = await replace_by(engine, token)

    assert finished == Finished({}, [], frozenset({"default"}))
    assert await states(engine, "a", "x", "y") == [WAITING, QUEUED, QUEUED]
    assert await run(engine, "x", "y", result=b"1") == ["x", "y"]
    assert await run(engine, "a", result=b"sum") == ["a"]
    job = await engine.job("a")
    assert (job.state, job.result, job.head and job.head.task, job.args) == (
        State.SUCCEEDED,
        b"sum",
        "tasks.slow",
        b"taker",
    )


async def test_the_job_that_is_replaced_is_handed_what_the_others_returned(engine: EngineUnderTest) -> None:
    await engine.put("a")
    token = await start(engine, "a")
    await hold(engine, chord_in_place())
    await replace_by(engine, token)
    await run(engine, "x", "y", result=b"1")

    place = (await places(engine))["a"]

    assert place is not None
    assert (place.inputs, place.parent) == (Inputs(Shape.LIST, [b"1", b"1"], ["json"], 2), text_key("y"))


async def test_a_plain_job_that_is_replaced_is_the_first_of_its_workflow(engine: EngineUnderTest) -> None:
    await engine.put("a")
    token = await start(engine, "a")
    await hold(engine, chord_in_place())
    await replace_by(engine, token)

    page = await engine.verbs.nodes(GUEST, b"", 10)

    assert page is not None
    assert finals(node.job.id for node in page.nodes) == ["a", "x", "y"]
    assert page.workflow.tally == Tally(3, 3)
    assert {node.job.root for node in page.nodes} == {text_key("a")}
    assert await engine.verbs.group(workflow_id("inner"), 0, 10) == Members(ids("x", "y"), 2)


async def test_a_single_job_can_take_over_at_once(engine: EngineUnderTest) -> None:
    await engine.put("a")
    token = await start(engine, "a")
    await hold(engine, Workflow("guest").add("taker", takes_over=True, head=OTHER))

    finished = await replace_by(engine, token)

    assert (finished.final, finished.woken) == ([], frozenset({"default"}))
    assert (await engine.job("a")).state is QUEUED
    assert await run(engine, "a") == ["a"]


async def test_a_job_that_takes_over_may_be_due_later(engine: EngineUnderTest) -> None:
    await engine.put("a")
    token = await start(engine, "a")
    await hold(engine, Workflow("guest").add("taker", takes_over=True, countdown=60, expires_in=90))

    finished = await replace_by(engine, token)

    assert (finished.woken, finished.next_due_ms) == (frozenset(), engine.later(60))
    job = await engine.job("a")
    assert (job.state, job.due_ms, job.expires_ms) == (State.SCHEDULED, engine.later(60), engine.later(90))


async def test_who_waited_for_the_job_goes_on_waiting_for_it(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow("host").chain("a", "b"))
    token = await start(engine, "a")
    await hold(engine, chord_in_place())

    await replace_by(engine, token)

    assert await states(engine, "a", "b") == [WAITING, WAITING]
    await run(engine, "x", "y")
    await run(engine, "a", result=b"from a")
    assert await engine.verbs.inputs(text_key("b"), 0) == Inputs(Shape.VALUE, [b"from a"], ["json"], 1)


async def test_what_replaces_a_job_of_a_workflow_belongs_to_that(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow("host").chain("a", "b"))
    token = await start(engine, "a")
    await hold(engine, chord_in_place())
    await replace_by(engine, token)

    page = await engine.verbs.nodes(workflow_id("host"), b"", 10)

    assert page is not None
    assert [(node.job.id, node.after, node.member_of) for node in page.nodes] == [
        (text_key("a"), 2, (1,)),
        (text_key("b"), 1, ()),
        (text_key("x"), 0, (2,)),
        (text_key("y"), 0, (2,)),
    ]
    assert [join.join.number for join in page.joins] == [1, 2]
    assert await engine.verbs.nodes(GUEST, b"", 10) is None
    job = await engine.job("x")
    assert (job.workflow, job.root, job.group) == (workflow_id("host"), text_key("a"), workflow_id("inner"))


async def test_a_workflow_that_was_merged_can_be_sent_again(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow("host").chain("a", "b"))
    token = await start(engine, "a")
    await hold(engine, chord_in_place())
    await replace_by(engine, token)

    part = chord_in_place().part(held=True)
    assert await engine.verbs.submit(part, engine.now) == PartAnswer(PartEffect.DUPLICATE)
    assert await engine.verbs.submit(part._replace(digest=bytes(16)), engine.now) == PartAnswer(PartEffect.CONFLICT)
    assert await engine.verbs.submit(part._replace(number=1), engine.now) == PartAnswer(PartEffect.CONFLICT)


async def test_a_replaced_job_begins_anew_but_stays_itself(engine: EngineUnderTest) -> None:
    unique = Head(
        "tasks.add",
        "default",
        0,
        "json",
        traits=Traits(unique=Unique(UniqueUntil.FINISHED, UniqueConflict.REJECT)),
        parent="who submitted it",
        root="where it began",
    )
    await engine.put("a", head=unique, keys=["k"])
    await engine.end("w", await start(engine, "a"), Verdict.RETRY, failure=FAILURE)
    token = await start(engine, "a")
    progress = Progress("LOADING", note="on its way")
    await engine.annotate("w", token, progress=progress, checkpoint=b"half")
    await hold(engine, Workflow("guest").add("taker", takes_over=True, head=OTHER))
    await replace_by(engine, token)

    job = await engine.job("a")

    assert (job.retries, job.lost, job.progress) == (0, 0, progress)
    assert job.head == Head(
        "tasks.slow",
        "default",
        0,
        "msgpack",
        traits=unique.traits,
        parent="who submitted it",
        root="where it began",
    )
    assert [past.verdict for past in await engine.history("a")] == [Verdict.RETRY, Verdict.REPLACED]
    assert (await engine.put("late", head=unique, keys=["k"])).holders == {0: text_key("a")}
    assert [extra.checkpoint for extra in (await extras(engine)).values()] == [b""]


async def test_an_outcome_under_the_old_token_is_stale(engine: EngineUnderTest) -> None:
    await engine.put("a")
    token = await start(engine, "a")
    await hold(engine, Workflow("guest").add("taker", takes_over=True))
    await replace_by(engine, token)

    finished = await engine.end("w", token, Verdict.REPLACED, workflow=GUEST, name="a")

    assert finished.refused == {token: Refusal.STALE}
    assert (await engine.job("a")).state is QUEUED


async def test_what_replaces_a_job_may_bring_callbacks_for_it(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow("host").chain("a", "b"))
    token = await start(engine, "a")
    workflow = Workflow("guest").add("taker", takes_over=True)
    workflow.add("link", after=workflow.join("taker")).add("error", after=workflow.failure_of("taker"))
    await hold(engine, workflow)
    await replace_by(engine, token)

    assert finals((await engine.succeed("w", [await start(engine, "a")])).final) == ["a", "error"]
    assert await take(engine) == ["b", "link"]


async def test_a_replacement_that_fails_fails_the_job_and_who_waits_for_it(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow("host").chain("a", "b"))
    token = await start(engine, "a")
    await hold(engine, chord_in_place())
    await replace_by(engine, token)
    tokens = await take_tokens(engine)

    finished = await engine.end("w", tokens["x"], Verdict.FAILED, failure=FAILURE)

    assert finals(finished.final) == ["x", "a", "b"]
    assert [(await engine.job(name)).cause for name in "ab"] == [text_key("x"), text_key("a")]
    await engine.verbs.edit(ids("x"), Redrive(), engine.now)
    assert await states(engine, "x", "a", "b") == [QUEUED, WAITING, WAITING]


async def test_a_job_can_be_replaced_again(engine: EngineUnderTest) -> None:
    await engine.put("a")
    for number in range(3):
        token = await start(engine, "a")
        workflow = Workflow(f"guest {number}").add(f"x{number}")
        workflow.add("taker", after=workflow.join(f"x{number}"), takes_over=True)
        await hold(engine, workflow)
        await replace_by(engine, token, workflow.id)
        assert await run(engine, f"x{number}") == [f"x{number}"]

    assert await run(engine, "a") == ["a"]
    page = await engine.verbs.nodes(workflow_id("guest 0"), b"", 10)
    assert page is not None
    assert (finals(node.job.id for node in page.nodes), page.nodes[0].after) == (["a", "x0", "x1", "x2"], 3)


async def test_a_replacement_that_is_not_there_counts_as_lost(engine: EngineUnderTest) -> None:
    await engine.put("a")
    await submit(engine, Workflow("live").add("b", head=Head("tasks.add", "elsewhere", 0, "json")))
    await hold(engine, Workflow("nobody takes over").add("c"))
    for workflow in ("none", "live", "nobody takes over"):
        finished = await replace_by(engine, await start(engine, "a"), workflow_id(workflow))

    assert finals(finished.final) == ["a"]
    job = await engine.job("a")
    assert (job.state, job.lost, job.failure and job.failure.type) == (State.FAILED, 3, "WorkerLostError")


async def test_a_cancel_wins_over_a_replacement(engine: EngineUnderTest) -> None:
    await engine.put("a")
    token = await start(engine, "a")
    await hold(engine, chord_in_place())
    await engine.cancel("a")

    finished = await replace_by(engine, token)

    assert finals(finished.final) == ["a"]
    assert await states(engine, "a", "x") == [State.CANCELLED, WAITING]
    assert await take(engine) == []


async def test_a_replacement_survives_a_restart(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow("host").chain("a", "b"))
    token = await start(engine, "a")
    await hold(engine, chord_in_place())
    await replace_by(engine, token)
    await engine.leave()
    await engine.restart()

    assert await run(engine, "x", "y") == ["x", "y"]
    assert await run(engine, "a") == ["a"]
    assert await run(engine, "b") == ["b"]


@pytest.mark.parametrize("kind", ENGINES)
async def test_a_workflow_cannot_grow_without_bound_by_replacements(kind: str, tmp_path: Path) -> None:
    engine = EngineUnderTest(kind, tmp_path, replace(CONFIG, max_workflow_jobs=4))
    await engine.open()
    await submit(engine, Workflow("host").chain("a", "b", "c"))
    token = await start(engine, "a")
    await hold(engine, chord_in_place())

    finished = await replace_by(engine, token)

    assert finals(finished.final) == ["a", "b", "c"]
    failure = (await engine.job("a")).failure
    assert failure is not None
    assert failure.type == "WorkflowTooLarge"
    await engine.verbs.close()


async def test_only_one_job_can_take_over_and_only_of_a_held_workflow(engine: EngineUnderTest) -> None:
    workflow = Workflow("guest").add("one", takes_over=True)

    assert await submit(engine, workflow) == PartAnswer(PartEffect.UNKNOWN_JOIN)
    two = workflow.add("two", takes_over=True).part(held=True)
    assert await engine.verbs.submit(two, engine.now) == PartAnswer(PartEffect.UNKNOWN_JOIN)


async def test_the_moment_at_which_the_replaced_body_was_to_expire_does_not_hold_any_more(
    engine: EngineUnderTest,
) -> None:
    await engine.put("a", expires_ms=engine.later(10))
    token = await start(engine, "a")
    await hold(engine, Workflow("guest").add("taker", takes_over=True, expires_ms=engine.later(20)))
    await replace_by(engine, token)
    await engine.leave()

    engine.advance(10)
    assert (await engine.expire_all(10)).final == []

    engine.advance(10)
    assert finals((await engine.expire_all(10)).final) == ["a"]
