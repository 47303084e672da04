"""What every engine must do when workers come, fall silent, come back and go."""

from __future__ import annotations

import asyncio

import pytest
from tests.contracts.harness import GRACE, TTL, EngineUnderTest, instance

from tqbroker_broker.answers import Joined, WorkerRow
from tqbroker_broker.attempts import Held
from tqbroker_broker.records import State, text_key
from tqbroker_broker.storage import NameTaken

NOTHING = frozenset[str]()
WOKEN = frozenset({"default"})


async def start(engine: EngineUnderTest, *names: str) -> dict[str, int]:
    """Jobs that are running under worker "w", with their tokens."""
    await engine.put(*names)
    await engine.join()
    return await engine.take()


async def lose(engine: EngineUnderTest) -> list[str]:
    """The workers lost in one slice of `expire`."""
    return (await engine.verbs.expire(engine.now, 100)).lost_workers


async def test_workers_are_listed_by_name(engine: EngineUnderTest) -> None:
    await start(engine, "a", "b")
    await engine.join("away", process=2)
    engine.part("away", process=2)

    assert engine.verbs.workers() == [
        WorkerRow("away", instance(2), connected=False, leases=0),
        WorkerRow("w", instance(1), connected=True, leases=2),
    ]


async def test_a_name_in_use_is_refused_to_another_process_and_nothing_changes(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")

    with pytest.raises(NameTaken):
        await engine.join(process=2)

    assert engine.verbs.workers() == [WorkerRow("w", instance(1), connected=True, leases=1)]
    assert (await engine.succeed("w", tokens.values())).refused == {}


async def test_the_same_process_comes_back_to_its_leases(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a", "b")
    engine.part()

    assert await engine.join(held=tokens) == Joined([], NOTHING)
    assert (await engine.succeed("w", tokens.values())).refused == {}


async def test_a_stream_opened_twice_by_one_process_is_that_process(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")

    assert await engine.join(held=tokens) == Joined([], NOTHING)
    assert (await engine.job("a")).token == tokens["a"]


async def test_what_the_same_process_never_received_goes_back_uncounted(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a", "b")
    engine.part()

    assert await engine.join(held={"b": tokens["b"]}) == Joined([], WOKEN)

    job = await engine.job("a")
    assert (job.state, job.lost) == (State.QUEUED, 0)
    assert list(await engine.take()) == ["a"]


async def test_what_a_new_process_does_not_have_is_lost(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")
    engine.part()

    assert await engine.join(process=2) == Joined([], WOKEN)

    job = await engine.job("a")
    assert (job.state, job.lost) == (State.QUEUED, 1)
    assert (await engine.take())["a"] > tokens["a"]


async def test_a_job_that_killed_three_processes_is_quarantined(engine: EngineUnderTest) -> None:
    await engine.put("a")
    joined: list[Joined] = []
    for process in range(1, 5):
        joined.append(await engine.join(process=process))
        await engine.take()
        engine.part(process=process)

    job = await engine.job("a")
    assert (job.state, job.lost, job.worker) == (State.FAILED, 3, "w")
    assert [each.woken for each in joined] == [NOTHING, WOKEN, WOKEN, NOTHING]
    assert [each.final for each in joined] == [(), (), (), (text_key("a"),)]


async def test_leases_of_a_new_process_are_not_those_of_the_old_one(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")
    engine.part()

    assert (await engine.join(process=2, held=tokens)).lost == [tokens["a"]]
    assert (await engine.job("a")).state is State.QUEUED


async def test_leases_that_ended_are_lost_in_the_order_presented(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "released", "kept", "stolen")
    await engine.verbs.release("w", [tokens["released"], tokens["stolen"]], engine.now)
    await engine.join("v")
    await engine.take("v")
    held = {"nobody": 5, "stolen": tokens["stolen"], "kept": tokens["kept"], "released": tokens["released"]}

    assert (await engine.join(held=held)).lost == [5, tokens["stolen"], tokens["released"]]


async def test_a_lease_whose_outcome_is_stored_is_neither_lost_nor_held(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")
    await engine.succeed("w", tokens.values())

    assert await engine.join(held=tokens) == Joined([], NOTHING)
    assert engine.verbs.workers()[0].leases == 0


async def test_another_workers_lease_is_not_given_away(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")

    assert (await engine.join("v", held=tokens)).lost == [tokens["a"]]
    assert (await engine.job("a")).worker == "w"


async def test_a_token_with_the_wrong_job_is_lost(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a", "b")

    assert (await engine.join(held={"a": tokens["b"], "b": tokens["a"]})).lost == [tokens["b"], tokens["a"]]


async def test_a_worker_that_is_away_longer_than_the_grace_loses_its_leases(engine: EngineUnderTest) -> None:
    await start(engine, "a")
    engine.part()
    engine.advance(GRACE - 0.5)
    assert await lose(engine) == []

    engine.advance(0.5)

    assert await lose(engine) == ["w"]
    assert engine.verbs.workers() == []
    job = await engine.job("a")
    assert (job.state, job.lost) == (State.QUEUED, 1)


async def test_the_grace_is_no_extension(engine: EngineUnderTest) -> None:
    await start(engine, "a")
    engine.advance(TTL - 1)
    engine.part()
    engine.advance(1)

    assert await lose(engine) == ["w"]


async def test_a_silent_worker_loses_its_leases_although_it_is_connected(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")
    engine.advance(TTL)

    expired = await engine.verbs.expire(engine.now, 100)

    assert (expired.lost_workers, expired.woken, expired.final) == (["w"], WOKEN, [])
    assert await engine.take("w") == {}
    assert list((await engine.succeed("w", tokens.values())).refused) == [tokens["a"]]


async def test_heartbeats_keep_leases_for_ever(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")
    for _ in range(5):
        engine.advance(TTL - 0.5)
        engine.extend()
        assert await lose(engine) == []

    assert (await engine.succeed("w", tokens.values())).refused == {}


async def test_heartbeats_of_another_process_count_for_nothing(engine: EngineUnderTest) -> None:
    await start(engine, "a")
    engine.advance(TTL - 1)
    engine.extend(process=2)
    engine.part(process=2)
    engine.extend("nobody")
    engine.advance(1)

    assert await lose(engine) == ["w"]


async def test_coming_back_is_a_sign_of_life(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")
    engine.part()
    engine.advance(GRACE - 1)
    await engine.join(held=tokens)
    engine.advance(TTL - 1)

    assert await lose(engine) == []


async def test_leases_do_not_depend_on_the_wall_clock(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")
    engine.advance(1, wall=100_000)
    assert await lose(engine) == []
    engine.advance(1, wall=-200_000)
    assert await lose(engine) == []

    assert (await engine.succeed("w", tokens.values())).refused == {}


async def test_many_lost_leases_are_ended_slice_by_slice(engine: EngineUnderTest) -> None:
    await start(engine, *"abcde")
    engine.advance(TTL)

    expired = await engine.verbs.expire(engine.now, 2)
    assert (expired.lost_workers, expired.more) == ([], True)
    assert [(await engine.job(name)).lost for name in "abcde"] == [1, 1, 0, 0, 0]

    assert (await engine.expire_all(2)).lost_workers == ["w"]
    assert [(await engine.job(name)).lost for name in "abcde"] == [1] * 5


async def test_a_worker_that_leaves_returns_its_jobs_uncounted(engine: EngineUnderTest) -> None:
    await start(engine, "a")

    assert await engine.leave(process=2) == NOTHING
    assert await engine.leave() == WOKEN

    assert engine.verbs.workers() == []
    job = await engine.job("a")
    assert (job.state, job.lost) == (State.QUEUED, 0)
    assert await engine.leave() == NOTHING


async def test_a_lease_lost_for_good_is_not_given_back(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")
    engine.advance(TTL)
    await lose(engine)

    assert (await engine.join(held=tokens)).lost == [tokens["a"]]
    assert (await engine.job("a")).lost == 1


async def test_time_in_which_the_broker_stalled_does_not_count(engine: EngineUnderTest) -> None:
    await start(engine, "a")
    assert engine.verbs.beat(engine.now) == 0.0
    engine.advance(1)
    assert engine.verbs.beat(engine.now) == 0.0
    engine.advance(3)
    assert engine.verbs.beat(engine.now) == 2.0, "two of them would be most of a short lease"
    engine.advance(TTL * 3)

    assert engine.verbs.beat(engine.now) == TTL * 3 - 1
    assert await lose(engine) == []

    engine.advance(TTL - 3.5)
    assert await lose(engine) == []
    engine.advance(0.5)
    assert await lose(engine) == ["w"]


async def test_a_job_presented_twice_is_held_once(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a", "b")
    await engine.restart()
    a, b = (Held(text_key(name), tokens[name]) for name in "ab")
    held = [a, a, Held(a.id, a.token - 1), Held(b.id, a.token), b]

    joined = await engine.verbs.join("w", instance(1), held, engine.now)

    assert joined.lost == [a.token - 1]
    assert engine.verbs.workers()[0].leases == 2
    assert ((await engine.job("a")).token, (await engine.job("b")).token) == (a.token, b.token)


async def test_a_worker_whose_stream_broke_keeps_nothing_alive_until_it_joins_again(engine: EngineUnderTest) -> None:
    await start(engine, "a")
    engine.part()
    engine.extend()
    engine.advance(GRACE)

    assert await lose(engine) == ["w"]


@pytest.mark.parametrize("connected", [True, False])
async def test_a_worker_that_is_spared_has_the_grace_from_then_on(engine: EngineUnderTest, connected: bool) -> None:
    await start(engine, "a")
    engine.spare()
    if connected:
        engine.advance(TTL - 1)
    else:
        engine.part()
        engine.advance(GRACE - 1)
    engine.spare(process=2)
    engine.spare("nobody")
    engine.spare()
    engine.advance(GRACE - 0.5)
    assert await lose(engine) == []

    engine.advance(0.5)
    assert await lose(engine) == ["w"]


async def test_a_worker_from_before_the_start_is_not_spared(engine: EngineUnderTest) -> None:
    await start(engine, "a")
    await engine.restart()
    engine.advance(TTL - 1)
    engine.spare()
    engine.advance(1)

    assert await lose(engine) == ["w"]


async def test_a_lease_that_ends_in_the_commit_in_which_its_worker_comes_back_has_ended(
    engine: EngineUnderTest,
) -> None:
    tokens = await start(engine, "a")
    held = [Held(text_key("a"), tokens["a"])]

    await asyncio.gather(  # the first is a commit by itself, the others share the next one
        engine.put("b"),
        engine.verbs.join("w", instance(1), held, engine.now),
        engine.succeed("w", [tokens["a"]]),
    )

    counts = (await engine.verbs.stats()).queues["default"]
    assert (counts.queued, counts.running, counts.succeeded) == (1, 0, 1)
    assert sum(row.leases for row in engine.verbs.workers()) == 0
