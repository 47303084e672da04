"""What every engine must do when a queue has a length or a time of its own."""

from __future__ import annotations

import asyncio

import pytest
from tests.contracts.harness import HEAD, EngineUnderTest, head_with, new_jobs

from tqbroker_broker.answers import Enqueued, Stored
from tqbroker_broker.lifecycle import overflow_failure
from tqbroker_broker.records import Head, State, text_key
from tqbroker_broker.rules import Overflow, QueueRule, Traits, Unique, UniqueConflict, UniqueUntil

REFUSING = QueueRule(max_length=2)
DROPPING = QueueRule(max_length=2, overflow=Overflow.DROP_OLDEST)
FULL = Enqueued(0, {0: Stored.QUEUE_FULL})
URGENT = Head("tasks.add", "default", 9, "json")


async def rule(engine: EngineUnderTest, rule: QueueRule, queue: str = "default") -> None:
    await engine.verbs.put_queue(queue, rule, engine.now)


async def states(engine: EngineUnderTest, names: str) -> list[State]:
    return [(await engine.job(name)).state for name in names]


def dropped(*names: str, stored: int = 1) -> Enqueued:
    """The answer for jobs that were stored while these had to go."""
    return Enqueued(stored, {}, {}, tuple(text_key(name) for name in names))


# -- refuse ------------------------------------------------------------------------------------------------------------


async def test_a_full_queue_refuses_what_is_too_much_job_by_job(engine: EngineUnderTest) -> None:
    await rule(engine, REFUSING)

    assert await engine.put("a", "b", "c", "d") == Enqueued(2, {2: Stored.QUEUE_FULL, 3: Stored.QUEUE_FULL})
    assert await engine.put("e", head=Head("tasks.add", "mail", 0, "json")) == Enqueued(1, {})
    assert (await engine.job("c")).state is State.UNKNOWN


async def test_requests_at_the_same_time_do_not_overfill_a_queue(engine: EngineUnderTest) -> None:
    await rule(engine, REFUSING)

    answers = await asyncio.gather(*(engine.put(f"job {n}") for n in range(10)))

    assert sum(answer.stored for answer in answers) == 2
    assert (await engine.verbs.stats()).queues["default"].queued == 2


async def test_scheduled_jobs_count_and_running_ones_do_not(engine: EngineUnderTest) -> None:
    await rule(engine, REFUSING)
    await engine.put("a")
    await engine.put("later", due_ms=engine.later(60))
    assert await engine.put("b") == FULL
    await engine.join()
    assert list(await engine.take()) == ["a"]

    assert await engine.put("b") == Enqueued(1, {})
    assert await engine.put("c") == FULL


async def test_a_full_queue_has_room_again_when_a_job_ends(engine: EngineUnderTest) -> None:
    await rule(engine, REFUSING)
    await engine.put("a", "b")
    await engine.cancel("a")

    assert await engine.put("c") == Enqueued(1, {})
    assert await engine.put("d") == FULL


async def test_a_resend_to_a_full_queue_is_a_duplicate(engine: EngineUnderTest) -> None:
    await rule(engine, REFUSING)
    await engine.put("a", "b")

    assert await engine.put("a") == Enqueued(0, {0: Stored.DUPLICATE})


async def test_what_was_refused_may_be_sent_again(engine: EngineUnderTest) -> None:
    await rule(engine, REFUSING)
    await engine.put("a", "b", "c")
    await engine.cancel("a", "b")

    assert await engine.put("c") == Enqueued(1, {})


async def test_a_lease_that_comes_back_finds_its_place_also_in_a_full_queue(engine: EngineUnderTest) -> None:
    await rule(engine, REFUSING)
    await engine.put("a", "b")
    await engine.join()
    tokens = await engine.take(slots=1)
    await engine.put("c")

    await engine.verbs.release("w", list(tokens.values()), engine.now)

    assert await engine.put("d") == FULL
    assert list(await engine.take()) == ["a", "b", "c"]


# -- drop the oldest ---------------------------------------------------------------------------------------------------


async def test_the_oldest_job_makes_room_and_becomes_a_dead_letter(engine: EngineUnderTest) -> None:
    await rule(engine, DROPPING)
    await engine.put("a", "b")

    assert await engine.put("c") == dropped("a")

    job = await engine.job("a")
    assert (job.state, job.failure, job.token) == (State.FAILED, overflow_failure("default", 2), 0)
    assert job.finished_ms == engine.now.wall_ms
    await engine.join()
    assert list(await engine.take()) == ["b", "c"]
    assert (await engine.verbs.stats()).queues["default"].failed == 1


async def test_in_one_request_the_newest_are_left(engine: EngineUnderTest) -> None:
    await rule(engine, DROPPING)
    await engine.put("z")

    assert await engine.put("a", "b", "c", "d") == dropped("z", "a", "b", stored=4)

    await engine.join()
    assert list(await engine.take()) == ["c", "d"]


async def test_the_oldest_goes_whatever_its_priority_or_task(engine: EngineUnderTest) -> None:
    await rule(engine, DROPPING)
    await engine.put("urgent", head=URGENT)
    await engine.put("slow", head=Head("tasks.slow", "default", 0, "json"))

    assert await engine.put("a") == dropped("urgent")
    assert await engine.put("b", head=URGENT) == dropped("slow")


async def test_a_running_job_never_makes_room(engine: EngineUnderTest) -> None:
    await rule(engine, DROPPING)
    await engine.put("a", "b")
    await engine.join()
    tokens = await engine.take(slots=1)
    assert await engine.put("c") == Enqueued(1, {})

    assert await engine.put("d") == dropped("b")

    assert (await engine.succeed("w", tokens.values())).refused == {}


async def test_a_job_that_a_worker_may_have_never_makes_room(engine: EngineUnderTest) -> None:
    await rule(engine, DROPPING)
    await engine.put("a", "b")
    await engine.join()
    await engine.take()
    await engine.restart()

    assert await engine.put("c") == FULL
    assert await states(engine, "ab") == [State.QUEUED] * 2


async def test_a_job_that_has_expired_makes_room_like_any_other(engine: EngineUnderTest) -> None:
    await rule(engine, DROPPING)
    await engine.put("old", expires_ms=engine.later(1))
    await engine.put("a")
    engine.advance(1)
    await engine.join()
    assert list(await engine.take(slots=1)) == ["a"]
    await engine.put("b")

    assert await engine.put("c") == dropped("old")


async def test_scheduled_jobs_do_not_make_room(engine: EngineUnderTest) -> None:
    await rule(engine, DROPPING)
    await engine.put("a", "b", due_ms=engine.later(60))

    assert await engine.put("c") == FULL


async def test_a_scheduled_job_too_wants_room(engine: EngineUnderTest) -> None:
    await rule(engine, DROPPING)
    await engine.put("a", "b")

    assert await engine.put("later", due_ms=engine.later(60)) == dropped("a")


async def test_a_job_that_replaces_another_in_its_queue_needs_no_room(engine: EngineUnderTest) -> None:
    await rule(engine, REFUSING)
    unique = Unique(UniqueUntil.FINISHED, UniqueConflict.REPLACE)
    head = Head("tasks.add", "default", 0, "json", traits=Traits(unique=unique))
    await engine.put("a", "b", head=head, keys=["k", "l"])

    assert await engine.put("c", head=head, keys=["k"]) == dropped("a")
    assert await engine.put("d", head=head, keys=["m"]) == FULL


async def test_a_holder_elsewhere_is_not_replaced_by_a_job_that_finds_no_room(engine: EngineUnderTest) -> None:
    await rule(engine, REFUSING)
    traits = Traits(unique=Unique(UniqueUntil.FINISHED, UniqueConflict.REPLACE))
    await engine.put("holder", head=Head("tasks.add", "mail", 0, "json", traits=traits), keys=["k"])
    await engine.put("a", "b")

    assert await engine.put("c", head=Head("tasks.add", "default", 0, "json", traits=traits), keys=["k"]) == FULL
    assert (await engine.job("holder")).state is State.QUEUED


# -- expiry ------------------------------------------------------------------------------------------------------------


async def test_a_job_without_an_expiry_gets_that_of_its_queue(engine: EngineUnderTest) -> None:
    await rule(engine, QueueRule(ttl_ms=5000))
    await engine.put("a")
    await engine.put("own", expires_ms=engine.later(60))
    await engine.put("later", due_ms=engine.later(60))
    assert (await engine.job("a")).expires_ms == engine.later(5)
    assert (await engine.job("later")).expires_ms == engine.later(65)

    engine.advance(5)

    assert (await engine.expire_all(10)).final == [text_key("a")]
    assert (await engine.job("own")).expires_ms == engine.later(55)


@pytest.mark.parametrize("change", [QueueRule(), None], ids=str)
async def test_a_rule_is_for_jobs_that_come_while_it_holds(engine: EngineUnderTest, change: QueueRule | None) -> None:
    await engine.put("before")
    await rule(engine, QueueRule(ttl_ms=5000))
    await engine.put("a", head=HEAD)
    await engine.cancel("before", "a")
    await engine.verbs.put_queue("default", change, engine.now)
    await engine.put("b")

    assert [(await engine.job(name)).expires_ms > 0 for name in ("before", "a", "b")] == [False, True, False]


async def test_jobs_of_lanes_that_come_and_go_in_one_request_drop_each_other(engine: EngineUnderTest) -> None:
    await rule(engine, QueueRule(max_length=1, overflow=Overflow.DROP_OLDEST))
    heads = [head_with(ordering_key=key, tenant=key) for key in "abc"]
    batches = [new_jobs([key], head) for key, head in zip("abc", heads, strict=True)]

    answers = await engine.verbs.enqueue(batches, engine.now)

    assert [answer.final for answer in answers] == [(), (text_key("a"),), (text_key("b"),)]
    await engine.join()
    assert list(await engine.take()) == ["c"]
