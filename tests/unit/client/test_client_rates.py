"""Rate limits as people write them."""

from __future__ import annotations

from typing import Any

import pytest

from tqbroker.rates import parse_rates


@pytest.mark.parametrize(
    ("written", "windows"),
    [
        (None, []),
        ("", []),
        (0, []),
        ("10/s", [(10, 1000)]),
        ("100/m", [(100, 60_000)]),
        ("5/h", [(5, 3_600_000)]),
        ("1000/d", [(1000, 86_400_000)]),
        (10, [(10, 1000)]),
        ("10", [(10, 1000)]),
        (0.5, [(1, 2000)]),
        ("0.1/m", [(1, 600_000)]),
        ("1.5/s", [(3, 2000)]),
        ("10/s 100/m", [(10, 1000), (100, 60_000)]),
        ("10/s, 100/m", [(10, 1000), (100, 60_000)]),
        (["10/s", 5], [(10, 1000), (5, 1000)]),
    ],
)
def test_a_rate_limit_is_so_many_starts_in_any_window(written: Any, windows: list[tuple[int, int]]) -> None:
    assert [tuple(rate) for rate in parse_rates(written)] == windows


@pytest.mark.parametrize("written", ["x", "10/y", "/s", "-1/s", -1, True, False, {}, [[]], "0/s", 1e9, float("nan")])
def test_what_is_no_rate_is_refused_with_what_to_write(written: Any) -> None:
    with pytest.raises(ValueError, match='write "10/s"'):
        parse_rates(written)
