"""When a crontab is due, by the clock on the wall of one zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple

MOST_DAYS = 366 * 41
"""How far to look: 29 February falls on a given day of the week within 40 years, also around 2100."""


class Times(NamedTuple):
    """The numbers of the five fields; Sunday is 0."""

    minute: frozenset[int]
    hour: frozenset[int]
    day_of_month: frozenset[int]
    month_of_year: frozenset[int]
    day_of_week: frozenset[int]


def next_after(times: Times, after: datetime, zone: tzinfo) -> datetime:
    """The first moment behind `after` (aware) at which all fields match, in UTC.

    A time that the clock skips in spring is moved behind the gap; one that it shows twice in autumn counts the first
    time. Raises ValueError when there is none within MOST_DAYS.
    """
    local = after.astimezone(zone)
    day = local.date()
    for _ in range(MOST_DAYS):
        if _fits(times, day.month, day.day, day.isoweekday() % 7):
            for hour in sorted(times.hour):
                for minute in sorted(times.minute):
                    moment = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone).astimezone(UTC)
                    if moment > after:
                        return moment
        day += timedelta(days=1)
    raise ValueError("this crontab is never due: its days do not come in its months")


def _fits(times: Times, month: int, day: int, weekday: int) -> bool:
    return month in times.month_of_year and day in times.day_of_month and weekday in times.day_of_week
