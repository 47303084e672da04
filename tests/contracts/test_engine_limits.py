"""What every engine must do with limits: who sets them, what they count, and never too many at once."""

from __future__ import annotations

import pytest
from tests.contracts.harness import TTL, EngineUnderTest, head_with

from tqbroker_broker.attempts import Verdict
from tqbroker_broker.questions import Redrive
from tqbroker_broker.records import Head, text_key
from tqbroker_broker.rules import LimitRule, LimitState, Rate

MAIL = head_with(limits=["mail"])


async def limit(engine: EngineUnderTest, name: str, concurrency: int = 0, *rates: Rate, operator: bool = True) -> None:
    rule = LimitRule(name, concurrency, rates)
    await engine.verbs.put_limits([rule], [], engine.now, operator=operator)


async def fill(engine: EngineUnderTest, count: int, head: Head = MAIL, prefix: str = "") -> None:
    await engine.put(*(f"{prefix}{number:04}" for number in range(count)), head=head)


# -- rules -------------------------------------------------------------------------------------------------------------


async def test_limits_are_listed_by_name_with_who_set_them(engine: EngineUnderTest) -> None:
    await limit(engine, "mail", 2)
    await limit(engine, "api", 0, Rate(10, 1000), operator=False)

    assert engine.verbs.limits() == [
        LimitState(LimitRule("api", 0, (Rate(10, 1000),)), operator=False, running=0),
        LimitState(LimitRule("mail", 2), operator=True, running=0),
    ]


async def test_limits_survive_a_restart(engine: EngineUnderTest) -> None:
    await limit(engine, "mail", 2, Rate(10, 1000), Rate(100, 60_000))
    before = engine.verbs.limits()
    await engine.restart()

    assert engine.verbs.limits() == before


async def test_an_app_changes_nothing_that_an_operator_has_set(engine: EngineUnderTest) -> None:
    await limit(engine, "mail", 2)
    await limit(engine, "mail", 5, operator=False)
    await engine.verbs.put_limits([], ["mail"], engine.now, operator=False)
    await engine.restart()
    await limit(engine, "mail", 5, operator=False)

    assert engine.verbs.limits() == [LimitState(LimitRule("mail", 2), operator=True, running=0)]


async def test_an_operator_changes_what_an_app_has_set_and_gives_it_back(engine: EngineUnderTest) -> None:
    await limit(engine, "mail", 5, operator=False)
    await limit(engine, "mail", 2)
    assert engine.verbs.limits() == [LimitState(LimitRule("mail", 2), operator=True, running=0)]

    await engine.verbs.put_limits([], ["mail", "nothing"], engine.now)
    await limit(engine, "mail", 5, operator=False)

    assert engine.verbs.limits() == [LimitState(LimitRule("mail", 5), operator=False, running=0)]


async def test_an_operators_rule_that_admits_everything_stays(engine: EngineUnderTest) -> None:
    await limit(engine, "mail")
    await limit(engine, "mail", 1, operator=False)
    await fill(engine, 5)
    await engine.join()

    assert len(await engine.take()) == 5


# -- how many at once --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("mail", MAIL),
        ("task:tasks.add", head_with()),
        ("queue:default", head_with()),
        ("ma*", MAIL),
        ("*", head_with()),
    ],
)
async def test_no_more_than_a_limit_admits_run_at_once(engine: EngineUnderTest, name: str, head: Head) -> None:
    await limit(engine, name, 2)
    await fill(engine, 5, head)
    await engine.join()
    await engine.join("v")

    tokens = await engine.take(slots=1)
    assert list(await engine.take("v")) == ["0001"]
    assert await engine.take() == {}
    await engine.succeed("w", tokens.values())

    assert list(await engine.take()) == ["0002"]


async def test_a_limit_spans_queues_priorities_and_tasks(engine: EngineUnderTest) -> None:
    await limit(engine, "api", 2)
    await engine.put("a", head=head_with(limits=["api"]))
    await engine.put("b", head=head_with(limits=["api"], priority=5, task="tasks.slow"))
    await engine.put("c", head=head_with(limits=["api"], queue="mail"))
    await engine.join()

    got = list(await engine.take()) + list(await engine.take(queue="mail"))
    assert got == ["b", "a"]


async def test_a_job_needs_room_under_all_its_limits(engine: EngineUnderTest) -> None:
    await limit(engine, "one", 1)
    await limit(engine, "two", 2)
    await engine.put("a", "b", head=head_with(limits=["one", "two"]))
    await engine.put("c", "d", head=head_with(limits=["two"]))
    await engine.join()

    assert list(await engine.take()) == ["a", "c"]


async def test_jobs_under_a_full_limit_keep_nobody_else_waiting(engine: EngineUnderTest) -> None:
    await limit(engine, "mail", 1)
    await fill(engine, 3)
    await engine.put("plain")
    await engine.join()

    assert list(await engine.take()) == ["0000", "plain"]


async def test_each_name_under_a_pattern_counts_by_itself(engine: EngineUnderTest) -> None:
    await limit(engine, "user:*", 1)
    await engine.put("a", "b", head=head_with(limits=["user:1"]))
    await engine.put("c", "d", head=head_with(limits=["user:2"]))
    await engine.join()

    assert list(await engine.take()) == ["a", "c"]
    assert engine.verbs.limits()[0].running == 2


async def test_the_longest_rule_that_fits_is_the_one(engine: EngineUnderTest) -> None:
    await limit(engine, "user:*", 1)
    await limit(engine, "user:big*", 2)
    await limit(engine, "user:biggest", 3)
    for name in ("user:small", "user:big", "user:biggest"):
        await fill(engine, 5, head_with(limits=[name]), f"{name} ")
    await engine.join()

    taken = [name.split()[0] for name in await engine.take()]
    assert [taken.count(name) for name in ("user:small", "user:big", "user:biggest")] == [1, 2, 3]


@pytest.mark.parametrize("verdict", [Verdict.FAILED, Verdict.RETRY, Verdict.LOST, Verdict.REQUEUED, Verdict.CANCELLED])
async def test_every_ending_makes_room(engine: EngineUnderTest, verdict: Verdict) -> None:
    await limit(engine, "mail", 1)
    await fill(engine, 2)
    await engine.join()
    await engine.end("w", (await engine.take())["0000"], verdict, retry_in=60)

    assert len(await engine.take()) == 1


async def test_what_is_given_back_and_what_a_lost_worker_had_makes_room(engine: EngineUnderTest) -> None:
    await limit(engine, "mail", 1)
    await fill(engine, 1)
    await engine.join()
    await engine.verbs.release("w", list((await engine.take()).values()), engine.now)
    assert len(await engine.take()) == 1
    engine.advance(TTL)
    await engine.verbs.expire(engine.now, 10)
    await engine.join("v")

    assert len(await engine.take("v")) == 1


async def test_a_cancel_mark_makes_no_room_until_the_job_ends(engine: EngineUnderTest) -> None:
    await limit(engine, "mail", 1)
    await fill(engine, 2)
    await engine.join()
    tokens = await engine.take()
    await engine.cancel("0000")
    assert await engine.take() == {}

    await engine.end("w", tokens["0000"], Verdict.CANCELLED)

    assert list(await engine.take()) == ["0001"]


async def test_a_limit_changed_holds_from_the_next_hand_out_on(engine: EngineUnderTest) -> None:
    await fill(engine, 10)
    await engine.join()
    first = await engine.take(slots=3)
    await limit(engine, "mail", 2)
    assert engine.verbs.limits()[0].running == 3
    await engine.succeed("w", [first["0000"]])
    assert await engine.take() == {}

    await limit(engine, "mail", 4)
    assert len(await engine.take()) == 2
    await engine.verbs.put_limits([], ["mail"], engine.now)
    assert len(await engine.take()) == 5


async def test_a_job_that_waits_for_a_limit_says_for_which(engine: EngineUnderTest) -> None:
    await limit(engine, "mail", 1)
    await fill(engine, 2)
    assert (await engine.job("0001")).held_by == ""
    await engine.join()
    await engine.take()

    assert (await engine.job("0001")).held_by == "limit mail"


async def test_after_a_restart_a_limit_waits_until_its_leases_are_known_again(engine: EngineUnderTest) -> None:
    await limit(engine, "mail", 1)
    await fill(engine, 1)
    await engine.join()
    tokens = await engine.take()
    await engine.restart()
    await engine.join("v")
    await engine.put("new", head=MAIL)
    await engine.put("plain")
    assert list(await engine.take("v")) == ["plain"]
    assert (await engine.job("new")).held_by == "recovering"

    await engine.join(held=tokens)
    assert (await engine.job("new")).held_by == "limit mail"
    assert await engine.take("v") == {}
    await engine.succeed("w", tokens.values())

    assert list(await engine.take("v")) == ["new"]


async def test_a_redriven_job_counts_again(engine: EngineUnderTest) -> None:
    await limit(engine, "mail", 1)
    await fill(engine, 2)
    await engine.join()
    await engine.end("w", (await engine.take())["0000"], Verdict.FAILED)
    tokens = await engine.take()
    await engine.verbs.edit([text_key("0000")], Redrive(), engine.now)
    assert await engine.take() == {}

    await engine.succeed("w", tokens.values())

    assert list(await engine.take()) == ["0000"]
