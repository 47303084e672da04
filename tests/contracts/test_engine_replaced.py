"""What every engine must do when a workflow takes the place of a running job, or is added beside it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.contracts.flows import (
    Flow,
    extras,
    fail,
    finals,
    flow_id,
    ids,
    places,
    run,
    states,
    submit,
    take,
    take_tokens,
)
from tests.contracts.harness import CONFIG, ENGINES, FAILURE, EngineUnderTest

from tqbroker_broker.answers import Finished
from tqbroker_broker.attempts import Held, Progress, Refusal, Verdict
from tqbroker_broker.questions import Redrive
from tqbroker_broker.records import Head, State, text_key
from tqbroker_broker.rules import Traits, Unique, UniqueConflict, UniqueUntil
from tqbroker_broker.workflows import Inputs, Members, PartAnswer, PartEffect, Shape, Tally

WAITING, QUEUED = State.WAITING, State.QUEUED
GUEST = flow_id("guest")
OTHER = Head("tasks.slow", "default", 0, "msgpack")


async def hold(engine: EngineUnderTest, flow: Flow) -> None:
    answer = await engine.verbs.submit(flow.part(held=True), engine.now)
    assert answer.effect is PartEffect.STORED


async def replace_by(engine: EngineUnderTest, token: int, workflow: bytes = GUEST) -> Finished:
    return await engine.end("w", token, Verdict.REPLACED, workflow=workflow)


async def start(engine: EngineUnderTest, name: str) -> int:
    """Runs a job, the only one that is ready. Returns its token."""
    tokens = await take_tokens(engine)
    assert list(tokens) == [name]
    return tokens[name]


def chord_in_place() -> Flow:
    """Two jobs, and the one that takes over waits for both."""
    flow = Flow("guest").add("x", "y")
    return flow.add("taker", after=flow.list_of("x", "y", group="inner"), takes_over=True, head=OTHER)


# -- replaced --------------------------------------------------------------------------------------------------------


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
    assert await engine.verbs.group(flow_id("inner"), 0, 10) == Members(ids("x", "y"), 2)


async def test_a_single_job_can_take_over_at_once(engine: EngineUnderTest) -> None:
    await engine.put("a")
    token = await start(engine, "a")
    await hold(engine, Flow("guest").add("taker", takes_over=True, head=OTHER))

    finished = await replace_by(engine, token)

    assert (finished.final, finished.woken) == ([], frozenset({"default"}))
    assert (await engine.job("a")).state is QUEUED
    assert await run(engine, "a") == ["a"]


async def test_a_job_that_takes_over_may_be_due_later(engine: EngineUnderTest) -> None:
    await engine.put("a")
    token = await start(engine, "a")
    await hold(engine, Flow("guest").add("taker", takes_over=True, countdown=60, expires_in=90))

    finished = await replace_by(engine, token)

    assert (finished.woken, finished.next_due_ms) == (frozenset(), engine.later(60))
    job = await engine.job("a")
    assert (job.state, job.due_ms, job.expires_ms) == (State.SCHEDULED, engine.later(60), engine.later(90))


async def test_who_waited_for_the_job_goes_on_waiting_for_it(engine: EngineUnderTest) -> None:
    await submit(engine, Flow("host").chain("a", "b"))
    token = await start(engine, "a")
    await hold(engine, chord_in_place())

    await replace_by(engine, token)

    assert await states(engine, "a", "b") == [WAITING, WAITING]
    await run(engine, "x", "y")
    await run(engine, "a", result=b"from a")
    assert await engine.verbs.inputs(text_key("b"), 0) == Inputs(Shape.VALUE, [b"from a"], ["json"], 1)


async def test_what_replaces_a_job_of_a_workflow_belongs_to_that(engine: EngineUnderTest) -> None:
    await submit(engine, Flow("host").chain("a", "b"))
    token = await start(engine, "a")
    await hold(engine, chord_in_place())
    await replace_by(engine, token)

    page = await engine.verbs.nodes(flow_id("host"), b"", 10)

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
    assert (job.workflow, job.root, job.group) == (flow_id("host"), text_key("a"), flow_id("inner"))


async def test_a_workflow_that_was_merged_can_be_sent_again(engine: EngineUnderTest) -> None:
    await submit(engine, Flow("host").chain("a", "b"))
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
    await hold(engine, Flow("guest").add("taker", takes_over=True, head=OTHER))
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
    await hold(engine, Flow("guest").add("taker", takes_over=True))
    await replace_by(engine, token)

    finished = await engine.end("w", token, Verdict.REPLACED, workflow=GUEST, name="a")

    assert finished.refused == {token: Refusal.STALE}
    assert (await engine.job("a")).state is QUEUED


async def test_what_replaces_a_job_may_bring_callbacks_for_it(engine: EngineUnderTest) -> None:
    await submit(engine, Flow("host").chain("a", "b"))
    token = await start(engine, "a")
    flow = Flow("guest").add("taker", takes_over=True)
    flow.add("link", after=flow.join("taker")).add("error", after=flow.failure_of("taker"))
    await hold(engine, flow)
    await replace_by(engine, token)

    assert finals((await engine.succeed("w", [await start(engine, "a")])).final) == ["a", "error"]
    assert await take(engine) == ["b", "link"]


async def test_a_replacement_that_fails_fails_the_job_and_who_waits_for_it(engine: EngineUnderTest) -> None:
    await submit(engine, Flow("host").chain("a", "b"))
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
        flow = Flow(f"guest {number}").add(f"x{number}")
        flow.add("taker", after=flow.join(f"x{number}"), takes_over=True)
        await hold(engine, flow)
        await replace_by(engine, token, flow.id)
        assert await run(engine, f"x{number}") == [f"x{number}"]

    assert await run(engine, "a") == ["a"]
    page = await engine.verbs.nodes(flow_id("guest 0"), b"", 10)
    assert page is not None
    assert (finals(node.job.id for node in page.nodes), page.nodes[0].after) == (["a", "x0", "x1", "x2"], 3)


async def test_a_replacement_that_is_not_there_counts_as_lost(engine: EngineUnderTest) -> None:
    await engine.put("a")
    await submit(engine, Flow("live").add("b", head=Head("tasks.add", "elsewhere", 0, "json")))
    await hold(engine, Flow("nobody takes over").add("c"))
    for flow in ("none", "live", "nobody takes over"):
        finished = await replace_by(engine, await start(engine, "a"), flow_id(flow))

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
    await submit(engine, Flow("host").chain("a", "b"))
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
    await submit(engine, Flow("host").chain("a", "b", "c"))
    token = await start(engine, "a")
    await hold(engine, chord_in_place())

    finished = await replace_by(engine, token)

    assert finals(finished.final) == ["a", "b", "c"]
    failure = (await engine.job("a")).failure
    assert failure is not None
    assert failure.type == "WorkflowTooLarge"
    await engine.verbs.close()


async def test_only_one_job_can_take_over_and_only_of_a_held_workflow(engine: EngineUnderTest) -> None:
    flow = Flow("guest").add("one", takes_over=True)

    assert await submit(engine, flow) == PartAnswer(PartEffect.UNKNOWN_JOIN)
    two = flow.add("two", takes_over=True).part(held=True)
    assert await engine.verbs.submit(two, engine.now) == PartAnswer(PartEffect.UNKNOWN_JOIN)


# -- beside ----------------------------------------------------------------------------------------------------------


async def add_beside(engine: EngineUnderTest, flow: Flow, name: str, token: int) -> PartAnswer:
    return await engine.verbs.submit(flow.part(beside=Held(text_key(name), token)), engine.now)


async def test_a_job_of_a_group_can_add_members_to_it(engine: EngineUnderTest) -> None:
    await submit(engine, Flow("host").chord("a", "b", body="body"))
    tokens = await take_tokens(engine)

    answer = await add_beside(engine, Flow("guest").add("c", beside=True), "a", tokens["a"])

    assert answer == PartAnswer(PartEffect.STORED, woken=frozenset({"default"}))
    assert await engine.verbs.group(flow_id("group"), 0, 10) == Members(ids("a", "b", "c"), 3)
    await engine.succeed("w", tokens.values(), result=b"1")
    assert (await engine.job("body")).state is WAITING
    assert await run(engine, "c", result=b"2") == ["c"]
    assert await engine.verbs.inputs(text_key("body"), 0) == Inputs(Shape.LIST, [b"1", b"1", b"2"], ["json"], 3)


async def test_only_the_end_of_what_is_added_is_a_member(engine: EngineUnderTest) -> None:
    await submit(engine, Flow("host").chord("a", "b", body="body"))
    tokens = await take_tokens(engine)
    flow = Flow("guest").add("c")
    await add_beside(engine, flow.add("d", after=flow.join("c"), beside=True), "a", tokens["a"])
    await engine.succeed("w", tokens.values())

    await run(engine, "c")
    assert (await engine.job("body")).state is WAITING
    await run(engine, "d")
    assert await take(engine) == ["body"]


async def test_what_is_added_belongs_to_the_workflow_of_the_job(engine: EngineUnderTest) -> None:
    await submit(engine, Flow("host").chord("a", "b", body="body"))
    tokens = await take_tokens(engine)
    flow = Flow("guest").add("c")
    await add_beside(engine, flow.add("d", after=flow.join("c"), beside=True), "a", tokens["a"])

    page = await engine.verbs.nodes(flow_id("host"), b"", 10)

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
        flow_id("host"),
        text_key("a"),
        flow_id("group"),
        2,
    )


async def test_a_failure_of_what_was_added_breaks_the_group(engine: EngineUnderTest) -> None:
    await submit(engine, Flow("host").chord("a", "b", body="body"))
    tokens = await take_tokens(engine)
    await add_beside(engine, Flow("guest").add("c", beside=True), "a", tokens["a"])

    assert await fail(engine, "c") == ["c", "body"]


async def test_joins_of_one_job_and_joins_that_are_decided_take_no_member(engine: EngineUnderTest) -> None:
    flow = Flow("host").add("a", "b")
    flow.add("link", after=flow.join("a"))
    await submit(engine, flow.add("body", after=flow.list_of("a", "b")))
    tokens = await take_tokens(engine)
    await engine.end("w", tokens["b"], Verdict.FAILED)

    await add_beside(engine, Flow("guest").add("c", beside=True), "a", tokens["a"])

    page = await engine.verbs.nodes(flow_id("host"), b"", 10)
    assert page is not None
    assert [join.members for join in page.joins] == [1, 2]
    assert page.nodes[-1].member_of == ()


async def test_a_plain_job_gets_a_workflow_with_what_is_added(engine: EngineUnderTest) -> None:
    await engine.put("a")
    token = await start(engine, "a")

    await add_beside(engine, Flow("guest").add("c", beside=True), "a", token)

    page = await engine.verbs.nodes(GUEST, b"", 10)
    assert page is not None
    assert finals(node.job.id for node in page.nodes) == ["a", "c"]
    assert (await engine.job("c")).root == text_key("a")
    await engine.succeed("w", [token])
    assert await run(engine, "c") == ["c"]
    assert (await info_of(engine, GUEST)) == Tally(2, 0, succeeded=2)


async def test_what_was_added_can_be_sent_again(engine: EngineUnderTest) -> None:
    await submit(engine, Flow("host").chord("a", "b", body="body"))
    tokens = await take_tokens(engine)
    flow = Flow("guest").add("c", beside=True)
    await add_beside(engine, flow, "a", tokens["a"])
    await engine.succeed("w", [tokens["a"]])

    assert await add_beside(engine, flow, "a", tokens["a"]) == PartAnswer(PartEffect.DUPLICATE)


async def test_only_who_runs_the_job_can_add_to_it(engine: EngineUnderTest) -> None:
    await submit(engine, Flow("host").chord("a", "b", body="body"))
    tokens = await take_tokens(engine)
    flow = Flow("guest").add("c", beside=True)

    assert await add_beside(engine, flow, "a", tokens["b"]) == PartAnswer(PartEffect.LEASE_LOST)
    assert await add_beside(engine, flow, "nobody", tokens["a"]) == PartAnswer(PartEffect.LEASE_LOST)
    await engine.succeed("w", [tokens["a"]])
    assert await add_beside(engine, flow, "a", tokens["a"]) == PartAnswer(PartEffect.LEASE_LOST)
    assert (await engine.job("c")).state is State.UNKNOWN


async def test_what_is_added_is_refused_as_any_workflow_is(engine: EngineUnderTest) -> None:
    await submit(engine, Flow("host").chord("a", "b", body="body"))
    tokens = await take_tokens(engine)

    answer = await add_beside(engine, Flow("guest").add("b", beside=True), "a", tokens["a"])

    assert answer.effect is PartEffect.REFUSED
    assert await engine.verbs.group(flow_id("group"), 0, 10) == Members(ids("a", "b"), 2)


@pytest.mark.parametrize("kind", ENGINES)
async def test_what_is_added_counts_towards_the_size_of_the_workflow(kind: str, tmp_path: Path) -> None:
    engine = EngineUnderTest(kind, tmp_path, replace(CONFIG, max_workflow_jobs=3))
    await engine.open()
    await submit(engine, Flow("host").chain("a", "b"))
    token = await start(engine, "a")

    assert await add_beside(engine, Flow("two").add("c", "d"), "a", token) == PartAnswer(PartEffect.TOO_LARGE)
    assert (await add_beside(engine, Flow("one").add("c"), "a", token)).effect is PartEffect.STORED
    await engine.verbs.close()


async def test_several_workflows_can_be_added(engine: EngineUnderTest) -> None:
    await submit(engine, Flow("host").chord("a", "b", body="body"))
    tokens = await take_tokens(engine)
    for number in range(3):
        flow = Flow(f"guest {number}").chain(f"c{number}", f"d{number}")
        await add_beside(engine, flow, "a", tokens["a"])

    page = await engine.verbs.nodes(flow_id("host"), b"", 10)

    assert page is not None
    assert [node.after for node in page.nodes] == [0, 0, 1, 0, 2, 0, 3, 0, 4]


async def info_of(engine: EngineUnderTest, workflow: bytes) -> Tally:
    page = await engine.verbs.nodes(workflow, b"", 1)
    assert page is not None
    return page.workflow.tally
