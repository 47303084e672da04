"""Times as people write them, to milliseconds: seconds, timedeltas, moments."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

MAX_SECONDS = 10_000_000_000
"""About 300 years: what lies further away is a mistake in the unit."""

Moment = datetime | str
"""A point in time: an aware datetime, a naive one (in the app's timezone, UTC by default), or its ISO text."""

Span = float | timedelta
"""A length of time: seconds, or a timedelta."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_SPAN = "seconds as a number, or a timedelta"


def span_ms(name: str, value: Any, allowed: str = _SPAN) -> int:
    """Milliseconds of a length of time, rounded up so that nothing starts or ends early. 0 is the least."""
    seconds = seconds_of(name, value, allowed)
    if seconds < 0:
        raise ValueError(f"{name}={value!r} is not allowed: give 0 or more {allowed}")
    return -int(-seconds * 1000 // 1)


def seconds_of(name: str, value: Any, allowed: str = _SPAN) -> float:
    """Seconds of a length of time, which may be negative. Raises ValueError for what is none, or too long."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or seconds != seconds:
        raise ValueError(f"{name}={value!r:.200} is not allowed: give {allowed}")
    if abs(seconds) >= MAX_SECONDS:
        raise ValueError(f"{name}={value!r:.200} is not allowed: give less than {MAX_SECONDS} seconds")
    return seconds


def moment_ms(name: str, value: Any, zone: tzinfo) -> int:
    """Milliseconds since 1970 UTC, rounded up: nothing starts early. A naive datetime is one of `zone`."""
    allowed = "seconds, a timedelta, or a datetime" if name == "expires" else "a datetime"
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone)
        return max(1, -((_EPOCH - moment) // _MILLISECOND))
    except (AttributeError, TypeError, ValueError, OverflowError):
        raise ValueError(f"{name}={value!r:.200} is not allowed: give {allowed} (aware, or naive for {zone})") from None
