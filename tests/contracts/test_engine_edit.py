"""What every engine must do for an operator: redrive, reschedule, move, drop, each if the state allows it."""

from __future__ import annotations

import pytest
from tests.contracts.harness import CONFIG, FAILURE, RESULT_TTL, TTL, EngineUnderTest, new_jobs

from tqbroker_broker.answers import Enqueued, QueueCounts, Stored
from tqbroker_broker.attempts import Refusal, Verdict, Want
from tqbroker_broker.questions import Change, Drop, EditAnswer, Effect, Move, Redrive, Reschedule
from tqbroker_broker.records import Head, State, text_key
from tqbroker_broker.rules import Overflow, QueueRule, Traits, Unique, UniqueConflict, UniqueUntil

HEAD = Head("tasks.add", "default", 0, "json")
DONE, WRONG, RUNNING, UNKNOWN = Effect.DONE, Effect.WRONG_STATE, Effect.RUNNING, Effect.UNKNOWN
EVERYTHING = frozenset({"tasks.add", "tasks.slow", "tasks.mail"})
CHANGES: tuple[Change, ...] = (Redrive(), Reschedule(1), Move(priority=5), Drop())


async def edit(engine: EngineUnderTest, change: Change, *names: str) -> EditAnswer:
    return await engine.verbs.edit([text_key(name) for name in names], change, engine.now)


async def counts(engine: EngineUnderTest, queue: str = "default") -> QueueCounts:
    return (await engine.verbs.stats()).queues.get(queue, QueueCounts())


async def fail(engine: EngineUnderTest, *names: str) -> dict[str, int]:
    """Dead letters, with the tokens of their last attempts."""
    await engine.put(*names)
    await engine.join()
    tokens = await engine.take()
    for name in names:
        await engine.end("w", tokens[name], Verdict.FAILED, failure=FAILURE)
    return tokens


# -- redrive -----------------------------------------------------------------------------------------------------------


async def test_a_redriven_job_waits_again_under_its_own_id(engine: EngineUnderTest) -> None:
    await fail(engine, "a", "b")

    assert await edit(engine, Redrive(), "b", "a") == EditAnswer([DONE, DONE], frozenset({"default"}))
    job = await engine.job("b")
    assert (job.state, job.failure, job.finished_ms, job.retries, job.lost) == (State.QUEUED, None, 0, 0, 0)
    assert await counts(engine) == QueueCounts(queued=2)
    assert list(await engine.take()) == ["b", "a"]


async def test_a_redriven_job_goes_behind_what_waits(engine: EngineUnderTest) -> None:
    await fail(engine, "a")
    await engine.put("b")
    await edit(engine, Redrive(), "a")

    assert list(await engine.take()) == ["b", "a"]


async def test_a_redriven_job_starts_with_its_counters_at_zero(engine: EngineUnderTest) -> None:
    await engine.put("a")
    await engine.join()
    await engine.end("w", (await engine.take())["a"], Verdict.RETRY)
    for _ in range(CONFIG.max_lost_leases):
        await engine.end("w", (await engine.take())["a"], Verdict.LOST)
    assert (await engine.job("a")).state is State.FAILED

    await edit(engine, Redrive(), "a")

    (leased,) = await engine.lease(Want("w", ("default",), EVERYTHING, 1, 1))
    assert (leased.retries, leased.lost) == ([0], [0])
    assert await engine.end("w", leased.tokens[0], Verdict.LOST)
    assert (await engine.job("a")).state is State.QUEUED


async def test_a_redriven_job_gets_the_arguments_given_or_keeps_its_own(engine: EngineUnderTest) -> None:
    await fail(engine, "a", "b")
    await edit(engine, Redrive(args=b"new"), "a")
    await edit(engine, Redrive(), "b")

    (leased,) = await engine.lease(Want("w", ("default",), EVERYTHING, 2, 2))
    assert leased.args == [b"new", b"b"]
    assert (await engine.job("a")).args == b"new"


async def test_a_redriven_job_is_still_the_one_that_was_submitted(engine: EngineUnderTest) -> None:
    await fail(engine, "a")
    await edit(engine, Redrive(args=b"new"), "a")

    assert await engine.put("a") == Enqueued(0, {0: Stored.DUPLICATE})


async def test_redriven_jobs_are_spaced_over_all_calls_of_one_order(engine: EngineUnderTest) -> None:
    await fail(engine, "a", "b", "c", "d")
    await engine.put("queued")

    first = await edit(engine, Redrive(spacing_ms=1000), "a", "queued", "b")
    second = await edit(engine, Redrive(spacing_ms=1000, already=2), "c", "d")

    assert first == EditAnswer([DONE, WRONG, DONE], frozenset({"default"}), engine.later(1))
    assert second == EditAnswer([DONE, DONE], frozenset(), engine.later(2))
    states = [(await engine.job(name)).state for name in "abcd"]
    assert states == [State.QUEUED, State.SCHEDULED, State.SCHEDULED, State.SCHEDULED]
    assert [(await engine.job(name)).due_ms for name in "bcd"] == [engine.later(second) for second in (1, 2, 3)]
    assert await counts(engine) == QueueCounts(queued=2, scheduled=3)
    engine.advance(3)
    await engine.verbs.due(engine.now, 10)
    assert list(await engine.take()) == ["queued", "a", "b", "c", "d"]


async def test_an_outcome_from_before_a_redrive_is_stale(engine: EngineUnderTest) -> None:
    tokens = await fail(engine, "a")
    await edit(engine, Redrive(), "a")

    answer = await engine.end("w", tokens["a"], Verdict.FAILED, name="a")
    assert answer.refused == {tokens["a"]: Refusal.STALE}
    assert (await engine.job("a")).state is State.QUEUED


async def test_a_lease_from_before_a_redrive_is_not_taken_up_after_a_restart(engine: EngineUnderTest) -> None:
    await engine.put("a")
    await engine.join()
    token = 0
    for _ in range(CONFIG.max_lost_leases):
        token = (await engine.take())["a"]
        await engine.end("w", token, Verdict.LOST)
    await edit(engine, Redrive(), "a")
    await engine.restart()

    assert (await engine.join(held={"a": token})).lost == [token]


async def test_a_lease_that_a_restart_ended_is_not_taken_up_after_a_redrive(engine: EngineUnderTest) -> None:
    await engine.put("a")
    await engine.join()
    tokens = await engine.take()
    await engine.restart()
    engine.advance(TTL)
    await engine.expire_all(10)
    await engine.verbs.put_queue("default", QueueRule(max_length=1, overflow=Overflow.DROP_OLDEST), engine.now)
    assert (await engine.put("b")).final == (text_key("a"),)
    await edit(engine, Redrive(), "a")
    await engine.restart()

    assert (await engine.join(held=tokens)).lost == list(tokens.values())


async def test_a_redriven_job_does_not_expire_any_more(engine: EngineUnderTest) -> None:
    await engine.put("a", expires_ms=engine.later(10))
    await engine.join()
    await engine.end("w", (await engine.take())["a"], Verdict.FAILED)
    await engine.verbs.expire(engine.now, 10)
    await edit(engine, Redrive(), "a")

    assert (await engine.job("a")).expires_ms == 0
    engine.advance(10)
    assert (await engine.expire_all(10)).final == []
    assert list(await engine.take()) == ["a"]


async def test_a_redriven_job_that_ends_again_is_kept_for_its_time_from_then(engine: EngineUnderTest) -> None:
    await fail(engine, "a")
    engine.advance(CONFIG.dead_ttl - 60)
    await engine.leave()
    await engine.expire_all(10)
    await edit(engine, Redrive(), "a")
    await engine.join()
    await engine.succeed("w", (await engine.take()).values())
    await engine.leave()

    engine.advance(RESULT_TTL - 1)
    await engine.expire_all(10)
    assert (await engine.job("a")).state is State.SUCCEEDED

    engine.advance(1)
    await engine.expire_all(10)
    assert (await engine.job("a")).state is State.UNKNOWN


async def test_a_redriven_job_that_waits_outlives_the_time_of_its_dead_letter(engine: EngineUnderTest) -> None:
    await fail(engine, "a")
    await engine.leave()
    await edit(engine, Redrive(), "a")

    engine.advance(CONFIG.dead_ttl)
    await engine.expire_all(10)

    await engine.join()
    assert list(await engine.take()) == ["a"]


async def test_a_redrive_survives_a_restart(engine: EngineUnderTest) -> None:
    await fail(engine, "a", "b")
    await engine.leave()
    await edit(engine, Redrive(args=b"new", spacing_ms=1000), "a", "b")
    await engine.restart()

    assert [(await engine.job(name)).state for name in "ab"] == [State.QUEUED, State.SCHEDULED]
    assert (await engine.job("b")).args == b"new"
    assert await counts(engine) == QueueCounts(queued=1, scheduled=1)


# -- reschedule --------------------------------------------------------------------------------------------------------


async def test_a_scheduled_job_becomes_due_at_another_moment(engine: EngineUnderTest) -> None:
    await engine.put("a", "b", due_ms=engine.later(60))

    answer = await edit(engine, Reschedule(engine.later(5)), "a")

    assert answer == EditAnswer([DONE], frozenset(), engine.later(5))
    assert ((await engine.job("a")).state, (await engine.job("a")).due_ms) == (State.SCHEDULED, engine.later(5))
    engine.advance(5)
    await engine.verbs.due(engine.now, 10)
    await engine.join()
    assert list(await engine.take()) == ["a"]
    engine.advance(55)
    await engine.verbs.due(engine.now, 10)
    assert list(await engine.take()) == ["b"]


async def test_a_job_rescheduled_to_the_past_runs_now(engine: EngineUnderTest) -> None:
    await engine.put("a", due_ms=engine.later(60))

    assert await edit(engine, Reschedule(0), "a") == EditAnswer([DONE], frozenset({"default"}))
    assert (await engine.job("a")).state is State.QUEUED
    assert await counts(engine) == QueueCounts(queued=1)
    await engine.join()
    assert list(await engine.take()) == ["a"]


async def test_a_planned_retry_can_be_rescheduled(engine: EngineUnderTest) -> None:
    await engine.put("a")
    await engine.join()
    await engine.end("w", (await engine.take())["a"], Verdict.RETRY, retry_in=600)

    assert (await edit(engine, Reschedule(engine.later(5)), "a")).effects == [DONE]
    engine.advance(5)
    await engine.verbs.due(engine.now, 10)
    (leased,) = await engine.lease(Want("w", ("default",), EVERYTHING, 1, 1))
    assert leased.retries == [1]


async def test_a_rescheduled_job_can_be_cancelled(engine: EngineUnderTest) -> None:
    await engine.put("a", due_ms=engine.later(60))
    await edit(engine, Reschedule(engine.later(5)), "a")
    await engine.cancel("a")

    assert await counts(engine) == QueueCounts(cancelled=1)


# -- move --------------------------------------------------------------------------------------------------------------


async def test_a_moved_job_goes_to_the_end_of_another_queue(engine: EngineUnderTest) -> None:
    await engine.put("a", "b")
    await engine.put("mail", head=Head("tasks.add", "mail", 0, "json"))

    assert await edit(engine, Move(queue="mail"), "a") == EditAnswer([DONE], frozenset({"mail"}))
    job = await engine.job("a")
    assert job.head is not None
    assert (job.head.queue, job.args, job.state) == ("mail", b"a", State.QUEUED)
    assert (await counts(engine), await counts(engine, "mail")) == (QueueCounts(queued=1), QueueCounts(queued=2))
    await engine.join()
    assert list(await engine.take(queue="mail")) == ["mail", "a"]
    assert list(await engine.take()) == ["b"]


async def test_a_moved_job_goes_before_others_with_a_higher_priority(engine: EngineUnderTest) -> None:
    await engine.put("a", "b")
    await edit(engine, Move(priority=5), "b")

    await engine.join()
    assert list(await engine.take()) == ["b", "a"]


async def test_a_moved_job_that_is_scheduled_stays_so(engine: EngineUnderTest) -> None:
    await engine.put("a", due_ms=engine.later(5))

    assert await edit(engine, Move("mail", 3), "a") == EditAnswer([DONE], frozenset(), engine.later(5))
    assert (await counts(engine), await counts(engine, "mail")) == (QueueCounts(), QueueCounts(scheduled=1))
    engine.advance(5)
    assert (await engine.verbs.due(engine.now, 10)).woken == {"mail"}
    await engine.join()
    assert list(await engine.take(queue="mail")) == ["a"]


async def test_a_move_survives_a_restart(engine: EngineUnderTest) -> None:
    await engine.put("a", "b")
    await edit(engine, Move(queue="mail"), "a")
    await engine.restart()
    await engine.join()

    assert list(await engine.take(queue="mail")) == ["a"]


# -- drop --------------------------------------------------------------------------------------------------------------


async def test_finished_jobs_and_dead_letters_are_dropped_and_their_ids_remembered(engine: EngineUnderTest) -> None:
    await fail(engine, "failed")
    await engine.put("cancelled", "queued")
    await engine.cancel("cancelled")

    assert await edit(engine, Drop(), "failed", "cancelled") == EditAnswer([DONE, DONE], frozenset())
    assert [(await engine.job(name)).forgotten for name in ("failed", "cancelled")] == [True, True]
    assert await counts(engine) == QueueCounts(queued=1)
    assert await engine.put("failed") == Enqueued(0, {0: Stored.DUPLICATE})


# -- what does not fit -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", CHANGES)
async def test_a_job_that_is_not_there_is_unknown_to_every_change(engine: EngineUnderTest, change: Change) -> None:
    await engine.put("dropped")
    await engine.cancel("dropped")
    await engine.forget("dropped")

    assert await edit(engine, change, "nobody", "dropped") == EditAnswer([UNKNOWN, UNKNOWN], frozenset())


@pytest.mark.parametrize("change", CHANGES)
async def test_a_job_that_a_worker_has_is_left_alone(engine: EngineUnderTest, change: Change) -> None:
    await engine.put("a")
    await engine.join()
    tokens = await engine.take()

    assert await edit(engine, change, "a") == EditAnswer([RUNNING], frozenset())
    assert (await engine.succeed("w", tokens.values())).final == [text_key("a")]


@pytest.mark.parametrize("change", CHANGES)
async def test_a_job_that_a_worker_may_have_is_left_alone(engine: EngineUnderTest, change: Change) -> None:
    await engine.put("a")
    await engine.join()
    tokens = await engine.take()
    await engine.restart()

    assert await edit(engine, change, "a") == EditAnswer([RUNNING], frozenset())
    assert (await engine.join(held=tokens)).lost == []


@pytest.mark.parametrize("change", CHANGES)
async def test_a_job_that_is_to_be_cancelled_is_not_changed(engine: EngineUnderTest, change: Change) -> None:
    await engine.put("a")
    await engine.join()
    await engine.take()
    await engine.restart()
    await engine.cancel("a")
    await engine.join()

    assert await edit(engine, change, "a") == EditAnswer([WRONG], frozenset())
    assert (await engine.expire_all(10)).final == [text_key("a")]


@pytest.mark.parametrize(
    ("change", "fits"),
    [
        (Redrive(), {"failed"}),
        (Reschedule(1), {"scheduled"}),
        (Move(priority=5), {"queued", "scheduled"}),
        (Drop(), {"failed", "succeeded", "cancelled", "expired"}),
    ],
)
async def test_a_change_is_for_its_states_only(engine: EngineUnderTest, change: Change, fits: set[str]) -> None:
    await engine.put("succeeded", "failed")
    await engine.join()
    tokens = await engine.take()
    await engine.succeed("w", [tokens["succeeded"]])
    await engine.end("w", tokens["failed"], Verdict.FAILED)
    await engine.put("expired", expires_ms=engine.later(1))
    engine.advance(1)
    await engine.verbs.expire(engine.now, 10)
    await engine.put("queued", "cancelled")
    await engine.put("scheduled", due_ms=engine.later(60))
    await engine.cancel("cancelled")
    names = ("succeeded", "failed", "expired", "queued", "cancelled", "scheduled")

    effects = (await edit(engine, change, *names)).effects

    assert effects == [DONE if name in fits else WRONG for name in names]


async def test_a_change_repeated_changes_nothing_more(engine: EngineUnderTest) -> None:
    await fail(engine, "a")

    assert (await edit(engine, Redrive(), "a", "a")).effects == [DONE, WRONG]
    assert await counts(engine) == QueueCounts(queued=1)


async def test_once_a_recovery_is_over_what_waits_can_be_moved(engine: EngineUnderTest) -> None:
    await engine.put("a")
    await engine.join()
    await engine.take()
    await engine.restart()
    engine.advance(TTL)
    await engine.expire_all(10)

    assert (await edit(engine, Move(priority=5), "a")).effects == [DONE]
    await engine.join("v")
    assert list(await engine.take("v")) == ["a"]


# -- lanes of their own ------------------------------------------------------------------------------------------------


def keyed(key: str = "k", tenant: str = "", queue: str = "default") -> Head:
    return Head("tasks.add", queue, 0, "json", traits=Traits(ordering_key=key, tenant=tenant, limits=("lim",)))


async def test_a_redriven_job_of_an_ordering_key_waits_behind_the_others_of_its_key(engine: EngineUnderTest) -> None:
    await engine.put("a", "b", head=keyed())
    await engine.join()
    await engine.end("w", (await engine.take())["a"], Verdict.FAILED)
    await edit(engine, Redrive(), "a")

    for name in ("b", "a"):
        tokens = await engine.take()
        assert list(tokens) == [name]
        await engine.succeed("w", tokens.values())


async def test_a_dead_letter_finds_its_lane_again_when_nothing_else_was_in_it(engine: EngineUnderTest) -> None:
    await engine.put("a", head=keyed(tenant="t"))
    await engine.join()
    await engine.end("w", (await engine.take())["a"], Verdict.FAILED)
    await engine.leave()
    await engine.restart()
    await engine.join()
    await edit(engine, Redrive(), "a")

    assert list(await engine.take()) == ["a"]


async def test_a_moved_job_takes_its_ordering_key_along(engine: EngineUnderTest) -> None:
    await engine.put("a", "b", head=keyed())
    await engine.put("mail", head=keyed(queue="mail"))
    await edit(engine, Move(queue="mail"), "a")
    await engine.join()

    assert list(await engine.take()) == ["b"]
    tokens = await engine.take(queue="mail")
    assert list(tokens) == ["mail"]
    await engine.succeed("w", tokens.values())
    assert list(await engine.take(queue="mail")) == ["a"]


async def test_a_scheduled_job_of_an_ordering_key_can_be_moved_and_run_now(engine: EngineUnderTest) -> None:
    await engine.put("a", head=keyed(), due_ms=engine.later(60))
    await edit(engine, Move("mail", 3), "a")
    await edit(engine, Reschedule(0), "a")
    await engine.join()

    assert list(await engine.take()) == []
    assert list(await engine.take(queue="mail")) == ["a"]


async def test_a_redriven_job_leaves_its_unique_key_to_others(engine: EngineUnderTest) -> None:
    unique = Unique(UniqueUntil.FINISHED, UniqueConflict.REJECT)
    head = Head("tasks.add", "default", 0, "json", traits=Traits(unique=unique))

    async def put(name: str) -> Enqueued:
        batch = new_jobs([name], head)._replace(unique=[b"k" * 16])
        return (await engine.verbs.enqueue([batch], engine.now))[0]

    await put("a")
    await engine.join()
    await engine.end("w", (await engine.take())["a"], Verdict.FAILED)
    await put("b")
    assert (await edit(engine, Redrive(), "a")).effects == [DONE]
    tokens = await engine.take()
    assert list(tokens) == ["b", "a"]

    await engine.succeed("w", [tokens["a"]])

    assert (await put("c")).holders == {0: text_key("b")}
