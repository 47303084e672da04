"""What every engine must do when jobs are handed out: who gets what, in which order."""

from __future__ import annotations

from tests.contracts.harness import HEAD, EngineUnderTest, instance

from tqbroker_broker.attempts import Verdict, Want
from tqbroker_broker.records import Head, State, text_key

ADD = frozenset({"tasks.add"})
BOTH = frozenset({"tasks.add", "tasks.slow"})
SLOW = Head("tasks.slow", "default", 0, "json")
URGENT = Head("tasks.add", "default", 9, "json")
MAIL = Head("tasks.add", "mail", 5, "json")


async def names(engine: EngineUnderTest, want: Want) -> list[str]:
    return [job[1:].decode() for batch in await engine.lease(want) for job in batch.ids]


async def test_a_leased_job_is_running_and_comes_with_everything_it_needs(engine: EngineUnderTest) -> None:
    await engine.put("a")
    await engine.join()

    (leased,) = await engine.lease(Want("w", ("default",), ADD, 1, 1))

    job = await engine.job("a")
    assert (leased.head, leased.ids, leased.args) == (HEAD, [text_key("a")], [b"a"])
    assert (leased.retries, leased.lost) == ([0], [0])
    assert (job.state, job.worker, job.token) == (State.RUNNING, "w", leased.tokens[0])


async def test_a_job_is_handed_out_once(engine: EngineUnderTest) -> None:
    await engine.put("a")
    await engine.join("w")
    await engine.join("v")
    await engine.take("w")

    assert await engine.take("v") == {}
    assert await engine.take("w") == {}


async def test_that_nothing_is_ready_is_known_without_a_hand_out(engine: EngineUnderTest) -> None:
    """What `hand_out` holds against `lease` in every test is not said of everything."""
    await engine.join()
    await engine.put("later", due_ms=engine.later(60))
    assert not engine.verbs.has_ready(("default", "mail"), engine.now)

    await engine.put("a")
    assert engine.verbs.has_ready(("mail", "default"), engine.now)
    assert not engine.verbs.has_ready(("mail",), engine.now)

    await engine.take()
    await engine.take()
    assert not engine.verbs.has_ready(("default",), engine.now)


async def test_a_worker_that_has_not_joined_or_is_away_gets_nothing(engine: EngineUnderTest) -> None:
    await engine.put("a")
    assert await engine.take("w") == {}

    await engine.join()
    engine.part()
    assert await engine.take("w") == {}


async def test_that_a_worker_is_away_is_told_apart_from_that_nothing_is_ready(engine: EngineUnderTest) -> None:
    await engine.join("w")
    await engine.join("v")
    engine.part("v")

    wants = [Want(worker, ("default",), ADD, 1, 1) for worker in "wvu"]

    assert (await engine.hand_out(wants)).away == {"v", "u"}


async def test_jobs_leave_in_the_order_they_came(engine: EngineUnderTest) -> None:
    await engine.put("a", "b")
    await engine.put("c")
    await engine.join()

    assert list(await engine.take(slots=2)) == ["a", "b"]
    assert list(await engine.take()) == ["c"]


async def test_higher_priority_goes_first_over_all_queues_of_a_want(engine: EngineUnderTest) -> None:
    await engine.put("low")
    await engine.put("mail", head=MAIL)
    await engine.put("urgent", head=URGENT)
    await engine.join()

    assert await names(engine, Want("w", ("default", "mail"), ADD, 9, 9)) == ["urgent", "mail", "low"]


async def test_among_tasks_of_one_priority_the_oldest_goes_first(engine: EngineUnderTest) -> None:
    await engine.put("1")
    await engine.put("2", "3", head=SLOW)
    await engine.put("4")
    await engine.join()

    leased = await engine.lease(Want("w", ("default",), BOTH, 9, 9))

    assert [(batch.head.task, [job[1:] for job in batch.ids]) for batch in leased] == [
        ("tasks.add", [b"1"]),
        ("tasks.slow", [b"2", b"3"]),
        ("tasks.add", [b"4"]),
    ]


async def test_jobs_that_share_a_head_share_a_batch(engine: EngineUnderTest) -> None:
    await engine.put("a")
    await engine.put("b")
    await engine.put("c", head=Head("tasks.add", "default", 0, "json", headers=b"trace"))
    await engine.join()

    leased = await engine.lease(Want("w", ("default",), ADD, 9, 9))

    assert [[job[1:] for job in batch.ids] for batch in leased] == [[b"a", b"b"], [b"c"]]


async def test_only_wanted_queues_and_known_tasks_are_handed_out(engine: EngineUnderTest) -> None:
    await engine.put("slow", head=SLOW)
    await engine.put("mail", head=MAIL)
    await engine.put("a")
    await engine.join()

    assert await names(engine, Want("w", ("default",), ADD, 9, 9)) == ["a"]
    assert await names(engine, Want("w", ("nowhere",), ADD, 9, 9)) == []
    assert await names(engine, Want("w", ("mail",), ADD, 9, 9)) == ["mail"]


async def test_fast_tasks_fill_the_window_and_others_only_the_slots(engine: EngineUnderTest) -> None:
    await engine.put("1", "2")
    await engine.put("slow1", head=SLOW)
    await engine.put("3", "4", "5")
    await engine.join()

    assert await names(engine, Want("w", ("default",), BOTH, 1, 4, fast=ADD)) == ["1", "2", "slow1", "3"]
    assert await names(engine, Want("w", ("default",), BOTH, 1, 4, fast=ADD)) == ["4", "5"]


async def test_slots_bound_the_tasks_that_are_not_fast(engine: EngineUnderTest) -> None:
    await engine.put("slow1", "slow2", head=SLOW)
    await engine.put("a")
    await engine.join()

    assert await names(engine, Want("w", ("default",), BOTH, 1, 9, fast=ADD)) == ["slow1", "a"]


async def test_nothing_is_handed_out_beyond_the_window(engine: EngineUnderTest) -> None:
    await engine.put("a", "b")
    await engine.join()

    assert await names(engine, Want("w", ("default",), ADD, 2, 1)) == ["a"]
    assert await names(engine, Want("w", ("default",), ADD, 0, 0)) == []


async def test_a_message_ends_with_the_job_that_fills_it(engine: EngineUnderTest) -> None:
    await engine.put("aaaa", "bbbb", "cccc", "dddd")
    await engine.join()

    assert await names(engine, Want("w", ("default",), ADD, 9, 9, max_bytes=8)) == ["aaaa", "bbbb"]
    assert await names(engine, Want("w", ("default",), ADD, 9, 9, max_bytes=1)) == ["cccc"]


async def test_wants_are_served_in_turn(engine: EngineUnderTest) -> None:
    await engine.put("a", "b", "c")
    await engine.join("w")
    await engine.join("v")
    wants = [
        Want("w", ("default",), ADD, 1, 1),
        Want("nobody", ("default",), ADD, 9, 9),
        Want("v", ("default",), ADD, 9, 9),
    ]

    answers = (await engine.hand_out(wants)).batches

    assert [[batch.ids for batch in answer] for answer in answers] == [
        [[text_key("a")]],
        [],
        [[text_key("b"), text_key("c")]],
    ]


async def test_tokens_rise_strictly_over_jobs_workers_and_restarts(engine: EngineUnderTest) -> None:
    await engine.put("a", "b", "c")
    await engine.join("w")
    await engine.join("v")
    tokens = [*(await engine.take("w", 1)).values(), *(await engine.take("v", 1)).values()]
    await engine.leave("w")
    await engine.leave("v")

    opened = await engine.restart()
    await engine.join()
    tokens += (await engine.take()).values()

    assert tokens == sorted(set(tokens))
    assert [token >> 32 for token in tokens[2:]] == [opened.epoch] * 3
    assert tokens[2] & 0xFFFFFFFF == 1


async def test_a_job_that_was_past_its_expiry_is_handed_out_when_the_clock_goes_back(engine: EngineUnderTest) -> None:
    await engine.put("a", expires_ms=engine.later(60))
    await engine.join()
    engine.advance(1, wall=61)
    assert await engine.take() == {}

    engine.advance(1, wall=-3600)

    assert list(await engine.take()) == ["a"]


async def test_the_epoch_rises_even_when_the_clock_went_back(engine: EngineUnderTest) -> None:
    first = await engine.restart()
    engine.advance(1, wall=-3600)
    second = await engine.restart()
    engine.advance(1, wall=7200)
    third = await engine.restart()

    assert second.epoch == first.epoch + 1
    assert third.epoch == engine.now.wall_ms // 1000
    assert first.store == second.store == third.store


async def test_a_clock_centuries_ahead_leaves_room_for_tokens(engine: EngineUnderTest) -> None:
    engine.advance(1, wall=300 * 365 * 86_400)
    first = await engine.restart()

    assert first.epoch < 2**32
    await engine.put("a")
    await engine.join()
    assert (await engine.succeed("w", (await engine.take()).values())).refused == {}


async def test_a_job_past_its_expiry_is_not_handed_out_and_blocks_nobody(engine: EngineUnderTest) -> None:
    await engine.put("old", expires_ms=engine.later(5))
    await engine.put("new")
    await engine.join()
    engine.advance(5)

    assert list(await engine.take()) == ["new"]


async def test_a_returned_job_keeps_its_place_uncounted(engine: EngineUnderTest) -> None:
    await engine.put("a", "b")
    await engine.join()
    tokens = await engine.take()
    await engine.put("c")

    assert await engine.verbs.release("w", [tokens["b"], tokens["a"]], engine.now) == {"default"}

    again = await engine.take()
    job = await engine.job("a")
    assert list(again) == ["a", "b", "c"]
    assert again["a"] > tokens["a"]
    assert (job.retries, job.lost) == (0, 0)


async def test_only_its_holder_can_return_a_job(engine: EngineUnderTest) -> None:
    await engine.put("a")
    await engine.join("w")
    await engine.join("v")
    tokens = await engine.take("w")

    assert await engine.verbs.release("v", list(tokens.values()), engine.now) == frozenset()
    assert await engine.verbs.release("w", [1, 2], engine.now) == frozenset()
    assert (await engine.job("a")).state is State.RUNNING


async def test_a_retried_job_goes_to_the_end_and_a_lost_one_keeps_its_place(engine: EngineUnderTest) -> None:
    await engine.put("retried", "lost", "waiting")
    await engine.join()
    tokens = await engine.take(slots=2)
    await engine.end("w", tokens["retried"], Verdict.RETRY)
    await engine.end("w", tokens["lost"], Verdict.LOST)

    (leased,) = await engine.lease(Want("w", ("default",), ADD, 9, 9))

    assert [job[1:] for job in leased.ids] == [b"lost", b"waiting", b"retried"]
    assert leased.retries == [0, 0, 1]
    assert leased.lost == [1, 0, 0]


async def test_a_job_behind_those_running_is_found_when_one_before_it_returns(engine: EngineUnderTest) -> None:
    await engine.put(*"abcdef")
    await engine.join()
    tokens = await engine.take(slots=4)

    await engine.verbs.release("w", [tokens["b"]], engine.now)
    assert list(await engine.take(slots=1)) == ["b"]

    await engine.verbs.release("w", [tokens["d"], tokens["a"]], engine.now)
    assert list(await engine.take()) == ["a", "d", "e", "f"]


async def test_a_lease_is_kept_by_a_worker_that_is_away(engine: EngineUnderTest) -> None:
    await engine.put("a")
    await engine.join("w")
    await engine.join("v")
    await engine.take("w")
    engine.verbs.part("w", instance(1), engine.now)

    assert await engine.take("v") == {}
    assert (await engine.job("a")).worker == "w"
