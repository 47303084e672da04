"""When a crontab is due, by the clock on the wall of one zone: the broker's rules, for trying out."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import NamedTuple

MOST_DAYS = 366 * 41
"""How far to look: 29 February falls on a given day of the week within 40 years, also around 2100."""

_MINUTE = timedelta(minutes=1)
_DAY = timedelta(days=1)


class Times(NamedTuple):
    """The numbers of the five fields; Sunday is 0. `fixed`: neither minute nor hour is written with "*"."""

    minute: frozenset[int]
    hour: frozenset[int]
    day_of_month: frozenset[int]
    month_of_year: frozenset[int]
    day_of_week: frozenset[int]
    fixed: bool = True


def next_after(times: Times, after: datetime, zone: tzinfo) -> datetime:
    """The first moment behind `after` (aware) at which all fields match, in UTC.

    Fixed times are due once on each day: one that the clock skips when the gap is over, one that it shows twice the
    first time. Others follow the clock. Raises ValueError when there is none within MOST_DAYS.
    """
    day = after.astimezone(zone).date()
    for _ in range(MOST_DAYS):
        if _fits(times, day):
            for moment in _moments(times, day, zone):
                if moment > after:
                    return moment
        day += _DAY
    raise ValueError("this crontab is never due: its days do not come in its months")


def _fits(times: Times, day: date) -> bool:
    return (
        day.month in times.month_of_year
        and day.day in times.day_of_month
        and day.isoweekday() % 7 in times.day_of_week
    )  # fmt: skip


def _moments(times: Times, day: date, zone: tzinfo) -> Iterable[datetime]:
    """Those of one day, in order."""
    start, end = _at(day, 0, 0, zone), _at(day + _DAY, 0, 0, zone)
    planned = [_at(day, hour, minute, zone) for hour in sorted(times.hour) for minute in sorted(times.minute)]
    if start.utcoffset() == end.utcoffset():
        return (at.astimezone(UTC) for at in planned)
    if times.fixed:
        return sorted({_first(at) for at in planned})
    first, last = start.astimezone(UTC), end.astimezone(UTC)
    passed = (first + number * _MINUTE for number in range((last - first) // _MINUTE))
    return (at for at in passed if _shows(at.astimezone(zone), times))


def _shows(at: datetime, times: Times) -> bool:
    return at.hour in times.hour and at.minute in times.minute


def _first(at: datetime) -> datetime:
    """When the clock shows this for the first time; if it never does, when it has jumped over it."""
    moment = at.astimezone(UTC)
    if moment.astimezone(at.tzinfo).replace(tzinfo=None) == at.replace(tzinfo=None):
        return moment
    before = at.replace(fold=1).astimezone(UTC)
    while before.astimezone(at.tzinfo).utcoffset() != moment.astimezone(at.tzinfo).utcoffset():
        before += _MINUTE
    return before


def _at(day: date, hour: int, minute: int, zone: tzinfo) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
