"""What every engine must do with workflows whose jobs come in large batches that share their place."""

from __future__ import annotations

from collections.abc import Sequence

from tests.contracts.harness import FAILURE, HEAD, RESULT_TTL, EngineUnderTest, new_jobs
from tests.contracts.workflows import finals, states, workflow_id

from tqbroker_broker.attempts import Held, Place, Verdict, Want
from tqbroker_broker.questions import Effect, Redrive
from tqbroker_broker.records import Head, State, key_text, text_key
from tqbroker_broker.workflows import Inputs, NewJoin, NewNodes, On, Part, PartAnswer, PartEffect, Shape, Tally

WORKFLOW, GROUP, GUEST = workflow_id("workflow"), workflow_id("group"), workflow_id("guest")
DIGEST = bytes(16)
MANY = 2500
BODY = Head("tasks.slow", "default", 0, "json")


def names_of(count: int, kind: str = "m") -> list[str]:
    return [f"{kind}{number}" for number in range(count)]


def batch(names: Sequence[str], head: Head = HEAD, **place: int | bool | tuple[int, ...]) -> NewNodes:
    return NewNodes(new_jobs(names, head), **place)  # type: ignore[arg-type]


async def chord(engine: EngineUnderTest, count: int, *bodies: str) -> PartAnswer:
    """A group, and bodies that follow it."""
    joins = [NewJoin(1, On.SUCCESS, Shape.LIST, GROUP)]
    nodes = [batch(names_of(count), member_of=(1,))]
    if bodies:
        nodes.append(batch(bodies, BODY, after=1))
    return await engine.verbs.submit(Part(WORKFLOW, 0, True, DIGEST, "", joins, nodes), engine.now)


async def take(engine: EngineUnderTest, most: int = 10_000) -> dict[str, tuple[int, Place | None]]:
    """Tokens and places of what worker "w" gets, by name."""
    if not any(worker.connected for worker in engine.verbs.workers()):
        await engine.join()
    want = Want("w", ("default",), frozenset({"tasks.add", "tasks.slow"}), most, most, max_bytes=1 << 30)
    return {
        key_text(job): (batch.tokens[i], batch.extras[i].place if i in batch.extras else None)
        for batch in await engine.lease(want)
        for i, job in enumerate(batch.ids)
    }


async def tally(engine: EngineUnderTest, workflow: bytes = WORKFLOW) -> Tally:
    page = await engine.verbs.nodes(workflow, b"", 1)
    assert page is not None
    return page.workflow.tally


async def listed(engine: EngineUnderTest, workflow: bytes = WORKFLOW) -> list[str]:
    """The names of all jobs of a workflow, by pages."""
    names: list[str] = []
    cursor = b""
    while True:
        page = await engine.verbs.nodes(workflow, cursor, 1000)
        assert page is not None
        names += finals(node.job.id for node in page.nodes)
        cursor = page.cursor
        if not cursor:
            return names


async def test_a_group_of_thousands_releases_its_body_with_all_values_in_order(engine: EngineUnderTest) -> None:
    await chord(engine, MANY, "body")
    taken = await take(engine)
    assert list(taken) == names_of(MANY)
    place = taken["m1700"][1]
    assert place is not None
    assert (place.group, place.group_index, place.in_chord, place.root) == (GROUP, 1700, True, text_key("m0"))

    for name in reversed(taken):
        await engine.succeed("w", [taken[name][0]], result=name.encode())

    (body,) = (await take(engine)).values()
    assert body[1] is not None
    assert body[1].parent == text_key("m0")
    values = [name.encode() for name in names_of(MANY)]
    assert body[1].inputs == Inputs(Shape.LIST, values, ["json"], MANY)
    page = await engine.verbs.inputs(text_key("body"), 2400)
    assert page is not None
    assert list(page.values) == values[2400:]


async def test_ends_of_one_call_count_once_each(engine: EngineUnderTest) -> None:
    await chord(engine, MANY, "body")
    tokens = [token for token, _ in (await take(engine)).values()]

    await engine.succeed("w", tokens[:1500])
    await engine.succeed("w", tokens[:1500])
    assert (await engine.job("body")).left == MANY - 1500
    await engine.restart()
    await engine.join(held={f"m{i}": tokens[i] for i in range(1500, MANY)})
    finished = await engine.succeed("w", tokens[1000:])

    assert len(finished.final) == MANY - 1500
    assert (await engine.job("body")).state is State.QUEUED
    assert await tally(engine) == Tally(MANY + 1, 1, succeeded=MANY)


async def test_members_of_a_large_group_are_told_by_pages(engine: EngineUnderTest) -> None:
    await chord(engine, MANY)

    members = await engine.verbs.group(GROUP, 1000, 600)

    assert members is not None
    assert (finals(members.ids), members.total) == (names_of(MANY)[1000:1600], MANY)
    assert await listed(engine) == names_of(MANY)


async def test_a_group_that_comes_in_parts_is_one(engine: EngineUnderTest) -> None:
    joins = [NewJoin(1, On.SUCCESS, Shape.LIST, GROUP)]
    for number in range(3):
        names = names_of(MANY)[number * 900 : number * 900 + 900]
        part = Part(WORKFLOW, number, False, DIGEST, "", [] if number else joins, [batch(names, member_of=(1,))])
        assert (await engine.verbs.submit(part, engine.now)).effect is PartEffect.STORED
    assert await take(engine) == {}
    body = Part(WORKFLOW, 3, True, DIGEST, "", [], [batch(["body"], BODY, after=1)])
    assert (await engine.verbs.submit(body, engine.now)).woken == frozenset({"default"})

    taken = await take(engine)

    assert list(taken) == names_of(MANY)
    await engine.succeed("w", [token for token, _ in taken.values()])
    assert list(await take(engine)) == ["body"]


async def test_many_followers_of_one_job_go_on_but_for_those_that_ended_before(engine: EngineUnderTest) -> None:
    joins = [NewJoin(1, On.SUCCESS, Shape.VALUE)]
    nodes = [batch(["first"], member_of=(1,)), batch(names_of(MANY), after=1)]
    await engine.verbs.submit(Part(WORKFLOW, 0, True, DIGEST, "", joins, nodes), engine.now)
    await engine.cancel("m7", "m2000")
    token, _ = (await take(engine))["first"]

    await engine.succeed("w", [token], result=b"value")

    taken = await take(engine)
    assert list(taken) == [name for name in names_of(MANY) if name not in ("m7", "m2000")]
    place = taken["m8"][1]
    assert place is not None
    assert place.inputs == Inputs(Shape.VALUE, [b"value"], ["json"], 1)
    assert await tally(engine) == Tally(MANY + 1, MANY - 2, succeeded=1, cancelled=2)


async def test_many_followers_end_with_the_job_they_wait_for_and_wait_again_with_it(engine: EngineUnderTest) -> None:
    joins = [NewJoin(1, On.SUCCESS, Shape.VALUE), NewJoin(2, On.SUCCESS, Shape.LIST, GROUP)]
    nodes = [
        batch(["first"], member_of=(1,)),
        batch(names_of(MANY), after=1, member_of=(2,)),
        batch(["body"], BODY, after=2),
    ]
    await engine.verbs.submit(Part(WORKFLOW, 0, True, DIGEST, "", joins, nodes), engine.now)
    await engine.cancel("m5")
    token, _ = (await take(engine))["first"]
    assert (await engine.job("body")).cause == text_key("m5")

    await engine.end("w", token, Verdict.FAILED, failure=FAILURE)
    assert await states(engine, "m0", "m5", "m2499", "body") == [
        State.FAILED,
        State.CANCELLED,
        State.FAILED,
        State.CANCELLED,
    ]
    assert await tally(engine) == Tally(MANY + 2, 0, failed=MANY, cancelled=2)
    answer = await engine.verbs.edit([text_key("m3"), text_key("first")], Redrive(), engine.now)

    assert answer.effects == [Effect.FOLLOWS, Effect.DONE]
    assert await states(engine, "first", "m0", "m5", "m2499", "body") == [
        State.QUEUED,
        State.WAITING,
        State.CANCELLED,
        State.WAITING,
        State.CANCELLED,
    ]
    assert await tally(engine) == Tally(MANY + 2, MANY, cancelled=2)
    token, _ = (await take(engine))["first"]
    await engine.succeed("w", [token])
    assert len(await take(engine)) == MANY - 1


async def test_a_member_of_a_large_group_is_replaced_and_stays_a_member(engine: EngineUnderTest) -> None:
    await chord(engine, 1500, "body")
    taken = await take(engine)
    joins = [NewJoin(1, On.SUCCESS, Shape.LIST)]
    nodes = [batch(["x", "y"], member_of=(1,)), batch(["taker"], BODY, after=1, takes_over=True)]
    await engine.verbs.submit(Part(GUEST, 0, True, DIGEST, "", joins, nodes, held=True), engine.now)

    await engine.end("w", taken["m1200"][0], Verdict.REPLACED, workflow=GUEST)
    await engine.succeed("w", [token for name, (token, _) in taken.items() if name != "m1200"], result=b"own")
    assert (await engine.job("body")).left == 1
    guests = await take(engine)
    await engine.succeed("w", [token for token, _ in guests.values()], result=b"guest")
    again = await take(engine)

    assert (list(guests), list(again)) == (["x", "y"], ["m1200"])
    place = again["m1200"][1]
    assert place is not None
    assert (place.group, place.group_index) == (GROUP, 1200)
    assert place.inputs == Inputs(Shape.LIST, [b"guest"] * 2, ["json"], 2)
    await engine.succeed("w", [again["m1200"][0]], result=b"taken over")
    (body,) = (await take(engine)).values()
    assert body[1] is not None
    assert body[1].inputs is not None
    assert [body[1].inputs.values[i] for i in (1199, 1200, 1201)] == [b"own", b"taken over", b"own"]
    assert await listed(engine) == [*names_of(1500), "body", "x", "y"]
    page = await engine.verbs.nodes(WORKFLOW, b"", 2000)
    assert page is not None
    assert page.nodes[1200].member_of == (1,)
    assert (page.nodes[1200].after, page.nodes[1501].member_of) == (2, (2,))


async def test_members_are_added_to_a_large_group(engine: EngineUnderTest) -> None:
    await chord(engine, 1000, "body")
    taken = await take(engine)
    beside = Held(text_key("m0"), taken["m0"][0])

    part = Part(GUEST, 0, True, DIGEST, "", [], [batch(names_of(100, "n"), beside=True)], beside=beside)
    assert (await engine.verbs.submit(part, engine.now)).effect is PartEffect.STORED

    await engine.succeed("w", [token for token, _ in taken.values()])
    assert (await engine.job("body")).left == 100
    added = await take(engine)
    place = added["n50"][1]
    assert place is not None
    assert (place.group, place.group_index, place.workflow) == (GROUP, 1050, WORKFLOW)
    await engine.succeed("w", [token for token, _ in added.values()])
    assert list(await take(engine)) == ["body"]
    members = await engine.verbs.group(GROUP, 0, 2000)
    assert members is not None
    assert finals(members.ids) == names_of(1000) + names_of(100, "n")


async def test_all_of_it_is_dropped_in_slices(engine: EngineUnderTest) -> None:
    await chord(engine, 1500, "body")
    taken = await take(engine)
    beside = Held(text_key("m0"), taken["m0"][0])
    part = Part(GUEST, 0, True, DIGEST, "", [], [batch(names_of(100, "n"), beside=True)], beside=beside)
    await engine.verbs.submit(part, engine.now)
    for _ in range(3):
        await engine.succeed("w", [token for token, _ in taken.values()])
        taken = await take(engine)
    assert await tally(engine) == Tally(1601, 0, succeeded=1601)
    engine.advance(RESULT_TTL)

    slices = 0
    while (await engine.verbs.expire(engine.now, 300)).more:
        slices += 1

    assert slices >= 5
    assert (await engine.verbs.workflows(frozenset(), b"", 10)).workflows == []
    assert await engine.verbs.group(GROUP, 0, 1) is None
    assert (await engine.verbs.stats()).queues == {}
    assert (await engine.job("m3")).forgotten
