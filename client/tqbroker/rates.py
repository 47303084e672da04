"""Rate limits as people write them: "10/s", "100/m", "5/h", a number a second, or several of them at once."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

_PERIODS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_RATE = re.compile(r"(\d+(?:\.\d+)?)(?:/([smhd]))?")
MAX_COUNT = 1_000_000
MAX_RATES = 8

_ALLOWED = 'write "10/s", "100/m", "5/h", "1000/d", a number a second, or several: "10/s 100/m"'


class Rate(NamedTuple):
    """At most `starts` in any window of `period_ms`."""

    starts: int
    period_ms: int


def parse_rates(value: Any) -> tuple[Rate, ...]:
    """The windows of a rate limit; none for None, 0 and "". Raises ValueError saying what to write.

    Less than one a period becomes one in a longer one: 0.5 is one in two seconds. A count with a fraction is carried
    over to whole numbers in a longer window: "1.5/s" is 3 in two seconds.
    """
    if value is None or value == "" or (value == 0 and not isinstance(value, bool)):
        return ()
    rates = tuple(_rate(part, value) for part in _parts(value))
    if not rates or len(rates) > MAX_RATES:
        raise _refused(value, f"1 to {MAX_RATES} rates are allowed")
    return rates


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, str):
        return value.replace(",", " ").split()
    return value if isinstance(value, (list, tuple)) else [value]


def _rate(part: Any, value: Any) -> Rate:
    if isinstance(part, bool) or not isinstance(part, (int, float, str)):
        raise _refused(value)
    match = _RATE.fullmatch(part if isinstance(part, str) else f"{part:.6f}".rstrip("0").rstrip("."))
    if match is None or float(match[1]) <= 0:
        raise _refused(value)
    period = _PERIODS[match[2] or "s"]
    count = float(match[1])
    if count > MAX_COUNT:
        raise _refused(value, f"at most {MAX_COUNT} a window are allowed")
    return _whole(count, period)


def _whole(count: float, period: int) -> Rate:
    """The same rate with a whole count, in the shortest window of at most ten periods that has one."""
    if count < 1:
        return Rate(1, -int(-period / count // 1))
    for times in range(1, 11):
        if abs(count * times - round(count * times)) < 1e-9:
            return Rate(round(count * times), period * times)
    return Rate(int(count), period)


def _refused(value: Any, why: str = "") -> ValueError:
    return ValueError(f"rate limit {value!r:.200} is not allowed: {why}{'; ' if why else ''}{_ALLOWED}")
