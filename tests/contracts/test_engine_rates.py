"""What every engine must do with rates: never too many starts in any window of time, and as many as that allows."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from tests.contracts.harness import EngineUnderTest, head_with

from tqbroker_broker.attempts import Want
from tqbroker_broker.records import Head
from tqbroker_broker.rules import LimitRule, Rate

ALL = frozenset({"tasks.add", "tasks.slow"})
MAIL = head_with(limits=["mail"])


async def limit(engine: EngineUnderTest, name: str, concurrency: int = 0, *rates: Rate) -> None:
    await engine.verbs.put_limits([LimitRule(name, concurrency, rates)], [], engine.now)


async def fill(engine: EngineUnderTest, count: int, head: Head = MAIL, prefix: str = "") -> None:
    await engine.put(*(f"{prefix}{number:04}" for number in range(count)), head=head)


async def drain(engine: EngineUnderTest, seconds: float, step: float = 0.05, slots: int = 100) -> list[float]:
    """The moments at which jobs started, while workers always have room."""
    starts: list[float] = []
    for _ in range(round(seconds / step)):
        tokens = await engine.take(slots=slots)
        starts += [engine.now.mono] * len(tokens)
        if tokens:
            await engine.succeed("w", tokens.values())
        engine.advance(step)
        engine.extend()
    return starts


def most_within(starts: list[float], seconds: float) -> int:
    """The most starts in any window of this length."""
    return max(sum(first <= each < first + seconds - 1e-6 for each in starts) for first in starts)


@pytest.mark.parametrize("rates", [(Rate(10, 1000),), (Rate(10, 1000), Rate(50, 10_000)), (Rate(3, 7000),)])
async def test_no_window_ever_has_more_starts_than_a_rate_admits(
    engine: EngineUnderTest, rates: tuple[Rate, ...]
) -> None:
    await limit(engine, "mail", 0, *rates)
    await fill(engine, 300)
    await engine.join()

    starts = await drain(engine, 25)

    for rate in rates:
        assert most_within(starts, rate.period_ms / 1000) <= rate.count


async def test_a_rate_is_used_to_within_two_percent_over_a_minute(engine: EngineUnderTest) -> None:
    await limit(engine, "mail", 0, Rate(10, 1000))
    await fill(engine, 700)
    await engine.join()

    started, until = 0, engine.now.mono + 60
    while engine.now.mono < until:
        answer = await engine.verbs.lease([Want("w", ("default",), ALL, 9, 9)], engine.now)
        tokens = [token for batch in answer.batches[0] for token in batch.tokens]
        started += len(tokens)
        await engine.succeed("w", tokens)
        engine.advance(answer.again_in or 0.001)
        engine.extend()

    assert 588 <= started <= 600


async def test_starts_under_a_rate_are_spread_evenly(engine: EngineUnderTest) -> None:
    await limit(engine, "mail", 0, Rate(10, 1000))
    await fill(engine, 30)
    await engine.join()

    starts = await drain(engine, 2, 0.001)

    assert len(starts) == 20
    assert all(0.1 <= after - before < 0.104 for before, after in pairwise(starts))


async def test_of_several_rates_the_shortest_gives_the_pace(engine: EngineUnderTest) -> None:
    await limit(engine, "mail", 0, Rate(10, 60_000), Rate(5, 1000))
    await fill(engine, 30)
    await engine.join()

    starts = await drain(engine, 3, 0.01)

    assert len(starts) == 10
    assert 1.8 < starts[-1] - starts[0] < 2


async def test_fast_starts_go_in_small_groups(engine: EngineUnderTest) -> None:
    await limit(engine, "mail", 0, Rate(1000, 1000))
    await fill(engine, 500)
    await engine.join()

    counts = Counter(await drain(engine, 0.3, 0.002))

    assert max(counts.values()) <= 13
    assert sum(counts.values()) >= 290


async def test_a_rate_holds_over_restarts(engine: EngineUnderTest) -> None:
    await limit(engine, "mail", 0, Rate(10, 1000), Rate(60, 10_000))
    await fill(engine, 200)
    starts: list[float] = []
    for _ in range(6):
        await engine.join()
        starts += await drain(engine, 1.3)
        await engine.leave()
        await engine.restart()
        engine.advance(0.1)

    assert most_within(starts, 1) <= 10
    assert most_within(starts, 10) <= 60
    assert len(starts) >= 20


async def test_a_step_of_the_wall_clock_admits_nothing_more(engine: EngineUnderTest) -> None:
    await limit(engine, "mail", 0, Rate(5, 10_000))
    await fill(engine, 20)
    await engine.join()
    first = len(await engine.take())
    engine.advance(1, wall=3600)
    second = len(await engine.take())
    engine.advance(1, wall=-7200)
    third = len(await engine.take())

    assert first + second + third <= 5


async def test_a_rate_is_one_over_workers_queues_and_tasks(engine: EngineUnderTest) -> None:
    await limit(engine, "api", 0, Rate(1, 1000))
    await fill(engine, 3, head_with(limits=["api"]), "a")
    await fill(engine, 3, head_with(limits=["api"], queue="mail"), "b")
    await fill(engine, 3, head_with(limits=["api"], task="tasks.slow"), "c")
    await engine.join()
    await engine.join("v")

    taken = [*await engine.take(), *await engine.take("v", queue="mail"), *await engine.take("v")]
    assert len(taken) == 1


async def test_each_name_under_a_pattern_has_its_own_rate(engine: EngineUnderTest) -> None:
    await limit(engine, "user:*", 0, Rate(1, 1000))
    await fill(engine, 5, head_with(limits=["user:1"]), "a")
    await fill(engine, 5, head_with(limits=["user:2"]), "b")
    await engine.join()

    assert sorted(await engine.take()) == ["a0000", "b0000"]


async def test_a_job_spends_of_all_its_rates(engine: EngineUnderTest) -> None:
    await limit(engine, "wide", 0, Rate(3, 1000))
    await limit(engine, "narrow", 0, Rate(1, 1000))
    await fill(engine, 3, head_with(limits=["wide", "narrow"]), "a")
    await fill(engine, 3, head_with(limits=["wide"]), "b")
    await engine.join()

    taken: list[list[str]] = []
    for _ in range(4):
        taken.append(list(await engine.take()))
        engine.advance(0.34)
    assert taken == [["a0000"], ["b0000"], ["b0001"], ["a0001"]]


async def test_a_hand_out_tells_when_a_rate_admits_more(engine: EngineUnderTest) -> None:
    await limit(engine, "mail", 0, Rate(2, 10_000))
    await fill(engine, 2)
    await engine.join()
    await engine.take(slots=2)
    engine.advance(4)

    wait = await engine.again_in()
    assert wait == pytest.approx(1.05, abs=0.01)
    engine.advance(wait)
    assert list(await engine.take()) == ["0001"]
    engine.advance(6)
    assert await engine.again_in() == 0.0


async def test_a_worker_without_a_free_slot_is_told_nothing(engine: EngineUnderTest) -> None:
    await limit(engine, "mail", 0, Rate(1, 10_000))
    await fill(engine, 2)
    await engine.join()
    await engine.take()

    assert await engine.again_in(slots=0) == 0.0


async def test_a_beat_sees_that_a_rate_admits_more(engine: EngineUnderTest) -> None:
    await limit(engine, "mail", 0, Rate(1, 10_000))
    await fill(engine, 2)
    await engine.join()
    await engine.take()
    assert (await engine.job("0001")).held_by == "limit mail"

    engine.advance(11)
    engine.verbs.beat(engine.now)

    assert (await engine.job("0001")).held_by == ""


async def test_a_job_that_waits_for_a_rate_says_for_which(engine: EngineUnderTest) -> None:
    await limit(engine, "mail", 0, Rate(1, 10_000))
    await fill(engine, 2)
    assert (await engine.job("0001")).held_by == ""
    await engine.join()
    await engine.take()
    await engine.take()

    assert (await engine.job("0001")).held_by == "limit mail"


async def test_jobs_under_a_rate_are_not_taken_ahead_of_free_slots(engine: EngineUnderTest) -> None:
    await limit(engine, "mail", 0, Rate(10_000, 1000))
    await fill(engine, 5)
    await fill(engine, 5, head_with(), "plain ")
    await engine.join()
    want = Want("w", ("default",), ALL, 2, 10, fast=ALL)

    (rated, plain) = await engine.lease(want)

    assert (len(rated.ids), len(plain.ids)) == (2, 5)


async def test_a_rate_changed_holds_from_the_next_hand_out_on(engine: EngineUnderTest) -> None:
    await limit(engine, "mail", 0, Rate(1, 60_000))
    await fill(engine, 20)
    await engine.join()
    await drain(engine, 1)
    await limit(engine, "mail", 0, Rate(5, 1000))

    starts = await drain(engine, 2)

    assert 5 <= len(starts) <= 11
    await engine.verbs.put_limits([], ["mail"], engine.now)
    assert len(await engine.take()) == 19 - len(starts)


async def test_jobs_under_a_rate_are_handed_out_as_slow_and_others_as_they_are(engine: EngineUnderTest) -> None:
    await limit(engine, "mail", 0, Rate(10_000, 1000))
    await limit(engine, "api", 5)
    await fill(engine, 2)
    await engine.put("a", head=head_with(limits=["api"]))
    await engine.put("b")
    await engine.join()

    batches = await engine.lease(Want("w", ("default",), ALL, 10, 10, ALL))
    assert [(len(batch.ids), batch.slow) for batch in batches] == [(2, True), (1, False), (1, False)]


async def test_the_hand_out_that_spends_the_last_start_says_when_there_is_another(engine: EngineUnderTest) -> None:
    await limit(engine, "mail", 0, Rate(1, 1000))
    await fill(engine, 3)
    await engine.join()

    first = await engine.verbs.lease([Want("w", ("default",), ALL, 9, 9)], engine.now)
    assert sum(len(batch.ids) for batch in first.batches[0]) == 1
    assert first.again_in == pytest.approx(1.01, abs=0.001)
    engine.advance(first.again_in)
    second = await engine.verbs.lease([Want("w", ("default",), ALL, 9, 9)], engine.now)
    assert sum(len(batch.ids) for batch in second.batches[0]) == 1
