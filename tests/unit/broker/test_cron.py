"""When schedules fire, and what is made of firings whose time has passed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import pytest

from tqbroker_broker.cron import MAX_BURST, check, instants, next_after, plan, warnings
from tqbroker_broker.refusals import Invalid
from tqbroker_broker.schedules import Crontab, Misfire, Schedule, ScheduleState

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
BORN = 1_800_000_000_000  # 2027-01-15 08:00:00, a Friday


def shown(moment: int) -> str:
    return datetime.fromtimestamp(moment / 1000, UTC).strftime("%a %Y-%m-%d %H:%M")


def some(count: int = 3, after_ms: int = BORN, **fields: Any) -> list[str]:
    return [shown(moment) for moment in islice(instants(Schedule("s", **fields), after_ms, BORN), count)]


# -- cron strings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "first", "second"),
    [
        ("* * * * *", "Fri 2027-01-15 08:01", "Fri 2027-01-15 08:02"),
        ("*/15 * * * *", "Fri 2027-01-15 08:15", "Fri 2027-01-15 08:30"),
        ("0 8 * * *", "Sat 2027-01-16 08:00", "Sun 2027-01-17 08:00"),
        ("0 0 13 * FRI", "Fri 2027-01-22 00:00", "Fri 2027-01-29 00:00"),
        ("0 0 * * 7", "Sun 2027-01-17 00:00", "Sun 2027-01-24 00:00"),
        ("0 0 L * *", "Sun 2027-01-31 00:00", "Sun 2027-02-28 00:00"),
        ("0 0 * * MON#2", "Mon 2027-02-08 00:00", "Mon 2027-03-08 00:00"),
        ("5 4 1 jan,jul *", "Thu 2027-07-01 04:05", "Sat 2028-01-01 04:05"),
        ("0 0 29 2 *", "Tue 2028-02-29 00:00", "Sun 2032-02-29 00:00"),
        ("@hourly", "Fri 2027-01-15 09:00", "Fri 2027-01-15 10:00"),
        ("@daily", "Sat 2027-01-16 00:00", "Sun 2027-01-17 00:00"),
        ("@midnight", "Sat 2027-01-16 00:00", "Sun 2027-01-17 00:00"),
        ("@weekly", "Sun 2027-01-17 00:00", "Sun 2027-01-24 00:00"),
        ("@monthly", "Mon 2027-02-01 00:00", "Mon 2027-03-01 00:00"),
        ("@yearly", "Sat 2028-01-01 00:00", "Mon 2029-01-01 00:00"),
        ("@ANNUALLY", "Sat 2028-01-01 00:00", "Mon 2029-01-01 00:00"),
    ],
)
def test_a_cron_string_fires_as_cron_does(text: str, first: str, second: str) -> None:
    assert some(2, cron=text) == [first, second]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must have one of every_ms, cron and crontab"),
        ("* * * *", "five fields"),
        ("* * * * * *", "five fields"),
        ("@fortnightly", "@midnight"),
        ("60 * * * *", "the minute of the cron string is '60': it must be '*' or a list of numbers from 0 to 59"),
        ("* 24 * * *", "the hour"),
        ("* * 0 * *", "the day of month"),
        ("* * * 13 *", "jan to dec"),
        ("* * * * 8", "0 to 7 or sun to sat"),
        ("*/0 * * * *", "the minute"),
        ("5-1 * * * *", "the minute"),
        ("* * * * L", "the day of week"),
        ("x * * * *", "'X'"),
    ],
)
def test_a_cron_string_that_is_none_is_refused_with_what_is_allowed(text: str, words: str) -> None:
    with pytest.raises(Invalid) as refused:
        check(Schedule("s", cron=text))
    assert words in str(refused.value)


# -- crontabs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "first", "second"),
    [
        ({}, "Fri 2027-01-15 08:01", "Fri 2027-01-15 08:02"),
        ({"minute": "0", "hour": "*/3"}, "Fri 2027-01-15 09:00", "Fri 2027-01-15 12:00"),
        ({"minute": "0", "hour": "8-17/2"}, "Fri 2027-01-15 10:00", "Fri 2027-01-15 12:00"),
        ({"minute": "30", "hour": "22-2"}, "Fri 2027-01-15 22:30", "Fri 2027-01-15 23:30"),
        ({"minute": "0", "hour": "0", "day_of_week": "mon-fri"}, "Mon 2027-01-18 00:00", "Tue 2027-01-19 00:00"),
        ({"minute": "0", "hour": "0", "day_of_week": "fri-mon"}, "Sat 2027-01-16 00:00", "Sun 2027-01-17 00:00"),
        ({"minute": "0", "hour": "0", "day_of_week": "5-7"}, "Sat 2027-01-16 00:00", "Sun 2027-01-17 00:00"),
        ({"minute": "0", "hour": "0", "day_of_week": "0"}, "Sun 2027-01-17 00:00", "Sun 2027-01-24 00:00"),
        ({"minute": "0", "hour": "0", "day_of_week": "Sunday,3"}, "Sun 2027-01-17 00:00", "Wed 2027-01-20 00:00"),
        ({"minute": "0", "hour": "0", "day_of_month": "1-7,15-21"}, "Sat 2027-01-16 00:00", "Sun 2027-01-17 00:00"),
        ({"minute": "0", "hour": "0", "month_of_year": "feb-dec/3"}, "Mon 2027-02-01 00:00", "Tue 2027-02-02 00:00"),
        (
            {"minute": "0", "hour": "0", "day_of_month": "13", "day_of_week": "fri"},
            "Fri 2027-08-13 00:00",
            "Fri 2028-10-13 00:00",
        ),
    ],
)
def test_a_crontab_fires_as_celerys_does_with_both_days(fields: dict[str, str], first: str, second: str) -> None:
    assert some(2, crontab=Crontab(**fields)) == [first, second]


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("minute", "60"),
        ("minute", "-1"),
        ("minute", ""),
        ("minute", "1,"),
        ("minute", "5/15"),
        ("minute", "*/0"),
        ("hour", "24"),
        ("day_of_month", "0"),
        ("day_of_month", "32"),
        ("month_of_year", "13"),
        ("month_of_year", "ja"),
        ("day_of_week", "8"),
        ("day_of_week", "monkey"),
        ("day_of_week", "1-2-3"),
    ],
)
def test_a_field_of_a_crontab_that_is_none_is_refused(field: str, text: str) -> None:
    with pytest.raises(Invalid, match="of the crontab is"):
        check(Schedule("s", crontab=Crontab(**{field: text})))


@pytest.mark.parametrize(
    "fields",
    [
        {"cron": "0 0 31 2 *"},
        {"cron": "0 0 30,31 feb *"},
        {"crontab": Crontab("0", "0", "31", "2,4,6", "mon")},
        {"every_ms": 1000, "end_ms": BORN},
        {"cron": "@daily", "end_ms": BORN + 1},
    ],
)
def test_what_never_comes_never_fires_and_is_warned_of(fields: dict[str, Any]) -> None:
    schedule = Schedule("s", **fields)
    check(schedule)

    assert next_after(schedule, BORN, BORN) == 0
    assert "never fires" in warnings(schedule, BORN)[-1]


def test_the_end_of_time_is_no_error() -> None:
    for schedule in (Schedule("s", cron="@daily", zone="Pacific/Kiritimati"), Schedule("s", every_ms=1000)):
        assert list(instants(schedule, 253_402_300_799_999, 0)) == []


# -- intervals ---------------------------------------------------------------------------------------------------------


def test_a_period_counts_from_when_it_was_made_from_its_start_or_from_1970() -> None:
    born = BORN + 30_000
    assert next_after(Schedule("s", every_ms=60_000), born, born) == born + 60_000
    assert next_after(Schedule("s", every_ms=60_000), born + 150_000, born) == born + 180_000
    assert next_after(Schedule("s", every_ms=60_000, relative=True), born, born) == BORN + 60_000
    assert next_after(Schedule("s", every_ms=60_000, start_ms=born + 5000), born, born) == born + 5000
    assert next_after(Schedule("s", every_ms=60_000, start_ms=born - 50_000), born, born) == born + 10_000


def test_nothing_fires_before_its_start_or_at_its_end() -> None:
    fields = {"start_ms": BORN + HOUR_MS, "end_ms": BORN + 3 * HOUR_MS}
    assert some(9, cron="@hourly", **fields) == ["Fri 2027-01-15 09:00", "Fri 2027-01-15 10:00"]
    assert some(9, every_ms=HOUR_MS, **fields) == ["Fri 2027-01-15 09:00", "Fri 2027-01-15 10:00"]


def test_a_paused_schedule_has_no_next_firing() -> None:
    assert next_after(Schedule("s", cron="@daily", paused=True), BORN, BORN) == 0


# -- what is due -------------------------------------------------------------------------------------------------------


def state(now_ms: int = BORN, **fields: Any) -> ScheduleState:
    schedule = Schedule("s", **{"every_ms": 1000, **fields})
    return ScheduleState(schedule, "operator", BORN, next_after(schedule, now_ms, BORN))


def seconds(*numbers: int) -> tuple[int, ...]:
    return tuple(BORN + 1000 * number for number in numbers)


def test_what_is_due_in_time_fires_and_then_waits_for_the_next() -> None:
    for misfire in Misfire:
        assert plan(state(misfire=misfire), BORN + 1005, BORN) == (seconds(1), 0, BORN + 1000, BORN + 2000)


def test_of_missed_firings_the_latest_some_or_none_is_made_up_for() -> None:
    now = BORN + 7500
    assert plan(state(), now, now) == (seconds(7), 6, BORN + 7000, BORN + 8000)
    assert plan(state(misfire=Misfire.ALL), now, now).planned_ms == seconds(1, 2, 3, 4, 5, 6, 7)
    assert plan(state(misfire=Misfire.ALL, misfire_max=3), now, now) == (
        seconds(5, 6, 7),
        4,
        BORN + 7000,
        BORN + 8000,
    )
    assert plan(state(misfire=Misfire.SKIP), now, now) == ((), 7, BORN + 7000, BORN + 8000)


def test_what_was_planned_while_the_broker_was_at_work_is_not_missed() -> None:
    now, awake = BORN + 7500, BORN + 4000
    assert plan(state(), now, awake).planned_ms == seconds(4, 5, 6, 7)
    assert plan(state(misfire=Misfire.SKIP), now, awake) == (seconds(5, 6, 7), 4, BORN + 7000, BORN + 8000)


def test_nothing_fires_after_its_deadline() -> None:
    now = BORN + 7500
    assert plan(state(misfire=Misfire.ALL, deadline_ms=2500), now, now) == (
        seconds(5, 6, 7),
        4,
        BORN + 7000,
        BORN + 8000,
    )
    assert plan(state(cron="@daily", every_ms=0, deadline_ms=HOUR_MS), BORN + DAY_MS, BORN).planned_ms == ()


def test_years_of_missed_firings_are_counted_without_being_made() -> None:
    later = BORN + 3650 * DAY_MS
    found = plan(state(every_ms=100), later, later)
    assert (len(found.planned_ms), found.skipped) == (1, 3650 * DAY_MS // 100 - 1)

    minutely = plan(state(every_ms=0, cron="* * * * *", zone="Europe/Berlin"), later, later)
    assert minutely.planned_ms == (later,)
    assert minutely.skipped == 3650 * 24 * 60 - 1

    assert len(plan(state(every_ms=100), later, 0).planned_ms) == MAX_BURST


def test_the_end_of_a_schedule_counts_for_what_was_missed_too() -> None:
    now = BORN + 7500
    assert plan(state(misfire=Misfire.ALL, end_ms=BORN + 3000), now, now) == (seconds(1, 2), 0, BORN + 2000, 0)


# -- what is wrong or odd ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ["Europe/Berlim", "../../etc/passwd", "Europe", "\0", "/etc/localtime"])
def test_a_zone_that_there_is_not_is_refused(zone: str) -> None:
    with pytest.raises(Invalid, match="there is no time zone"):
        check(Schedule("s", cron="@daily", zone=zone))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "has 0 of them"),
        ({"cron": "@daily", "every_ms": 1000}, "has 2 of them"),
        ({"cron": "@daily", "relative": True}, "only a schedule with every_ms"),
        ({"cron": "@daily", "start_ms": 2, "end_ms": 2}, "ends before it starts"),
    ],
)
def test_a_schedule_that_contradicts_itself_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        check(Schedule("s", **fields))


def test_what_is_probably_not_meant_is_warned_of() -> None:
    both = Crontab("0", "0", "13", "*", "fri")
    assert warnings(Schedule("s", cron="@daily"), BORN) == []
    assert "days that are both" in warnings(Schedule("s", crontab=both), BORN)[0]
    assert "days of either" in warnings(Schedule("s", cron="0 0 13 * fri"), BORN)[0]
    assert warnings(Schedule("s", cron="30 2 * * *", zone="Europe/Berlin"), BORN) == [
        "on 2027-03-28 clocks in Europe/Berlin are put forward: what is planned for the time left out fires once,"
        " when it is over",
        "on 2027-10-31 clocks in Europe/Berlin are put back: a time that comes twice counts once",
    ]
    assert warnings(Schedule("s", cron="30 4 * * *", zone="Europe/Berlin"), BORN) == []
    assert warnings(Schedule("s", cron="*/5 * * * *", zone="Europe/Berlin"), BORN) == []
    assert "does not fire" in warnings(Schedule("s", cron="*/5 2 * * *", zone="Europe/Berlin"), BORN)[0]
    assert "no effect" in warnings(Schedule("s", every_ms=1000, zone="Europe/Berlin"), BORN)[0]


def test_ten_years_of_moments_are_found_quickly() -> None:
    began = datetime.now(UTC)
    count = sum(
        1 for _ in islice(instants(Schedule("s", cron="*/5 * * * *", zone="Europe/Berlin"), BORN, BORN), 200_000)
    )
    assert count == 200_000
    assert datetime.now(UTC) - began < timedelta(seconds=5)
