"""What every engine must do with unique keys: one holder at a time, freed in the commit that ends the hold."""

from __future__ import annotations

import asyncio

import pytest
from tests.contracts.harness import DEAD_TTL, FAILURE, TTL, EngineUnderTest, new_jobs

from tqbroker_broker.answers import CancelAnswer, Cancelled, Enqueued, Stored
from tqbroker_broker.attempts import Verdict
from tqbroker_broker.questions import Redrive
from tqbroker_broker.records import Head, State, text_key
from tqbroker_broker.rules import Traits, Unique, UniqueConflict, UniqueUntil

REJECT, KEEP, REPLACE = UniqueConflict.REJECT, UniqueConflict.KEEP, UniqueConflict.REPLACE
STORED = Enqueued(1, {})


def head(
    until: UniqueUntil = UniqueUntil.FINISHED,
    conflict: UniqueConflict = REJECT,
    for_ms: int = 0,
    queue: str = "default",
) -> Head:
    return Head("tasks.add", queue, 0, "json", traits=Traits(unique=Unique(until, conflict, for_ms)))


def refused(stored: Stored, holder: str) -> Enqueued:
    """The answer for one job in whose way another is."""
    return Enqueued(0, {0: stored}, {0: text_key(holder)})


def replaced(*names: str) -> Enqueued:
    """The answer for one job in whose favour these were cancelled."""
    return Enqueued(1, {}, {}, tuple(text_key(name) for name in names))


async def put(engine: EngineUnderTest, name: str, head: Head, key: str = "k", due_ms: int = 0) -> Enqueued:
    return await engine.put(name, head=head, keys=[key], due_ms=due_ms)


async def test_only_one_job_may_hold_a_key(engine: EngineUnderTest) -> None:
    assert await put(engine, "a", head()) == STORED
    assert await put(engine, "b", head()) == refused(Stored.NOT_UNIQUE, "a")
    assert await put(engine, "c", head(), key="other") == STORED

    assert (await engine.job("b")).state is State.UNKNOWN
    assert (await engine.verbs.stats()).queues["default"].queued == 2


async def test_the_holder_may_stand_for_the_new_job(engine: EngineUnderTest) -> None:
    await put(engine, "a", head())

    assert await put(engine, "b", head(conflict=KEEP)) == refused(Stored.KEPT, "a")
    assert (await engine.job("b")).state is State.UNKNOWN


async def test_a_key_has_one_holder_whatever_task_or_queue_it_comes_from(engine: EngineUnderTest) -> None:
    await put(engine, "a", head(queue="mail"))

    assert await put(engine, "b", head()) == refused(Stored.NOT_UNIQUE, "a")


async def test_a_resend_is_a_duplicate_and_no_conflict_of_keys(engine: EngineUnderTest) -> None:
    await put(engine, "a", head())

    assert await put(engine, "a", head()) == Enqueued(0, {0: Stored.DUPLICATE})


async def test_a_job_that_was_refused_may_be_sent_again_under_its_id(engine: EngineUnderTest) -> None:
    await put(engine, "a", head())
    await put(engine, "b", head())
    await engine.cancel("a")

    assert await put(engine, "b", head()) == STORED


async def test_of_two_jobs_in_one_request_the_first_has_the_key(engine: EngineUnderTest) -> None:
    answer = await engine.put("a", "b", "c", head=head(), keys=["k", "k", "l"])

    assert answer == Enqueued(2, {1: Stored.NOT_UNIQUE}, {1: text_key("a")})


async def test_of_requests_at_the_same_time_one_gets_the_key(engine: EngineUnderTest) -> None:
    answers = await asyncio.gather(*(put(engine, f"job {n}", head()) for n in range(20)))

    assert sorted(answer.stored for answer in answers) == [0] * 19 + [1]


async def test_a_waiting_holder_is_replaced(engine: EngineUnderTest) -> None:
    await put(engine, "a", head())
    assert await put(engine, "b", head(conflict=REPLACE)) == replaced("a")
    assert await put(engine, "c", head(conflict=REPLACE), due_ms=engine.later(5)) == replaced("b")
    assert await put(engine, "d", head(conflict=REPLACE)) == replaced("c")

    states = [(await engine.job(name)).state for name in "abcd"]
    assert states == [State.CANCELLED, State.CANCELLED, State.CANCELLED, State.QUEUED]
    await engine.join()
    assert list(await engine.take()) == ["d"]
    assert await put(engine, "e", head()) == refused(Stored.NOT_UNIQUE, "d")


async def test_in_one_request_the_last_replaces_those_before(engine: EngineUnderTest) -> None:
    answer = await engine.put("a", "b", "c", head=head(conflict=REPLACE), keys=["k"] * 3)

    assert answer == Enqueued(3, {}, {}, (text_key("a"), text_key("b")))
    assert (await engine.job("c")).state is State.QUEUED


async def test_a_running_holder_is_not_replaced(engine: EngineUnderTest) -> None:
    await put(engine, "a", head())
    await engine.join()
    await engine.take()

    assert await put(engine, "b", head(conflict=REPLACE)) == refused(Stored.NOT_UNIQUE, "a")
    assert (await engine.job("a")).state is State.RUNNING


async def test_a_holder_that_a_worker_may_have_is_not_replaced(engine: EngineUnderTest) -> None:
    await put(engine, "a", head())
    await engine.join()
    await engine.take()
    await engine.restart()

    assert await put(engine, "b", head(conflict=REPLACE)) == refused(Stored.NOT_UNIQUE, "a")


@pytest.mark.parametrize("verdict", [None, Verdict.FAILED, Verdict.REJECTED, Verdict.CANCELLED])
async def test_a_key_is_free_when_its_job_has_ended(engine: EngineUnderTest, verdict: Verdict | None) -> None:
    await put(engine, "a", head())
    await engine.join()
    tokens = await engine.take()
    if verdict is None:
        await engine.succeed("w", tokens.values())
    else:
        await engine.end("w", tokens["a"], verdict, failure=FAILURE)

    assert await put(engine, "b", head()) == STORED


async def test_a_key_is_free_when_its_job_was_cancelled_or_expired(engine: EngineUnderTest) -> None:
    await put(engine, "a", head())
    await engine.cancel("a")
    assert (await engine.put("b", head=head(), keys=["k"], expires_ms=engine.later(1))).stored == 1
    engine.advance(1)
    await engine.expire_all(10)

    assert await put(engine, "c", head()) == STORED


@pytest.mark.parametrize("verdict", [Verdict.RETRY, Verdict.LOST, Verdict.REQUEUED])
async def test_a_key_is_held_over_retries_lost_leases_and_returns(engine: EngineUnderTest, verdict: Verdict) -> None:
    await put(engine, "a", head())
    await engine.join()
    tokens = await engine.take()
    await engine.end("w", tokens["a"], verdict, retry_in=3)

    assert await put(engine, "b", head()) == refused(Stored.NOT_UNIQUE, "a")


async def test_a_key_until_queued_is_held_by_a_scheduled_job_only(engine: EngineUnderTest) -> None:
    until = UniqueUntil.QUEUED
    assert await put(engine, "a", head(until), due_ms=engine.later(5)) == STORED
    assert await put(engine, "b", head(until)) == refused(Stored.NOT_UNIQUE, "a")

    engine.advance(5)
    await engine.verbs.due(engine.now, 10)

    assert await put(engine, "b", head(until)) == STORED
    assert await put(engine, "c", head(until)) == STORED


async def test_a_key_until_started_is_free_as_soon_as_a_worker_has_the_job(engine: EngineUnderTest) -> None:
    until = UniqueUntil.STARTED
    await put(engine, "a", head(until))
    assert await put(engine, "b", head(until)) == refused(Stored.NOT_UNIQUE, "a")
    await engine.join()
    tokens = await engine.take()

    assert await put(engine, "b", head(until)) == STORED

    await engine.succeed("w", tokens.values())
    assert await put(engine, "c", head(until)) == refused(Stored.NOT_UNIQUE, "b")


async def test_a_key_until_started_is_held_again_by_a_job_that_comes_back_unless_another_has_it(
    engine: EngineUnderTest,
) -> None:
    until = UniqueUntil.STARTED
    await put(engine, "a", head(until))
    await engine.join()
    tokens = await engine.take()
    await engine.end("w", tokens["a"], Verdict.LOST)
    assert await put(engine, "b", head(until)) == refused(Stored.NOT_UNIQUE, "a")

    tokens = await engine.take()
    await put(engine, "b", head(until))
    await engine.end("w", tokens["a"], Verdict.LOST)

    assert await put(engine, "c", head(until)) == refused(Stored.NOT_UNIQUE, "b")


async def test_a_key_for_a_time_is_held_whatever_becomes_of_the_job(engine: EngineUnderTest) -> None:
    lasting = head(UniqueUntil.TIME, for_ms=int(2 * DEAD_TTL * 1000))
    await put(engine, "a", lasting)
    await engine.cancel("a")
    assert await put(engine, "b", lasting) == refused(Stored.NOT_UNIQUE, "a")
    assert await put(engine, "b", head(conflict=REPLACE)) == refused(Stored.NOT_UNIQUE, "a")
    await engine.forget("a")

    engine.advance(2 * DEAD_TTL - 1)
    await engine.expire_all(10)
    assert await put(engine, "b", lasting) == refused(Stored.NOT_UNIQUE, "a")

    engine.advance(1)
    assert await put(engine, "b", lasting) == STORED
    await engine.expire_all(10)
    assert await put(engine, "c", lasting) == refused(Stored.NOT_UNIQUE, "b")


@pytest.mark.parametrize("until", [UniqueUntil.QUEUED, UniqueUntil.STARTED, UniqueUntil.FINISHED])
async def test_a_time_also_bounds_the_other_holds(engine: EngineUnderTest, until: UniqueUntil) -> None:
    await put(engine, "a", head(until, for_ms=2000), due_ms=engine.later(50))
    engine.advance(1.999)
    assert await put(engine, "b", head(until)) == refused(Stored.NOT_UNIQUE, "a")

    engine.advance(0.001)

    assert await put(engine, "b", head(until), due_ms=engine.later(50)) == STORED
    await engine.cancel("a")
    assert await put(engine, "c", head(until)) == refused(Stored.NOT_UNIQUE, "b")


async def test_keys_survive_a_restart(engine: EngineUnderTest) -> None:
    await put(engine, "a", head())
    await put(engine, "done", head(), key="free")
    await put(engine, "timed", head(UniqueUntil.TIME, for_ms=60_000), key="timed")
    await engine.cancel("done", "timed")

    await engine.restart()

    assert await put(engine, "b", head()) == refused(Stored.NOT_UNIQUE, "a")
    assert await put(engine, "c", head(), key="free") == STORED
    assert await put(engine, "d", head(), key="timed") == refused(Stored.NOT_UNIQUE, "timed")


async def test_a_key_is_free_when_its_job_was_lost_for_good(engine: EngineUnderTest) -> None:
    await put(engine, "a", head())
    for process in (1, 2, 3):
        await engine.join(process=process)
        await engine.take()
        engine.part(process=process)
    engine.advance(TTL)
    await engine.expire_all(10)
    assert (await engine.job("a")).state is State.FAILED

    assert await put(engine, "b", head()) == STORED


async def test_plain_jobs_and_keys_do_not_meet(engine: EngineUnderTest) -> None:
    await put(engine, "a", head())

    assert await engine.put("b", "c") == Enqueued(2, {})
    assert await engine.cancel("b") == CancelAnswer([Cancelled.CANCELLED], {})
    assert await put(engine, "d", head()) == refused(Stored.NOT_UNIQUE, "a")
    assert (await engine.job("a")).args == b"a"


async def test_a_redriven_job_takes_its_key_from_nobody(engine: EngineUnderTest) -> None:
    await put(engine, "a", head())
    await engine.join()
    await engine.end("w", (await engine.take())["a"], Verdict.FAILED)
    await put(engine, "b", head())

    await engine.verbs.edit([text_key("a")], Redrive(), engine.now)
    await engine.cancel("a")

    assert await put(engine, "c", head()) == refused(Stored.NOT_UNIQUE, "b")


async def test_a_job_may_be_replaced_in_the_commit_that_stored_it_the_only_one_of_its_ordering_key(
    engine: EngineUnderTest,
) -> None:
    unique = Unique(UniqueUntil.FINISHED, REPLACE)
    batches = [
        new_jobs([name], Head("tasks.add", "default", 0, "json", traits=traits))._replace(unique=[b"k" * 16])
        for name, traits in (
            ("a", Traits(ordering_key="own", tenant="t", unique=unique)),
            ("b", Traits(unique=unique)),
        )
    ]

    answers = await engine.verbs.enqueue(batches, engine.now)

    assert answers == [STORED, replaced("a")]
    await engine.join()
    assert list(await engine.take()) == ["b"]
    await engine.put("c", head=Head("tasks.add", "default", 0, "json", traits=Traits(ordering_key="own", tenant="t")))
    assert list(await engine.take()) == ["c"]
