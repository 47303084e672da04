"""What every engine must do after a restart: a lease is not lost because the broker was away."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests.contracts.harness import TTL, EngineUnderTest, head_with, instance
from tests.contracts.workflows import Workflow, states, submit

from tqbroker_broker.answers import CancelAnswer, Cancelled, Joined, Mark, WorkerRow
from tqbroker_broker.attempts import Refusal, Verdict, Want
from tqbroker_broker.questions import Move
from tqbroker_broker.records import Head, State, text_key
from tqbroker_broker.rules import LimitRule

NOTHING = frozenset[str]()


async def start(engine: EngineUnderTest, *names: str, worker: str = "w") -> dict[str, int]:
    """Jobs that are running under a worker, with their tokens."""
    await engine.put(*names)
    await engine.join(worker)
    return await engine.take(worker)


async def test_without_workers_there_is_nothing_to_wait_for(engine: EngineUnderTest) -> None:
    await engine.put("a")
    opened = await engine.restart()
    await engine.join()

    assert opened.awaited == []
    assert engine.verbs.recovery_left(engine.now) == 0.0
    assert list(await engine.take()) == ["a"]


async def test_a_worker_that_left_is_not_awaited(engine: EngineUnderTest) -> None:
    await start(engine, "a")
    await engine.leave()

    assert (await engine.restart()).awaited == []


async def test_a_worker_goes_on_where_it_was(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a", "b")
    await engine.restart()

    assert await engine.join(held=tokens) == Joined([], NOTHING)

    jobs = [await engine.job("a"), await engine.job("b")]
    assert [(job.state, job.token, job.lost) for job in jobs] == [(State.RUNNING, tokens[name], 0) for name in "ab"]
    assert (await engine.succeed("w", tokens.values(), ids=tokens)).refused == {}


async def test_a_lease_is_resumed_over_several_restarts(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")
    for _ in range(3):
        await engine.restart()
        assert (await engine.join(held=tokens)).lost == []

    assert (await engine.succeed("w", tokens.values())).refused == {}


async def test_older_jobs_wait_until_every_listed_worker_is_back(engine: EngineUnderTest) -> None:
    held = await start(engine, "a")
    await engine.join("v")
    await engine.put("old")

    opened = await engine.restart()
    await engine.join("v")

    assert opened.awaited == ["v", "w"]
    assert engine.verbs.recovery_left(engine.now) == TTL
    assert await engine.take("v") == {}
    assert [(await engine.job(name)).recovering for name in ("a", "old")] == [True, True]
    assert engine.verbs.workers() == [
        WorkerRow("v", instance(1), connected=True, leases=0),
        WorkerRow("w", instance(1), connected=False, leases=0, awaited=True),
    ]

    await engine.join("w", held)

    assert engine.verbs.recovery_left(engine.now) == 0.0
    assert list(await engine.take("v")) == ["old"]
    assert not (await engine.job("a")).recovering


async def test_newer_jobs_do_not_wait(engine: EngineUnderTest) -> None:
    await start(engine, "a")
    await engine.put("old")
    await engine.put("due", due_ms=engine.later(5))
    await engine.restart()
    await engine.put("new")
    await engine.join("v")
    engine.advance(5)
    await engine.verbs.due(engine.now, 10)

    assert not (await engine.job("new")).recovering
    assert list(await engine.take("v")) == ["new", "due"]


async def test_withheld_jobs_come_in_their_order_once_the_wait_is_over(engine: EngineUnderTest) -> None:
    await start(engine, "a")
    await engine.put("old1", "old2")
    await engine.restart()
    await engine.join("v")
    await engine.put("new1", "new2")
    assert list(await engine.take("v", 1)) == ["new1"]

    await engine.join("w")

    assert list(await engine.take("v")) == ["a", "old1", "old2", "new2"]


async def test_of_jobs_that_come_back_together_only_the_newer_do_not_wait(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "old")
    await engine.join("awaited")
    await engine.restart()
    await engine.join("w", tokens)
    await engine.put("new")
    tokens |= await engine.take()

    await engine.verbs.release("w", [tokens["old"], tokens["new"]], engine.now)

    assert (await engine.job("old")).recovering
    assert list(await engine.take()) == ["new"]


async def test_a_missing_worker_is_waited_for_one_ttl(engine: EngineUnderTest) -> None:
    await start(engine, "a")
    await engine.restart()
    await engine.join("v")
    engine.advance(TTL - 0.5)
    engine.extend("v")
    assert engine.verbs.recovery_left(engine.now) == 0.5
    assert await engine.take("v") == {}

    engine.advance(0.5)
    assert engine.verbs.recovery_left(engine.now) == 0.0
    assert (await engine.verbs.expire(engine.now, 10)).lost_workers == ["w"]

    assert list(await engine.take("v")) == ["a"]
    assert (await engine.job("a")).lost == 0


async def test_nobody_gets_what_a_missing_worker_may_have_before_that_is_off_the_list(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")
    await engine.restart()
    await engine.join("v")
    engine.advance(TTL)

    assert await engine.take("v") == {}

    await engine.restart()
    assert (await engine.join("w", tokens)).lost == []


async def test_a_lease_told_to_be_lost_stays_lost_although_nobody_heard_it(engine: EngineUnderTest) -> None:
    older = await start(engine, "a")
    await engine.restart()
    engine.advance(TTL)
    await engine.verbs.expire(engine.now, 10)
    await engine.join("v")
    newer = await engine.take("v")
    await engine.restart()

    assert (await engine.join("w", older)).lost == [older["a"]]
    await engine.restart()
    assert (await engine.join("w", older)).lost == [older["a"]]
    assert (await engine.join("v", newer)).lost == []
    assert (await engine.succeed("v", newer.values())).refused == {}


async def test_an_awaited_worker_is_waited_for_although_its_stream_of_before_is_said_to_be_gone(
    engine: EngineUnderTest,
) -> None:
    tokens = await start(engine, "a")
    await engine.restart()
    engine.part()
    engine.advance(TTL - 0.5)

    assert (await engine.verbs.expire(engine.now, 10)).lost_workers == []
    assert (await engine.join("w", tokens)).lost == []


async def test_a_worker_that_did_not_come_back_leaves_the_list(engine: EngineUnderTest) -> None:
    await start(engine, "a")
    await engine.restart()
    assert (await engine.verbs.expire(engine.now, 10)).lost_workers == []
    engine.advance(TTL)

    assert (await engine.verbs.expire(engine.now, 10)).lost_workers == ["w"]
    assert engine.verbs.workers() == []
    assert (await engine.restart()).awaited == []


async def test_a_latecomer_keeps_a_job_that_nobody_else_has(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a", "b")
    await engine.restart()
    engine.advance(TTL)
    await engine.verbs.expire(engine.now, 10)
    await engine.join("v")
    taken = await engine.take("v", 1)

    assert list(taken) == ["a"]
    assert (await engine.join("w", tokens)).lost == [tokens["a"]]
    assert (await engine.job("b")).worker == "w"


@pytest.mark.parametrize("leaves", [True, False])
async def test_a_latecomer_does_not_go_on_with_what_another_had_meanwhile(
    engine: EngineUnderTest, *, leaves: bool
) -> None:
    before = await start(engine, "job")
    await engine.restart()
    engine.advance(TTL)
    await engine.verbs.expire(engine.now, 10)
    await engine.join("v")
    taken = await engine.take("v")
    await (engine.leave("v") if leaves else engine.verbs.release("v", list(taken.values()), engine.now))

    assert (await engine.join(held=before)).lost == list(before.values())
    await engine.restart()
    assert (await engine.join(held=before)).lost == list(before.values())


async def test_a_latecomer_does_not_go_on_with_a_moved_job_that_another_had_meanwhile(engine: EngineUnderTest) -> None:
    before = await start(engine, "job")
    await engine.restart()
    engine.advance(TTL)
    await engine.verbs.expire(engine.now, 10)
    await engine.verbs.edit([text_key("job")], Move(None, 5), engine.now)
    await engine.join("v")
    taken = await engine.take("v")
    await engine.verbs.release("v", list(taken.values()), engine.now)

    assert (await engine.join(held=before)).lost == list(before.values())


@pytest.mark.parametrize("head", [head_with(ordering_key="k"), head_with(limits=["one"])], ids=["key", "limit"])
async def test_a_latecomer_does_not_go_on_beside_what_took_its_room(engine: EngineUnderTest, head: Head) -> None:
    await engine.verbs.put_limits([LimitRule("one", concurrency=1)], [], engine.now)
    await engine.put("a", head=head)
    await engine.put("b", head=replace(head, task="tasks.slow"))
    await engine.join()
    tokens = await engine.take()
    assert list(tokens) == ["a"]
    await engine.restart()
    engine.advance(TTL)
    await engine.verbs.expire(engine.now, 10)
    await engine.join("v")
    (taken,) = await engine.lease(Want("v", ("default",), frozenset({"tasks.slow"}), 1, 1))
    assert taken.ids == [text_key("b")]

    assert (await engine.join("w", tokens)).lost == [tokens["a"]]

    assert (await engine.job("a")).state is State.QUEUED
    assert await engine.take() == {}
    await engine.succeed("v", taken.tokens)
    assert list(await engine.take()) == ["a"]
    await engine.restart()
    assert (await engine.join("w", tokens)).lost == [tokens["a"]]


@pytest.mark.parametrize("head", [head_with(ordering_key="k"), head_with(limits=["one"])], ids=["key", "limit"])
async def test_a_latecomer_goes_on_as_long_as_nobody_took_its_room(engine: EngineUnderTest, head: Head) -> None:
    await engine.verbs.put_limits([LimitRule("one", concurrency=1)], [], engine.now)
    await engine.put("a", "b", head=head)
    await engine.join()
    tokens = await engine.take()
    await engine.restart()
    engine.advance(TTL)
    await engine.verbs.expire(engine.now, 10)

    assert (await engine.join("w", tokens)).lost == []
    assert await engine.take() == {}


async def test_a_dead_token_stays_dead_over_a_restart(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "lost", "retried", "scheduled")
    await engine.end("w", tokens["lost"], Verdict.LOST)
    await engine.end("w", tokens["retried"], Verdict.RETRY)
    await engine.end("w", tokens["scheduled"], Verdict.RETRY, retry_in=5)
    await engine.restart()

    assert (await engine.join(held=tokens)).lost == list(tokens.values())
    assert (await engine.succeed("w", [tokens["lost"]], ids=["lost"])).refused == {tokens["lost"]: Refusal.STALE}


async def test_a_lease_whose_outcome_is_stored_is_neither_lost_nor_held(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")
    await engine.succeed("w", tokens.values())
    await engine.restart()

    assert await engine.join(held=tokens) == Joined([], NOTHING)
    assert (await engine.succeed("w", tokens.values(), ids=["a"])).refused == {tokens["a"]: Refusal.ALREADY}


async def test_a_new_process_after_the_restart_counts_as_the_old_worker_back(engine: EngineUnderTest) -> None:
    await start(engine, "a")
    await engine.restart()
    await engine.join(process=2)

    assert engine.verbs.recovery_left(engine.now) == 0.0
    assert list(await engine.take()) == ["a"]
    assert (await engine.job("a")).lost == 0


async def test_two_workers_cannot_resume_one_lease(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")
    await engine.restart()
    await engine.join("w", tokens)

    assert (await engine.join("v", tokens)).lost == [tokens["a"]]
    assert (await engine.job("a")).worker == "w"


async def test_a_job_that_nobody_ever_ran_cannot_be_resumed_before_it_is_due(engine: EngineUnderTest) -> None:
    await engine.put("a", due_ms=engine.later(60))
    await engine.restart()

    assert (await engine.join(held={"a": 5})).lost == [5]
    assert (await engine.job("a")).state is State.SCHEDULED


async def test_a_resumed_lease_can_be_lost_like_any_other(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")
    await engine.restart()
    await engine.join(held=tokens)
    engine.part()
    await engine.join(process=2)

    assert (await engine.job("a")).lost == 1
    assert (await engine.take())["a"] > tokens["a"]


async def test_the_wait_is_longer_by_the_time_the_broker_stalled(engine: EngineUnderTest) -> None:
    await start(engine, "a")
    await engine.restart()
    engine.verbs.beat(engine.now)
    engine.advance(TTL + 1)

    assert engine.verbs.beat(engine.now) == TTL
    assert engine.verbs.recovery_left(engine.now) == TTL - 1


async def test_a_cancel_of_a_job_that_may_be_running_is_pending(engine: EngineUnderTest) -> None:
    await start(engine, "a")
    await engine.restart()

    assert await engine.cancel("a", "a") == CancelAnswer([Cancelled.PENDING] * 2, {})

    job = await engine.job("a")
    assert (job.state, job.cancel_requested, job.recovering) == (State.QUEUED, True, True)


async def test_a_cancel_takes_effect_at_once_when_the_wait_is_over(engine: EngineUnderTest) -> None:
    await start(engine, "a")
    await engine.restart()
    engine.advance(TTL)
    await engine.verbs.expire(engine.now, 10)

    assert (await engine.cancel("a")).effects == [Cancelled.CANCELLED]


async def test_a_pending_cancel_reaches_the_worker_when_it_is_back(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")
    await engine.restart()
    await engine.cancel("a")

    assert await engine.join(held=tokens) == Joined([], NOTHING)
    assert engine.marks() == {tokens["a"]: Mark.ASKED}
    await engine.end("w", tokens["a"], Verdict.CANCELLED)
    assert (await engine.job("a")).state is State.CANCELLED


async def test_a_pending_cancel_takes_effect_when_the_worker_does_not_have_the_job(engine: EngineUnderTest) -> None:
    await start(engine, "a")
    await engine.restart()
    await engine.cancel("a")
    assert (await engine.verbs.expire(engine.now, 10)).final == []
    await engine.join()

    assert await engine.take() == {}
    assert (await engine.verbs.expire(engine.now, 10)).final == [text_key("a")]
    assert (await engine.job("a")).state is State.CANCELLED


async def test_a_pending_cancel_survives_another_restart(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")
    await engine.restart()
    await engine.cancel("a")
    await engine.restart()

    await engine.join(held=tokens)
    assert engine.marks() == {tokens["a"]: Mark.ASKED}


async def test_an_expiry_waits_while_the_job_may_be_running(engine: EngineUnderTest) -> None:
    await engine.put("a", expires_ms=engine.later(5))
    tokens = await start(engine)
    await engine.restart()
    engine.advance(10)
    assert (await engine.verbs.expire(engine.now, 10)).final == []

    await engine.join(held=tokens)

    assert (await engine.succeed("w", tokens.values())).final == [text_key("a")]


async def test_what_has_expired_ends_before_jobs_that_were_kept_for_a_missing_worker(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("kept")
    await submit(engine, workflow.add("late", after=workflow.join("kept"), expires_ms=engine.later(5)))
    assert list(await start(engine)) == ["kept"]
    await engine.restart()
    assert (await engine.cancel("kept")).effects == [Cancelled.PENDING]
    engine.advance(TTL)

    slices = [await engine.verbs.expire(engine.now, 10) for _ in range(2)]

    assert [(each.final, each.more) for each in slices] == [([text_key("late")], True), ([text_key("kept")], False)]
    assert await states(engine, "kept", "late") == [State.CANCELLED, State.EXPIRED]
