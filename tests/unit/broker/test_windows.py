"""A sliding window never admits more than its rate, forgets nothing too early, and needs little memory."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from itertools import accumulate, pairwise
from random import Random

import pytest

from tqbroker_broker.rules import Rate
from tqbroker_broker.windows import LATE_MS, PARTS, SLOT_MS, Budget, Window


def test_a_window_admits_its_count_and_more_when_the_first_is_a_period_old() -> None:
    window = Window(Rate(3, 1000))
    window.add(0, 2)
    window.add(400, 1)

    assert (window.room(1004), window.opens_at(1004)) == (0, 1005)
    assert (window.room(1005), window.opens_at(1005)) == (2, 1005)
    assert window.room(1405) == 3


def test_a_lowered_rate_opens_when_enough_starts_have_passed() -> None:
    window = Window(Rate(2, 1000), [(0, 3), (500, 1)])

    assert window.opens_at(600) == 1005
    assert Window(Rate(2, 1000), [(0, 1), (500, 3)]).opens_at(600) == 1505


def test_a_window_is_longer_than_its_period_by_half_a_hundredth_and_by_50_ms_at_most() -> None:
    assert Window(Rate(1, 1000), [(0, 1)]).opens_at(0) == 1005
    assert Window(Rate(1, 86_400_000), [(0, 1)]).opens_at(0) == 86_400_050


@pytest.mark.parametrize("rate", [Rate(1, 250), Rate(10, 1000), Rate(5000, 1000), Rate(100_000, 60_000)])
def test_under_pressure_no_window_has_more_than_the_rate_and_at_most_2_percent_are_lost(rate: Rate) -> None:
    window, rng = Window(rate), Random(1)
    now, started = 0, list[tuple[int, int]]()
    while now < 20 * rate.period_ms:
        if count := min(window.room(now), rng.randint(1, max(1, rate.count // 50))):
            window.add(now, count)
            started.append((now, count))
        now += 1
        assert len(window.starts()) <= PARTS + 2

    for at, _ in started:
        assert sum(count for other, count in started if at <= other < at + rate.period_ms) <= rate.count
    assert sum(count for _, count in started) >= 20 * rate.count * 0.98


def spend(budget: Budget, until_ms: int, late: Callable[[], int] = lambda: 0) -> list[tuple[int, int]]:
    """Starts whatever may start, coming back when told, or some milliseconds later."""
    now, started = 0, list[tuple[int, int]]()
    while now < until_ms:
        if count := budget.room(now):
            budget.add(now, count)
            started.append((now, count))
        else:
            assert budget.opens_at(now) > now
        now = max(now, budget.opens_at(now)) + late()
    return started


def most_in(started: list[tuple[int, int]], period_ms: int) -> int:
    """The most starts that any window of this length has."""
    moments, sums = [at for at, _ in started], [0, *accumulate(count for _, count in started)]
    return max(sums[bisect_left(moments, at + period_ms)] - sums[bisect_left(moments, at)] for at in moments)


def test_starts_are_spread_evenly_over_the_period() -> None:
    started = spend(Budget([Rate(10, 1000)]), 2000)

    assert [count for _, count in started] == [1] * 20
    gaps = [after - before for (before, _), (after, _) in pairwise(started)]
    assert set(gaps) == {101}


def test_fast_starts_go_in_small_groups() -> None:
    started = spend(Budget([Rate(1000, 1000)]), 2000)

    assert max(count for _, count in started) <= 11
    assert all(after - before >= SLOT_MS for (before, _), (after, _) in pairwise(started))


@pytest.mark.parametrize("rate", [Rate(1, 1000), Rate(10, 1000), Rate(100, 1000), Rate(1000, 1000), Rate(100, 60_000)])
def test_what_comes_late_costs_less_than_2_percent_and_no_window_has_too_many(rate: Rate) -> None:
    rng, minutes = Random(2), rate.period_ms // 60_000 or 1
    started = spend(Budget([rate]), 300_000 * minutes, lambda: rng.choice((0, 0, 1, 2, 5)))

    assert most_in(started, rate.period_ms) <= rate.count
    total = sum(count for _, count in started)
    assert total >= rate.count * 300_000 * minutes // rate.period_ms * 0.98


def test_delays_on_the_way_bring_at_most_one_more_into_a_window() -> None:
    rng = Random(3)
    started = spend(Budget([Rate(10, 1000)]), 300_000, lambda: rng.choice((0, 1, 3)))

    assert most_in(sorted((at + rng.randint(0, 5), count) for at, count in started), 1000) <= 10
    assert most_in(sorted((at + rng.randint(0, 60), count) for at, count in started), 1000) <= 11


def test_after_a_break_the_pace_begins_anew() -> None:
    budget = Budget([Rate(10, 1000)], [(0, 1)])

    assert (budget.room(101 + LATE_MS), budget.room(102 + LATE_MS), budget.room(900)) == (1, 1, 1)
    assert Budget([Rate(100, 1000)], [(0, 1)]).room(60) == 5


def test_longer_windows_cap_what_the_shortest_spreads() -> None:
    started = spend(Budget([Rate(100, 60_000), Rate(10, 1000)]), 70_000)

    assert sum(count for at, count in started if at < 11_000) == 100
    assert most_in(started, 60_000) == 100
    assert next(at for at, _ in started if at >= 11_000) == 60_050


def test_one_moment_may_spend_what_it_has_in_several_steps() -> None:
    budget = Budget([Rate(1000, 1000)], [(0, 1)])
    budget.add(10, 4)
    left = budget.room(10)

    assert left > 0
    budget.add(10, left)
    assert (budget.room(10), budget.opens_at(10)) == (0, 10 + SLOT_MS)
