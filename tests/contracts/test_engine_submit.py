"""What every engine must say of workflows on their way in: all of a part is stored, or nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.contracts.harness import CONFIG, ENGINES, EngineUnderTest, head_with, new_jobs
from tests.contracts.workflows import Workflow, states, submit, take

from tqbroker_broker.answers import QueueCounts, Stored
from tqbroker_broker.records import Head, State, text_key
from tqbroker_broker.rules import Overflow, QueueRule, Traits, Unique, UniqueConflict, UniqueUntil
from tqbroker_broker.workflows import NewNodes, PartAnswer, PartEffect, Shape

DUPLICATE = PartAnswer(PartEffect.DUPLICATE)
UNKNOWN_JOIN = PartAnswer(PartEffect.UNKNOWN_JOIN)


def unique(until: UniqueUntil = UniqueUntil.FINISHED) -> Head:
    return Head("tasks.add", "default", 0, "json", traits=Traits(unique=Unique(until, UniqueConflict.REJECT)))


async def test_a_part_that_is_sent_again_is_a_duplicate(engine: EngineUnderTest) -> None:
    workflow = Workflow().chain("a", "b")
    await submit(engine, workflow)

    assert await submit(engine, workflow) == DUPLICATE
    assert (await engine.verbs.stats()).queues == {"default": QueueCounts(queued=1, waiting=1)}


async def test_another_part_under_the_same_number_is_refused(engine: EngineUnderTest) -> None:
    await submit(engine, Workflow().chain("a", "b"))

    assert await submit(engine, Workflow().chain("c", "d")) == PartAnswer(PartEffect.CONFLICT)
    assert await states(engine, "c", "d") == [State.UNKNOWN] * 2


async def test_a_part_is_refused_whole_when_an_id_is_known(engine: EngineUnderTest) -> None:
    await engine.put("b", "d")

    answer = await submit(engine, Workflow().chain("a", "b", "c", "d"))

    assert answer == PartAnswer(PartEffect.REFUSED, {(1, 0): Stored.CONFLICT, (3, 0): Stored.CONFLICT})
    assert await states(engine, "a", "b", "c", "d") == [State.UNKNOWN, State.QUEUED, State.UNKNOWN, State.QUEUED]


async def test_what_was_refused_can_be_sent_again(engine: EngineUnderTest) -> None:
    await engine.verbs.put_queue("default", QueueRule(max_length=1), engine.now)
    await engine.put("plain")
    workflow = Workflow().chain("a", "b")
    assert (await submit(engine, workflow)).effect is PartEffect.REFUSED
    await engine.cancel("plain")

    assert (await submit(engine, workflow)).effect is PartEffect.STORED


async def test_an_id_that_comes_twice_is_refused(engine: EngineUnderTest) -> None:
    answer = await submit(engine, Workflow().add("a", "b").add("a"))

    assert answer == PartAnswer(PartEffect.REFUSED, {(2, 0): Stored.CONFLICT})


async def test_an_id_that_is_only_remembered_is_refused(engine: EngineUnderTest) -> None:
    await engine.put("a")
    await engine.cancel("a")
    await engine.forget("a")

    answer = await submit(engine, Workflow().add("a"))

    assert answer == PartAnswer(PartEffect.REFUSED, {(0, 0): Stored.CONFLICT})


async def test_a_part_is_refused_whole_when_a_unique_key_is_held(engine: EngineUnderTest) -> None:
    await engine.put("holder", head=unique(), keys=["k"])

    answer = await submit(engine, Workflow().add("a").add("b", head=unique(), keys=["k"]))

    assert answer == PartAnswer(PartEffect.REFUSED, {(1, 0): Stored.NOT_UNIQUE}, {(1, 0): text_key("holder")})
    assert (await engine.job("a")).state is State.UNKNOWN


async def test_jobs_of_a_workflow_hold_their_unique_keys_while_they_wait(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a")
    await submit(engine, workflow.add("b", after=workflow.join("a"), head=unique(UniqueUntil.QUEUED), keys=["k"]))

    answer = await engine.put("late", head=unique(), keys=["k"])

    assert answer.holders == {0: text_key("b")}


async def test_two_jobs_of_a_workflow_cannot_have_one_key(engine: EngineUnderTest) -> None:
    answer = await submit(engine, Workflow().add("a", "b", head=unique(), keys=["k", "k"]))

    assert answer == PartAnswer(PartEffect.REFUSED, {(1, 0): Stored.NOT_UNIQUE}, {(1, 0): text_key("a")})


async def test_a_key_that_is_held_until_the_job_is_ready_is_free_when_it_is_at_once(engine: EngineUnderTest) -> None:
    answer = await submit(engine, Workflow().add("a", "b", head=unique(UniqueUntil.QUEUED), keys=["k", "k"]))

    assert answer.effect is PartEffect.STORED


@pytest.mark.parametrize("overflow", list(Overflow))
async def test_first_jobs_must_have_room_in_their_queue(engine: EngineUnderTest, overflow: Overflow) -> None:
    await engine.verbs.put_queue("default", QueueRule(max_length=2, overflow=overflow), engine.now)
    await engine.put("plain")
    workflow = Workflow().add("a", "b").add("c", head=head_with(queue="other"))
    body = workflow.list_of("a", "b", "c")

    answer = await submit(engine, workflow.add("d", "e", after=body))

    assert answer == PartAnswer(PartEffect.REFUSED, {(1, 0): Stored.QUEUE_FULL})
    assert await take(engine) == ["plain"]


async def test_a_job_that_is_refused_stands_in_nobodys_way(engine: EngineUnderTest) -> None:
    await engine.verbs.put_queue("default", QueueRule(max_length=1), engine.now)
    await engine.put("plain")
    workflow = Workflow().add("a", head=unique(), keys=["k"]).add("a", head=unique(), keys=["k"])

    answer = await submit(engine, workflow)

    assert answer == PartAnswer(PartEffect.REFUSED, {(0, 0): Stored.QUEUE_FULL, (1, 0): Stored.QUEUE_FULL})


async def test_waiting_jobs_need_no_room(engine: EngineUnderTest) -> None:
    await engine.verbs.put_queue("default", QueueRule(max_length=1), engine.now)

    assert (await submit(engine, Workflow().chain("a", "b", "c"))).effect is PartEffect.STORED


async def test_a_join_that_is_not_there_is_refused(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a")
    workflow.join("a")

    assert await submit(engine, workflow.add("b", after=2)) == UNKNOWN_JOIN
    part = workflow.part()
    assert await engine.verbs.submit(part._replace(joins=[]), engine.now) == UNKNOWN_JOIN
    assert (await engine.job("a")).state is State.UNKNOWN


async def test_a_join_that_comes_twice_is_refused(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a")
    workflow.join("a")
    workflow.joins *= 2

    assert await submit(engine, workflow) == UNKNOWN_JOIN


async def test_nobody_can_wait_for_nobody(engine: EngineUnderTest) -> None:
    workflow = Workflow()

    assert await submit(engine, workflow.add("b", after=workflow.join())) == UNKNOWN_JOIN


async def test_nobody_can_wait_for_those_that_come_later(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("b", after=1).add("a")
    workflow.join("a")

    assert await submit(engine, workflow) == UNKNOWN_JOIN


async def test_nobody_can_wait_in_a_circle(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a", "b")
    first, second = workflow.list_of("a", "d"), workflow.join("b")
    workflow.add("c", after=first).add("d", after=second)
    workflow.nodes[-1] = workflow.nodes[-1]._replace(member_of=(first,))

    assert await submit(engine, workflow) == UNKNOWN_JOIN


async def test_what_is_handed_one_value_waits_for_one_job(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a", "b")
    workflow.add("c", after=workflow.join("a", "b"))
    several = new_jobs(["a", "b"])
    at_once = workflow.part()._replace(nodes=[NewNodes(several, member_of=(1,)), workflow.nodes[-1]])

    assert await submit(engine, workflow) == UNKNOWN_JOIN
    assert await engine.verbs.submit(at_once, engine.now) == UNKNOWN_JOIN
    answers = [await engine.verbs.submit(part, engine.now) for part in workflow.parts([1, 2])]
    assert [answer.effect for answer in answers] == [PartEffect.STORED, PartEffect.UNKNOWN_JOIN]


async def test_jobs_may_share_their_place(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a")
    number = workflow.join("a", shape=Shape.LIST)
    jobs = workflow.nodes[0].jobs
    ids = [text_key(name) for name in ("a", "b", "c")]
    workflow.nodes[0] = workflow.nodes[0]._replace(
        jobs=jobs._replace(ids=ids, args=[b"1", b"2", b"3"], digests=[b"d" * 16] * 3)
    )
    await submit(engine, workflow.add("body", after=number))

    assert (await engine.job("body")).members == 3
    assert await take(engine) == ["a", "b", "c"]


@pytest.mark.parametrize("kind", ENGINES)
async def test_a_workflow_has_a_bounded_number_of_jobs(kind: str, tmp_path: Path) -> None:
    engine = EngineUnderTest(kind, tmp_path, replace(CONFIG, max_workflow_jobs=2))
    await engine.open()

    assert await submit(engine, Workflow("large").chain("a", "b", "c")) == PartAnswer(PartEffect.TOO_LARGE)
    assert (await submit(engine, Workflow("small").chain("a", "b"))).effect is PartEffect.STORED
    await engine.verbs.close()


async def test_a_workflow_without_jobs_is_stored(engine: EngineUnderTest) -> None:
    assert (await submit(engine, Workflow())).effect is PartEffect.STORED
    assert await submit(engine, Workflow()) == DUPLICATE
