"""What every engine must do with jobs that wait for each other, as long as all goes well."""

from __future__ import annotations

from tests.contracts.harness import FAILURE, RESULT_TTL, EngineUnderTest
from tests.contracts.workflows import Workflow, finals, places, run, states, submit, take, take_tokens, workflow_id

from tqbroker_broker.answers import QueueCounts
from tqbroker_broker.attempts import Verdict
from tqbroker_broker.questions import Filter
from tqbroker_broker.records import State, text_key
from tqbroker_broker.rules import Overflow, QueueRule
from tqbroker_broker.workflows import PartAnswer, PartEffect

WAITING, QUEUED, SUCCEEDED = State.WAITING, State.QUEUED, State.SUCCEEDED


async def test_only_jobs_that_wait_for_nobody_are_ready_at_first(engine: EngineUnderTest) -> None:
    answer = await submit(engine, Workflow().chain("a", "b", "c"))

    assert answer == PartAnswer(PartEffect.STORED, woken=frozenset({"default"}))
    assert await states(engine, "a", "b", "c") == [QUEUED, WAITING, WAITING]
    assert await take(engine) == ["a"]


async def test_in_a_chain_each_end_releases_the_next(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chain("a", "b", "c"))

    assert await run(engine, "a") == ["a"]
    assert await run(engine, "b") == ["b"]
    assert await run(engine, "c") == ["c"]
    assert await states(engine, "a", "b", "c") == [SUCCEEDED] * 3
    assert await take(engine) == []


async def test_the_commit_that_ends_a_member_wakes_the_queue_of_its_followers(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chain("a", "b"))
    tokens = await take_tokens(engine)

    finished = await engine.succeed("w", tokens.values())

    assert (finished.woken, finished.next_due_ms) == (frozenset({"default"}), 0)


async def test_a_released_job_survives_a_restart_and_so_does_a_waiting_one(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chain("a", "b", "c"))
    await run(engine, "a")
    await engine.leave()
    await engine.restart()

    assert await states(engine, "a", "b", "c") == [SUCCEEDED, QUEUED, WAITING]
    assert await run(engine, "b") == ["b"]
    assert await run(engine, "c") == ["c"]


async def test_all_members_of_a_group_are_ready_at_once(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a", "b", "c")
    workflow.list_of("a", "b", "c", group="g")
    await submit(engine, workflow)

    assert await run(engine, "a", "b", "c") == ["a", "b", "c"]


async def test_a_chord_body_waits_for_the_last_member(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chord("a", "b", "c", body="body"))
    tokens = await take_tokens(engine)
    await engine.succeed("w", [tokens["c"], tokens["a"]])
    assert (await engine.job("body")).state is WAITING

    await engine.succeed("w", [tokens["b"]])

    assert await take(engine) == ["body"]


async def test_both_ways_of_a_diamond_join_again(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("top")
    top = workflow.join("top")
    workflow.add("left", "right", after=top)
    workflow.add("bottom", after=workflow.list_of("left", "right"))
    await submit(engine, workflow)

    await run(engine, "top")
    await run(engine, "left", "right")
    assert await run(engine, "bottom") == ["bottom"]


async def test_every_follower_of_a_join_is_released(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a")
    await submit(engine, workflow.add("one", "two", after=workflow.join("a")))

    await run(engine, "a")

    assert await take(engine) == ["one", "two"]


async def test_a_job_may_be_a_member_of_several_joins(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a", "b")
    first, both = workflow.join("a"), workflow.list_of("a", "b")
    await submit(engine, workflow.add("link", after=first).add("body", after=both))
    tokens = await take_tokens(engine)

    await engine.succeed("w", [tokens["a"]])
    assert await states(engine, "link", "body") == [QUEUED, WAITING]

    await engine.succeed("w", [tokens["b"]])
    assert await take(engine) == ["link", "body"]


async def test_a_group_may_follow_a_group(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a", "b")
    await submit(engine, workflow.add("c", "d", after=workflow.list_of("a", "b")))

    await run(engine, "a", "b")

    assert await take(engine) == ["c", "d"]


async def test_released_jobs_go_to_the_end_of_their_lane(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chain("a", "b"))
    tokens = await take_tokens(engine)
    await engine.put("plain")

    await engine.succeed("w", tokens.values())

    assert await take(engine) == ["plain", "b"]


async def test_an_outcome_that_is_sent_twice_counts_once(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chord("a", "b", body="body"))
    tokens = await take_tokens(engine)

    for _ in range(2):
        await engine.succeed("w", [tokens["a"]], ids=["a"])

    assert (await engine.job("body")).state is WAITING


async def test_a_member_that_is_retried_has_not_ended(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chain("a", "b"))
    tokens = await take_tokens(engine)

    finished = await engine.end("w", tokens["a"], Verdict.RETRY, failure=FAILURE)

    assert finished.final == []
    assert await states(engine, "a", "b") == [QUEUED, WAITING]


async def test_the_countdown_of_a_follower_begins_with_its_release(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a")
    await submit(engine, workflow.add("b", after=workflow.join("a"), countdown=60))
    engine.advance(100)
    tokens = await take_tokens(engine)

    finished = await engine.succeed("w", tokens.values())

    assert (finished.woken, finished.next_due_ms) == (frozenset(), engine.later(60))
    job = await engine.job("b")
    assert (job.state, job.due_ms) == (State.SCHEDULED, engine.later(60))


async def test_a_follower_that_is_released_before_its_moment_waits_for_it(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a", "b")
    both = workflow.list_of("a", "b")
    moment = engine.later(60)
    await submit(
        engine, workflow.add("soon", after=both, due_ms=engine.later(1)).add("late", after=both, due_ms=moment)
    )
    engine.advance(5)

    finished = await engine.succeed("w", (await take_tokens(engine)).values())

    assert finished.next_due_ms == moment
    assert await states(engine, "soon", "late") == [QUEUED, State.SCHEDULED]
    assert (await engine.job("late")).due_ms == moment


async def test_a_follower_with_a_moment_can_be_cancelled_while_it_waits_for_others(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a")
    await submit(engine, workflow.add("b", after=workflow.join("a"), due_ms=engine.later(60)))
    assert await states(engine, "b") == [WAITING]

    await engine.cancel("b")

    assert await states(engine, "a", "b") == [QUEUED, State.CANCELLED]


async def test_the_expiry_of_a_follower_counts_from_its_release(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a")
    await submit(engine, workflow.add("b", after=workflow.join("a"), expires_in=60))
    engine.advance(100)
    await engine.verbs.expire(engine.now, 10)
    assert (await engine.job("b")).expires_ms == 0

    await run(engine, "a")

    assert (await engine.job("b")).expires_ms == engine.later(60)


async def test_how_long_a_queue_lets_jobs_wait_counts_from_the_release(engine: EngineUnderTest) -> None:
    await engine.verbs.put_queue("default", QueueRule(ttl_ms=60_000), engine.now)
    await submit(engine, Workflow().chain("a", "b"))
    assert (await engine.job("a")).expires_ms == engine.later(60)
    engine.advance(10)

    await run(engine, "a")

    assert (await engine.job("b")).expires_ms == engine.later(60)


async def test_first_jobs_may_be_due_later(engine: EngineUnderTest) -> None:
    answer = await submit(engine, Workflow().add("a", due_ms=engine.later(60)).add("b", due_ms=engine.later(30)))

    assert (answer.woken, answer.next_due_ms) == (frozenset(), engine.later(30))
    assert await states(engine, "a", "b") == [State.SCHEDULED] * 2
    engine.advance(60)
    await engine.verbs.due(engine.now, 10)
    assert await take(engine) == ["b", "a"]


async def test_a_full_queue_does_not_keep_followers_out(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chain("a", "b"))
    await engine.verbs.put_queue("default", QueueRule(max_length=1, overflow=Overflow.REFUSE), engine.now)
    tokens = await take_tokens(engine)
    await engine.put("plain")

    await engine.succeed("w", tokens.values())

    assert await take(engine) == ["plain", "b"]


async def test_a_waiting_job_says_what_it_waits_for(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a", "b", "c")
    body, error = workflow.list_of("a", "b", "c"), workflow.failure_of("a", "b")
    await submit(engine, workflow.add("body", after=body).add("error", after=error))
    tokens = await take_tokens(engine)
    await engine.succeed("w", [tokens["b"]])

    job = await engine.job("body")
    assert (job.left, job.members, job.for_failure) == (2, 3, False)
    job = await engine.job("error")
    assert (job.left, job.members, job.for_failure) == (1, 2, True)
    assert (await engine.job("a")).members == 0


async def test_waiting_jobs_are_counted_and_listed(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chain("a", "b", "c"))

    assert (await engine.verbs.stats()).queues == {"default": QueueCounts(queued=1, waiting=2)}
    page = await engine.verbs.scan(Filter(states=frozenset({WAITING})), b"", 10)
    assert finals(job.id for job in page.jobs) == ["b", "c"]


async def test_jobs_know_their_workflow_and_who_released_them(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow("f").chain("a", "b"))
    await run(engine, "a")

    job = await engine.job("b")
    assert (job.workflow, job.root, job.parent) == (workflow_id("f"), text_key("a"), text_key("a"))
    job = await engine.job("a")
    assert (job.workflow, job.root, job.parent) == (workflow_id("f"), text_key("a"), b"")


async def test_the_parent_of_a_body_is_the_member_that_ended_last(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chord("a", "b", body="body"))
    tokens = await take_tokens(engine)

    await engine.succeed("w", [tokens["b"], tokens["a"]])

    assert (await engine.job("body")).parent == text_key("a")


async def test_members_know_their_group_and_their_index_in_it(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chord("a", "b", body="body"))

    jobs = [await engine.job(name) for name in ("a", "b", "body")]
    assert [(job.group, job.group_index) for job in jobs] == [
        (workflow_id("group"), 0),
        (workflow_id("group"), 1),
        (b"", 0),
    ]


async def test_a_delivery_says_where_the_job_stands(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow("f").chord("a", "b", body="body"))

    place = (await places(engine))["b"]

    assert place is not None
    assert place[:6] == (workflow_id("f"), text_key("a"), b"", workflow_id("group"), 1, True)
    assert (place.inputs, place.cause) == (None, None)


async def test_a_group_that_nobody_waits_for_is_no_chord(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a", "b")
    workflow.list_of("a", "b", group="g")
    await submit(engine, workflow)

    place = (await places(engine))["a"]

    assert place is not None
    assert (place.group, place.in_chord) == (workflow_id("g"), False)


async def test_a_plain_job_has_no_place(engine: EngineUnderTest) -> None:
    await engine.put("plain")

    assert await places(engine) == {"plain": None}


async def test_an_error_callback_is_spared_when_all_succeed(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a", "b")
    await submit(engine, workflow.add("error", after=workflow.failure_of("a", "b")))

    assert await run(engine, "a", "b") == ["a", "b", "error"]

    job = await engine.job("error")
    assert (job.state, job.failure, job.cause) == (State.CANCELLED, None, b"")


async def test_what_follows_a_spared_callback_is_spared_too(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a")
    workflow.add("error", after=workflow.failure_of("a"))
    await submit(engine, workflow.add("then", after=workflow.join("error")))

    assert await run(engine, "a") == ["a", "error", "then"]

    job = await engine.job("then")
    assert (job.state, job.failure, job.cause) == (State.CANCELLED, None, b"")


async def test_the_result_of_a_member_is_kept_until_the_whole_workflow_has_ended(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chain("a", "b"))
    await run(engine, "a", result=b"from a")
    engine.advance(RESULT_TTL * 3)
    await engine.join()
    await engine.expire_all(10)

    assert (await engine.job("a")).result == b"from a"
