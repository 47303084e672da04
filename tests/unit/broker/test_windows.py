"""A sliding window never admits more than its rate, forgets nothing too early, and needs little memory."""

from __future__ import annotations

from random import Random

import pytest

from tqbroker_broker.rules import Rate
from tqbroker_broker.windows import PARTS, Window


def test_a_window_admits_its_count_and_more_when_the_first_is_a_period_old() -> None:
    window = Window(Rate(3, 1000))
    window.add(0, 2)
    window.add(400, 1)

    assert (window.room(999), window.opens_at(999)) == (0, 1000)
    assert (window.room(1000), window.opens_at(1000)) == (2, 1000)
    assert window.room(1400) == 3


def test_a_lowered_rate_opens_when_enough_starts_have_passed() -> None:
    window = Window(Rate(2, 1000), [(0, 3), (500, 1)])

    assert window.opens_at(600) == 1000
    assert Window(Rate(2, 1000), [(0, 1), (500, 3)]).opens_at(600) == 1500


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
