"""What every engine must do with workflows that come in parts, or wait for an outcome: nothing runs before its time."""

from __future__ import annotations

import pytest
from tests.contracts.harness import EngineUnderTest
from tests.contracts.workflows import Workflow, finals, run, states, submit, take, workflow_id

from tqbroker_broker.answers import CancelAnswer, Cancelled, QueueCounts
from tqbroker_broker.questions import Drop, Effect, EventKind, Move, Redrive
from tqbroker_broker.records import Head, State, text_key
from tqbroker_broker.rules import QueueRule, Traits, Unique, UniqueConflict, UniqueUntil
from tqbroker_broker.storage import QueueInUse
from tqbroker_broker.workflows import Part, PartAnswer, PartEffect, WorkflowState

STORED = PartAnswer(PartEffect.STORED)
WAITING = State.WAITING
UNIQUE = Head(
    "tasks.add",
    "default",
    0,
    "json",
    traits=Traits(unique=Unique(UniqueUntil.TIME, UniqueConflict.REJECT, 10_000_000)),
)


def three_parts() -> list[Part]:
    return Workflow().chain("a", "b", "c").parts([1, 1, 1])


async def send(engine: EngineUnderTest, *parts: Part) -> list[PartEffect]:
    return [(await engine.verbs.submit(part, engine.now)).effect for part in parts]


async def test_nothing_is_handed_out_before_the_last_part(engine: EngineUnderTest) -> None:
    first, second, last = three_parts()

    assert await engine.verbs.submit(first, engine.now) == STORED
    assert await engine.verbs.submit(second, engine.now) == STORED
    assert await states(engine, "a", "b", "c") == [WAITING, WAITING, State.UNKNOWN]
    assert await take(engine) == []

    answer = await engine.verbs.submit(last, engine.now)
    assert answer == PartAnswer(PartEffect.STORED, woken=frozenset({"default"}))
    assert await take(engine) == ["a"]


async def test_parts_come_in_order(engine: EngineUnderTest) -> None:
    first, second, last = three_parts()

    assert await send(engine, second) == [PartEffect.OUT_OF_ORDER]
    assert await send(engine, first, last) == [PartEffect.STORED, PartEffect.OUT_OF_ORDER]
    assert await send(engine, second, last) == [PartEffect.STORED] * 2


async def test_every_part_can_be_sent_again(engine: EngineUnderTest) -> None:
    first, second, last = three_parts()

    effects = await send(engine, first, first, second, first, last, second, last)

    stored, duplicate = PartEffect.STORED, PartEffect.DUPLICATE
    assert effects == [stored, duplicate, stored, duplicate, stored, duplicate, duplicate]


async def test_a_workflow_that_is_complete_takes_no_part_more(engine: EngineUnderTest) -> None:
    first, second, last = three_parts()
    await send(engine, first, second._replace(last=True))

    assert await send(engine, last) == [PartEffect.CONFLICT]
    assert await send(engine, second._replace(digest=bytes(16))) == [PartEffect.CONFLICT]


async def test_an_upload_goes_on_after_a_restart(engine: EngineUnderTest) -> None:
    first, second, last = three_parts()
    await send(engine, first, second)
    await engine.restart()

    assert await send(engine, second, last) == [PartEffect.DUPLICATE, PartEffect.STORED]
    for name in "abc":
        assert await run(engine, name) == [name]


async def test_members_of_one_join_may_come_in_several_parts(engine: EngineUnderTest) -> None:
    workflow = Workflow().chord("a", "b", "c", body="body")
    await send(engine, *workflow.parts([2, 1, 1]))

    assert await run(engine, "a", "b", "c") == ["a", "b", "c"]
    assert await take(engine) == ["body"]


async def test_a_part_cannot_add_a_member_when_somebody_waits_already(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a")
    number = workflow.list_of("a", "c")
    workflow.add("b", after=number).add("c")
    workflow.nodes[-1] = workflow.nodes[-1]._replace(member_of=(number,))

    assert await send(engine, *workflow.parts([1, 1, 1])) == [
        PartEffect.STORED,
        PartEffect.STORED,
        PartEffect.UNKNOWN_JOIN,
    ]


async def test_an_id_of_an_earlier_part_is_refused(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a").add("a")

    assert await send(engine, *workflow.parts([1, 1])) == [PartEffect.STORED, PartEffect.REFUSED]


async def test_jobs_of_an_upload_are_counted_as_waiting_and_hold_their_keys(engine: EngineUnderTest) -> None:
    await send(engine, *Workflow().add("a", "b", head=UNIQUE, keys=["k", "l"]).parts([1, 1, 0])[:2])

    assert (await engine.verbs.stats()).queues == {"default": QueueCounts(waiting=2)}
    assert (await engine.put("late", head=UNIQUE, keys=["k"])).holders == {0: text_key("a")}


async def test_times_of_first_jobs_hold_although_the_last_part_comes_later(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a", due_ms=engine.later(60)).add("b", due_ms=engine.later(10)).add("c", countdown=60)
    first, last = workflow.parts([2, 1])
    await send(engine, first)
    engine.advance(30)

    answer = await engine.verbs.submit(last, engine.now)

    assert (answer.woken, answer.next_due_ms) == (frozenset({"default"}), engine.later(30))
    assert [(await engine.job(name)).due_ms for name in "ac"] == [engine.later(30), engine.later(60)]
    assert await take(engine) == ["b"]


async def test_what_is_uploaded_does_not_expire_before_it_is_live(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a", expires_ms=engine.later(1)).add("b")
    first, last = workflow.parts([1, 1])
    await send(engine, first)
    engine.advance(1)
    assert (await engine.verbs.expire(engine.now, 10)).final == []

    await send(engine, last)

    assert finals((await engine.verbs.expire(engine.now, 10)).final) == ["a"]


async def test_a_cancel_of_what_is_uploaded_holds_when_it_is_live(engine: EngineUnderTest) -> None:
    workflow = Workflow().chain("a", "b", "c")
    first, last = workflow.parts([2, 1])
    await send(engine, first)
    assert await engine.cancel("a") == CancelAnswer([Cancelled.PENDING], {})
    assert (await engine.job("a")).cancel_requested
    assert (await engine.verbs.expire(engine.now, 10)).final == []
    await engine.restart()

    await send(engine, last)

    assert await take(engine) == []
    assert finals((await engine.verbs.expire(engine.now, 10)).final) == ["a", "b", "c"]


async def test_what_is_uploaded_cannot_be_changed_or_forgotten(engine: EngineUnderTest) -> None:
    await send(engine, three_parts()[0])

    for change in (Redrive(), Move("other"), Drop()):
        assert (await engine.verbs.edit([text_key("a")], change, engine.now)).effects == [Effect.WRONG_STATE]
    assert await engine.forget("a") == 0
    assert await engine.verbs.drop_workflow(workflow_id("workflow"), engine.now) is Effect.WRONG_STATE


async def test_an_upload_is_dropped_some_time_after_its_newest_part(engine: EngineUnderTest) -> None:
    first, second, last = three_parts()
    await send(engine, first)
    engine.advance(engine.config.upload_ttl - 1)
    await send(engine, second)
    engine.advance(engine.config.upload_ttl - 1)
    await engine.expire_all(10)
    assert await states(engine, "a", "b") == [WAITING] * 2

    engine.advance(1)
    expired = await engine.expire_all(10)

    assert finals(expired.final) == ["a", "b"]
    assert [((job := await engine.job(name)).state, job.forgotten) for name in "ab"] == [(State.UNKNOWN, False)] * 2
    assert await send(engine, last) == [PartEffect.OUT_OF_ORDER]
    assert await engine.verbs.nodes(workflow_id("workflow"), b"", 10) is None


async def test_an_upload_that_was_dropped_leaves_nothing_behind(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a", "b", head=UNIQUE, keys=["k", "l"])
    await send(engine, workflow.parts([1, 1])[0])
    engine.advance(engine.config.upload_ttl)
    await engine.expire_all(10)

    assert (await engine.verbs.stats()).queues == {}
    page = await engine.verbs.events(0, 10)
    assert [each.kind for each in page.events] == [EventKind.SENT, EventKind.REVOKED]
    assert (await submit(engine, workflow)).effect is PartEffect.STORED


async def test_a_large_upload_is_dropped_in_slices(engine: EngineUnderTest) -> None:
    workflow = Workflow().add("a", "b", "c", "d")
    first, last = workflow.parts([3, 1])
    await send(engine, first)
    engine.advance(engine.config.upload_ttl)

    expired = await engine.verbs.expire(engine.now, 2)
    assert (len(expired.final), expired.more) == (2, True)
    assert await send(engine, first, last) == [PartEffect.OUT_OF_ORDER] * 2

    await engine.expire_all(2)
    assert await send(engine, first, last) == [PartEffect.STORED] * 2


async def test_a_queue_with_uploaded_jobs_is_in_use(engine: EngineUnderTest) -> None:
    await engine.verbs.put_queue("default", QueueRule(ttl_ms=1000), engine.now)
    await send(engine, three_parts()[0])

    with pytest.raises(QueueInUse):
        await engine.verbs.put_queue("default", None, engine.now)


async def test_first_jobs_of_a_part_need_room(engine: EngineUnderTest) -> None:
    await engine.verbs.put_queue("default", QueueRule(max_length=1), engine.now)
    await engine.put("plain")
    workflow = Workflow().add("a")
    workflow.add("b", after=workflow.join("a"))

    assert await send(engine, workflow.parts([1, 1])[0]) == [PartEffect.REFUSED]


async def test_a_held_workflow_waits_although_it_is_complete(engine: EngineUnderTest) -> None:
    assert await engine.verbs.submit(Workflow().chain("a", "b").part(held=True), engine.now) == STORED

    assert await states(engine, "a", "b") == [WAITING] * 2
    assert await take(engine) == []
    page = await engine.verbs.workflows(frozenset({WorkflowState.UPLOADING}), b"", 10)
    assert [info.id for info in page.workflows] == [workflow_id("workflow")]


async def test_a_held_workflow_that_nobody_asks_for_is_dropped(engine: EngineUnderTest) -> None:
    await engine.verbs.submit(Workflow().chain("a", "b").part(held=True), engine.now)
    engine.advance(engine.config.upload_ttl)

    assert finals((await engine.expire_all(10)).final) == ["a", "b"]
    assert (await engine.job("a")).state is State.UNKNOWN
