"""Every change of clocks of a decade: what is planned for fixed times fires once, what follows the clock follows it."""

from __future__ import annotations

from bisect import bisect_left
from datetime import UTC, datetime, time, timedelta
from functools import cache
from itertools import takewhile
from zoneinfo import ZoneInfo

import pytest

from tqbroker_broker.cron import instants
from tqbroker_broker.schedules import Schedule

ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",  # by half an hour
    "America/Santiago",  # at midnight
    "America/Havana",
    "Africa/Cairo",
    "America/Nuuk",
    "Africa/Casablanca",  # winter time in the month of Ramadan
    "Pacific/Auckland",
)
FIXED = ("30 2 * * *", "0,15,30,45 0-4 * * *", "10 0,23 * * *", "59 1-3 * * *")
FOLLOWING = ("*/15 2 * * *", "0 * * * *", "*/20 * * * *", "30 */2 * * *", "* 0-3 * * *")

MINUTE, HALF = timedelta(minutes=1), timedelta(hours=12)


@cache
def changes(zone: str) -> list[datetime]:
    """The first hours (UTC) after which a zone's clocks differ, from 2025 to 2034."""
    hours = [datetime(2025, 1, 1, tzinfo=UTC) + timedelta(hours=hour) for hour in range(24 * 3652)]
    offsets = [hour.astimezone(ZoneInfo(zone)).utcoffset() for hour in hours]
    return [hours[i] for i in range(1, len(hours)) if offsets[i] != offsets[i - 1]]


@cache
def minutes_around(zone: str, change: datetime) -> list[tuple[datetime, datetime]]:
    """Every minute (UTC) of the day around a change, with what clocks show."""
    minutes = [change - HALF + n * MINUTE for n in range(24 * 60)]
    return [(moment, moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)) for moment in minutes]


def fields(text: str) -> list[set[int]]:
    """The minutes and hours of a cron string of this module."""
    found = []
    for field, top in zip(text.split()[:2], (60, 24), strict=True):
        values: set[int] = set()
        for part in field.split(","):
            span, _, step = part.partition("/")
            first, _, last = span.partition("-")
            values |= set(range(top) if span == "*" else range(int(first), int(last or first) + 1))
            values = set(sorted(values)[:: int(step or 1)])
        found.append(values)
    return found


def planned(text: str, zone: str, change: datetime) -> list[datetime]:
    after, before = change - HALF, change + HALF
    moments = instants(Schedule("s", cron=text, zone=zone), ms(after) - 1, 0)
    return [at(moment) for moment in takewhile(lambda moment: moment < ms(before), moments)]


def ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def at(moment: int) -> datetime:
    return datetime.fromtimestamp(moment / 1000, UTC)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("text", FOLLOWING)
def test_what_is_planned_for_any_minute_or_hour_follows_the_clock(zone: str, text: str) -> None:
    minutes, hours = fields(text)
    assert len(changes(zone)) >= 10
    for change in changes(zone):
        around = minutes_around(zone, change)
        wanted = [moment for moment, here in around if here.minute in minutes and here.hour in hours]
        assert planned(text, zone, change) == wanted, change


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("text", FIXED)
def test_what_is_planned_for_fixed_times_fires_once_for_each(zone: str, text: str) -> None:
    minutes, hours = fields(text)
    for change in changes(zone):
        shown = {here: moment for moment, here in reversed(minutes_around(zone, change))}
        clock = sorted(shown)
        days = {here.date() for here in clock}
        times = (datetime.combine(day, time(hour, minute)) for day in days for hour in hours for minute in minutes)
        wanted = {shown[clock[bisect_left(clock, here)]] for here in times if clock[0] <= here <= clock[-1]}
        assert planned(text, zone, change) == sorted(wanted), change


def local(text: str, zone: str, year: int, month: int, day: int, days: int = 1) -> list[str]:
    """Local times with offsets at which a cron string fires on some days."""
    start = datetime(year, month, day, tzinfo=ZoneInfo(zone))
    end = (start.replace(tzinfo=None) + timedelta(days=days)).replace(tzinfo=ZoneInfo(zone))
    moments = instants(Schedule("s", cron=text, zone=zone), ms(start) - 1, 0)
    found = takewhile(lambda moment: moment < ms(end), moments)
    return [at(moment).astimezone(ZoneInfo(zone)).strftime("%H:%M%z") for moment in found]


def test_half_past_two_comes_once_a_day_in_berlin_whatever_clocks_do() -> None:
    assert local("30 2 * * *", "Europe/Berlin", 2027, 3, 27, 3) == ["02:30+0100", "03:00+0200", "02:30+0200"]
    assert local("30 2 * * *", "Europe/Berlin", 2027, 10, 30, 3) == ["02:30+0200", "02:30+0200", "02:30+0100"]


def test_several_times_in_a_gap_are_made_up_for_by_one_firing() -> None:
    assert local("0,15,30 2 * * *", "America/New_York", 2027, 3, 14) == ["03:00-0400"]
    assert local("0,15,30 2 * * *", "Australia/Lord_Howe", 2027, 10, 3) == ["02:30+1100"]


def test_every_half_hour_goes_on_through_both_hours_of_a_repeat() -> None:
    assert local("*/30 1 * * *", "America/New_York", 2027, 11, 7) == [
        "01:00-0400",
        "01:30-0400",
        "01:00-0500",
        "01:30-0500",
    ]
    assert local("*/30 1-2 * * *", "Australia/Lord_Howe", 2027, 4, 4) == [
        "01:00+1100",
        "01:30+1100",
        "01:30+1030",
        "02:00+1030",
        "02:30+1030",
    ]
