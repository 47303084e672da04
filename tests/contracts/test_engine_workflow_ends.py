"""What every engine must do with those that wait for a job that fails."""

from __future__ import annotations

import pytest
from tests.contracts.harness import FAILURE, EngineUnderTest
from tests.contracts.workflows import Workflow, fail, finals, places, run, states, submit, take, take_tokens

from tqbroker_broker.attempts import Ending, Verdict
from tqbroker_broker.questions import EventKind
from tqbroker_broker.records import Head, JobId, State, text_key
from tqbroker_broker.rules import Overflow, QueueRule, Traits, Unique, UniqueConflict, UniqueUntil

WAITING, QUEUED = State.WAITING, State.QUEUED
FAILED, CANCELLED, EXPIRED = State.FAILED, State.CANCELLED, State.EXPIRED


async def test_a_failure_fails_the_rest_of_the_chain(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chain("a", "b", "c"))

    assert await fail(engine, "a", FAILURE) == ["a", "b", "c"]

    assert await states(engine, "a", "b", "c") == [FAILED] * 3
    assert [(await engine.job(name)).failure for name in "abc"] == [FAILURE] * 3


async def test_a_job_names_the_member_because_of_which_it_ended(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chain("a", "b", "c"))

    await fail(engine, "a")

    assert [(await engine.job(name)).cause for name in "abc"] == [b"", text_key("a"), text_key("b")]
    assert (await engine.job("b")).parent == b""


async def test_a_failed_member_fails_the_body_and_names_itself(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chord("a", "b", body="body"))
    tokens = await take_tokens(engine)

    finished = await engine.end("w", tokens["b"], Verdict.FAILED, failure=FAILURE)

    assert finals(finished.final) == ["b", "body"]
    failure = (await engine.job("body")).failure
    assert failure is not None
    assert (failure.type, failure.message) == ("ChordError", "Dependency b raised ValueError: no such thing")


async def test_the_other_members_of_a_broken_group_go_on(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chord("a", "b", body="body"))
    tokens = await take_tokens(engine)
    await engine.end("w", tokens["b"], Verdict.FAILED, failure=FAILURE)

    assert finals((await engine.succeed("w", [tokens["a"]])).final) == ["a"]
    job = await engine.job("body")
    assert (job.state, job.cause) == (FAILED, text_key("b"))


async def test_the_second_failure_changes_nothing(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chord("a", "b", body="body"))
    tokens = await take_tokens(engine)
    for name in ("b", "a"):
        await engine.end("w", tokens[name], Verdict.FAILED, failure=FAILURE)

    assert (await engine.job("body")).cause == text_key("b")


async def test_an_error_callback_is_released_by_the_first_failure_with_the_job_that_failed(
    engine: EngineUnderTest,
) -> None:
    workflow = Workflow().add("a", "b")
    await submit(engine, workflow.add("error", after=workflow.failure_of("a", "b")))
    tokens = await take_tokens(engine)

    finished = await engine.end("w", tokens["b"], Verdict.FAILED, failure=FAILURE)

    assert (finals(finished.final), finished.woken) == (["b"], frozenset({"default"}))
    place = (await places(engine))["error"]
    assert place is not None
    assert place.cause is not None
    assert (place.cause.id, place.cause.args, place.cause.failure) == (text_key("b"), b"b", FAILURE)
    assert (place.parent, place.inputs) == (text_key("b"), None)
    assert (await engine.job("error")).cause == b""


async def test_an_error_callback_is_released_once(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a", "b")
    await submit(engine, workflow.add("error", after=workflow.failure_of("a", "b")))
    tokens = await take_tokens(engine)
    await engine.end("w", tokens["a"], Verdict.FAILED)
    assert await run(engine, "error") == ["error"]

    await engine.end("w", tokens["b"], Verdict.FAILED)

    assert await take(engine) == []


async def test_an_error_callback_that_wants_nothing_is_not_handed_the_job(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a")
    await submit(engine, workflow.add("error", after=workflow.failure_of("a"), silent=True))
    await fail(engine, "a")

    place = (await places(engine))["error"]

    assert place is not None
    assert place.cause is None


async def test_one_callback_over_a_chain_runs_once_with_the_job_that_failed_by_itself(engine: EngineUnderTest) -> None:
    workflow = Workflow().chain("a", "b", "c")
    await submit(engine, workflow.add("error", after=workflow.failure_of("a", "b", "c")))
    await fail(engine, "a", FAILURE)

    placed = await places(engine)

    assert list(placed) == ["error"]
    place = placed["error"]
    assert place is not None
    assert place.cause is not None
    assert place.cause.id == text_key("a")


async def test_the_error_callback_of_a_body_runs_when_a_member_fails(engine: EngineUnderTest) -> None:
    workflow = Workflow().chord("a", "b", body="body")
    await submit(engine, workflow.add("error", after=workflow.failure_of("body")))
    tokens = await take_tokens(engine)
    await engine.end("w", tokens["a"], Verdict.FAILED, failure=FAILURE)

    place = (await places(engine))["error"]

    assert place is not None
    assert place.cause is not None
    assert (place.cause.id, place.cause.failure and place.cause.failure.type) == (text_key("body"), "ChordError")


async def test_jobs_that_lose_their_workers_fail_their_followers(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chain("a", "b"))
    ended: list[JobId] = []
    for _ in range(engine.config.max_lost_leases):
        tokens = await take_tokens(engine)
        ended += (await engine.end("w", tokens["a"], Verdict.LOST)).final

    assert finals(ended) == ["a", "b"]
    failure = (await engine.job("b")).failure
    assert failure is not None
    assert failure.type == "WorkerLostError"


async def test_a_worker_that_falls_silent_for_good_fails_what_waits_for_its_job(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a")
    workflow.add("b", after=workflow.join("a"))
    await submit(engine, workflow.add("error", after=workflow.failure_of("a")))
    for process in range(1, engine.config.max_lost_leases):
        await engine.join(process=process)
        await engine.take()
        engine.advance(engine.config.lease_ttl)
        await engine.expire_all(10)
    await engine.join(process=engine.config.max_lost_leases)
    await engine.take()
    engine.advance(engine.config.lease_ttl)

    expired = await engine.expire_all(10)

    assert finals(expired.final) == ["a", "b"]
    assert expired.woken == frozenset({"default"})
    assert await states(engine, "a", "b", "error") == [FAILED, FAILED, QUEUED]


@pytest.mark.parametrize("length", [3000])
async def test_the_end_of_a_long_chain_takes_one_step(engine: EngineUnderTest, length: int) -> None:
    names = [f"job {number}" for number in range(length)]
    await submit(engine, Workflow().chain(*names))

    assert await fail(engine, names[0], FAILURE) == names

    job = await engine.job(names[-1])
    assert (job.state, job.failure, job.cause) == (FAILED, FAILURE, text_key(names[-2]))


async def test_what_ends_together_is_told_from_near_to_far(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a")
    first = workflow.join("a")
    workflow.add("near", "also near", after=first)
    workflow.add("far", after=workflow.join("near"))
    await submit(engine, workflow.add("farther", after=workflow.list_of("far", "also near")))

    assert await fail(engine, "a") == ["a", "near", "also near", "far", "farther"]
    assert (await engine.job("farther")).cause == text_key("also near")


async def test_followers_that_end_are_told_in_the_log(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a")
    workflow.add("b", after=workflow.join("a"))
    await submit(engine, workflow.add("error", after=workflow.failure_of("a")))
    await fail(engine, "a", FAILURE)
    await engine.cancel("error")
    page = await engine.verbs.events(0, 100)

    told = [(each.kind, name, each.error) for each in page.events for name in finals(each.ids)]

    assert [each for each in told if each[1] == "b"] == [
        (EventKind.SENT, "b", ""),
        (EventKind.FAILED, "b", "ValueError"),
    ]
    assert [kind for kind, name, _ in told if name == "error"] == [EventKind.SENT, EventKind.REVOKED]


async def test_a_follower_that_ends_frees_its_unique_key(engine: EngineUnderTest) -> None:
    unique = Head(
        "tasks.add",
        "default",
        0,
        "json",
        traits=Traits(unique=Unique(UniqueUntil.FINISHED, UniqueConflict.REJECT)),
    )
    workflow = Workflow().add("a")
    await submit(engine, workflow.add("b", after=workflow.join("a"), head=unique, keys=["k"]))
    await engine.put("before", head=unique, keys=["k"])
    assert (await engine.job("before")).state is State.UNKNOWN

    await engine.cancel("a")
    await engine.put("after", head=unique, keys=["k"])

    assert (await engine.job("after")).state is QUEUED


async def test_a_job_that_makes_room_in_a_full_queue_takes_its_followers_along(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a")
    workflow.add("b", after=workflow.join("a"))
    elsewhere = Head("tasks.add", "other", 0, "json")
    await submit(engine, workflow.add("error", after=workflow.failure_of("a"), head=elsewhere))
    await engine.verbs.put_queue("default", QueueRule(max_length=1, overflow=Overflow.DROP_OLDEST), engine.now)

    answer = await engine.put("new")

    assert (finals(answer.final), answer.woken) == (["a", "b"], frozenset({"other"}))
    assert await states(engine, "a", "b", "error", "new") == [FAILED, FAILED, QUEUED, QUEUED]


async def test_a_new_process_of_a_worker_tells_what_ended_with_the_jobs_of_the_old_one(
    engine: EngineUnderTest,
) -> None:
    await submit(engine, Workflow().chain("a", "b"))
    ended: list[JobId] = []
    for process in range(1, engine.config.max_lost_leases + 2):
        engine.part(process=process - 1)
        ended += (await engine.join(process=process)).final
        await engine.take()

    assert finals(ended) == ["a", "b"]


async def test_outcomes_of_one_message_are_told_before_what_follows_them(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow("one").chain("a", "b"))
    await submit(engine, Workflow("two").chain("c", "d"))
    tokens = await take_tokens(engine)
    ending = Ending(0, Verdict.FAILED, FAILURE)

    finished = await engine.verbs.finish("w", [], [ending._replace(token=tokens[name]) for name in "ac"], engine.now)

    assert finals(finished.final) == ["a", "c", "b", "d"]


async def test_who_ended_before_the_release_was_not_released(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a")
    await submit(engine, workflow.add("b", "c", after=workflow.join("a")))
    await engine.cancel("b")

    await run(engine, "a")

    assert [(await engine.job(name)).parent for name in "bc"] == [b"", text_key("a")]
    assert await engine.verbs.inputs(text_key("b"), 0) is None
