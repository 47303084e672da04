"""Kinds of schedules: what Celery accepts means the same, and what it refuses is refused with what to write."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tqbroker import App
from tqbroker.exceptions import ImproperlyConfigured
from tqbroker.schedule_values import Fields, When
from tqbroker.schedules import ParseException, cron, crontab, maybe_schedule, schedule, solar

ACCEPTED = [
    ("minute", "*", range(60), "*"),
    ("minute", 7, [7], "7"),
    ("minute", "7", [7], "7"),
    ("minute", "*/15", [0, 15, 30, 45], "*/15"),
    ("minute", "*/7", [0, 7, 14, 21, 28, 35, 42, 49, 56], "*/7"),
    ("minute", "*/30", [0, 30], "*/30"),
    ("minute", "1,13,30-45,50-59/2", [1, 13, *range(30, 46), 50, 52, 54, 56, 58], "1,13,30-45,50-59/2"),
    ("minute", "55-5", [55, 56, 57, 58, 59, 0, 1, 2, 3, 4, 5], "0-5,55-59"),
    ("minute", "50-10/10", [50, 0, 10], "0,10,50"),
    ("minute", {0, 15, 30, 45}, [0, 15, 30, 45], "0-45/15"),
    ("minute", [5, 10], [5, 10], "5,10"),
    ("minute", (5, 10), [5, 10], "5,10"),
    ("minute", frozenset({5}), [5], "5"),
    ("minute", range(5, 8), [5, 6, 7], "5-7"),
    ("minute", (n for n in (1, 2)), [1, 2], "1,2"),
    ("hour", "0,8-17/2", [0, 8, 10, 12, 14, 16], "0,8-17/2"),
    ("hour", "8-17/2", [8, 10, 12, 14, 16], "8-17/2"),
    ("hour", "*/3", range(0, 24, 3), "*/3"),
    ("day_of_week", "sunday", [0], "0"),
    ("day_of_week", "Sun", [0], "0"),
    ("day_of_week", "mon-fri", range(1, 6), "1-5"),
    ("day_of_week", "fri-mon", [5, 6, 0, 1], "0,1,5,6"),
    ("day_of_week", "mon,wed,fri", [1, 3, 5], "1-5/2"),
    ("day_of_week", "*/2", [0, 2, 4, 6], "*/2"),
    ("day_of_month", "1-7,15-21", [*range(1, 8), *range(15, 22)], "1-7,15-21"),
    ("day_of_month", "2-30/2", range(2, 31, 2), "2-30/2"),
    ("day_of_month", "*/10", [1, 11, 21, 31], "*/10"),
    ("month_of_year", "*/3", [1, 4, 7, 10], "*/3"),
    ("month_of_year", "2-12/2", range(2, 13, 2), "2-12/2"),
    ("month_of_year", "jan-mar", [1, 2, 3], "1-3"),
]
REFUSED = [
    ("minute", "60", "60 is out of range"),
    ("minute", 60, "60 is out of range"),
    ("minute", -1, "-1 is out of range"),
    ("minute", "-1", "'' is no number"),
    ("minute", "", "a part between commas is empty"),
    ("minute", "1,,2", "a part between commas is empty"),
    ("minute", "*/0", "the step '0' is no number above 0"),
    ("minute", "*/", "the step '' is no number above 0"),
    ("minute", "1-5/", "the step '' is no number above 0"),
    ("minute", "5/10", "a step stands behind '*' or a range, as in '5-59/10'"),
    ("minute", "*5", "'*5' is no number"),
    ("minute", "mon", "'mon' is no number"),
    ("minute", "٣", "'٣' is no number"),
    ("minute", [], "it names no value"),
    ("minute", ["5"], "'5' is no int"),
    ("minute", [True], "True is no int"),
    ("hour", 24, "24 is out of range"),
    ("hour", "0-24", "24 is out of range"),
    ("day_of_week", 7, "7 is out of range"),
    ("day_of_week", "mo", "'mo' is no number or name"),
    ("day_of_week", "xyz", "numbers from 0 to 6 or names (sun to sat)"),
    ("day_of_month", 0, "0 is out of range"),
    ("day_of_month", "32", "32 is out of range"),
    ("month_of_year", 13, "13 is out of range"),
    ("month_of_year", "0", "0 is out of range"),
]


@pytest.mark.parametrize(("field", "given", "numbers", "text"), ACCEPTED, ids=lambda value: str(value)[:20])
def test_a_field_means_what_it_means_in_celery(field: str, given: Any, numbers: Any, text: str) -> None:
    fields: dict[str, Any] = {field: given}
    made = crontab(**fields)

    assert getattr(made, field) == set(numbers)
    assert getattr(made.when().crontab, field) == text
    again: dict[str, Any] = {field: text}
    assert getattr(crontab(**again), field) == set(numbers)


@pytest.mark.parametrize(("field", "given", "why"), REFUSED, ids=lambda value: str(value)[:20])
def test_a_wrong_field_is_refused_with_what_is_allowed(field: str, given: Any, why: str) -> None:
    fields: dict[str, Any] = {field: given}
    with pytest.raises(ParseException) as caught:
        crontab(**fields)

    assert why in str(caught.value)
    assert str(caught.value).startswith(f"{field}={given!r}")


@pytest.mark.parametrize("given", [None, 1.5, True, object()])
def test_what_is_no_field_at_all_is_a_type_error(given: Any) -> None:
    with pytest.raises(TypeError, match="minute="):
        crontab(minute=given)


def test_a_date_that_never_comes_is_refused() -> None:
    with pytest.raises(ParseException, match="never comes in month_of_year='2'"):
        crontab(day_of_month="30,31", month_of_year=2)
    assert crontab(day_of_month=29, month_of_year=2)


def test_a_line_of_cron_gives_the_fields_in_its_order() -> None:
    made = crontab.from_string("0 4 1-7 */2 mon")

    assert made.when("Europe/Berlin") == When(crontab=Fields("0", "4", "1-7", "*/2", "1"), zone="Europe/Berlin")
    for line in ("* * * *", "* * * * * *", "", 5):
        with pytest.raises(ParseException, match="five fields"):
            crontab.from_string(line)  # type: ignore[arg-type]


def test_crontabs_that_mean_the_same_are_equal_and_shown_as_written() -> None:
    assert crontab(minute="*/15") == crontab(minute={0, 15, 30, 45})
    assert crontab(minute="*/15") != crontab(minute="*/20")
    assert crontab() != schedule(60)
    assert len({crontab(hour=3), crontab(hour="3")}) == 1
    assert repr(crontab(minute="*/15", hour=3)) == "<crontab: */15 3 * * * (m/h/dM/MY/d)>"
    assert pickle.loads(pickle.dumps(crontab(hour="8-17/2"))) == crontab(hour="8-17/2")


def test_periods_are_seconds_or_timedeltas() -> None:
    assert schedule(90) == schedule(timedelta(seconds=90)) == timedelta(seconds=90)
    assert schedule(0.1).when() == When(every_ms=100)
    assert schedule(3600, relative=True).when("Asia/Tokyo") == When(every_ms=3_600_000, relative=True)
    assert repr(schedule(10)) == "<freq: 10.00 seconds>"
    assert repr(schedule(timedelta(hours=1))) == "<freq: 1.00 hour>"
    for wrong in (0, 0.05, None, -1, float("nan"), "10", True):
        with pytest.raises(ValueError, match="schedule="):
            schedule(wrong)  # type: ignore[arg-type]


def test_what_a_schedule_may_be_written_as() -> None:
    assert maybe_schedule(30) == schedule(30)
    assert maybe_schedule(timedelta(minutes=1), relative=True).relative
    assert maybe_schedule("0 6 * * *") == cron("0 6 * * *")
    assert maybe_schedule(None) is None
    made = crontab()
    assert maybe_schedule(made) is made
    with pytest.raises(TypeError, match="is no schedule: give seconds"):
        maybe_schedule(["0 6 * * *"])


def test_a_line_of_cron_has_five_fields_or_an_alias() -> None:
    assert cron("0 6  * * mon-fri", zone="Asia/Tokyo").when("UTC") == When(cron="0 6 * * mon-fri", zone="Asia/Tokyo")
    assert cron("@Daily").when("Europe/Berlin") == When(cron="@daily", zone="Europe/Berlin")
    for wrong in ("", "@never", "* * * *", "* * * * * *", "0 6 * * $", None):
        with pytest.raises(ParseException, match="is no line of cron"):
            cron(wrong)  # type: ignore[arg-type]


def test_the_sun_is_refused_with_what_to_write_instead() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"scheduled once a day.*eta="):
        solar("sunset", -37.8, 144.9)


def test_a_rule_of_its_own_is_refused_because_nobody_would_ask_it() -> None:
    class Mine(schedule):
        def is_due(self, last_run_at: datetime) -> Any:
            return True, 1.0

    with pytest.raises(TypeError, match=r"Mine\.is_due would not be asked"):
        Mine(10)


# -- when they are due ----------------------------------------------------------------------------------------------

NOW = datetime(2026, 6, 1, 12, 0, 30, tzinfo=UTC)


def at(made: Any, now: datetime = NOW, **settings: Any) -> Any:
    made.app, made.nowfun = App("due", set_as_current=False, **settings), lambda: now
    return made


def test_a_period_is_due_when_it_has_passed() -> None:
    assert at(schedule(60)).is_due(NOW - timedelta(seconds=60)) == (True, 60.0)
    assert at(schedule(60)).is_due(NOW - timedelta(seconds=20)) == (False, 40.0)
    assert at(schedule(60, relative=True)).is_due(NOW) == (False, 30.0)
    assert at(schedule(60)).remaining_estimate(NOW) == timedelta(seconds=60)


def test_a_crontab_is_due_by_the_clock_on_the_wall_of_its_app() -> None:
    berlin = at(crontab(hour=14, minute=1), timezone="Europe/Berlin")

    assert berlin.is_due(NOW) == (False, 30.0)
    assert berlin.is_due((NOW - timedelta(days=1)).replace(tzinfo=None)) == (True, 30.0)
    assert at(crontab(hour=12, minute=0)).is_due(NOW - timedelta(hours=1)) == (True, 86_370.0)


def test_a_crontab_that_is_later_than_the_apps_deadline_is_not_due() -> None:
    assert at(crontab(hour=12, minute=0), beat_cron_starting_deadline=60).is_due(NOW - timedelta(hours=1)).is_due
    assert not at(crontab(hour=12, minute=0), beat_cron_starting_deadline=10).is_due(NOW - timedelta(hours=1)).is_due


@pytest.mark.parametrize(
    ("made", "after", "due"),
    [
        (crontab(hour=2, minute=30), "2026-03-28T20:00", "2026-03-29T01:00"),  # 02:30 does not exist: 03:00 is next
        (crontab(hour=2, minute=30), "2026-10-24T20:00", "2026-10-25T00:30"),  # the first of two
        (crontab(hour=2, minute=30), "2026-10-25T00:30", "2026-10-26T01:30"),
        (crontab(minute="*/30", hour=2), "2026-03-28T20:00", "2026-03-30T00:00"),  # left out with the hour
        (crontab(minute="*/30", hour=2), "2026-10-25T00:30", "2026-10-25T01:00"),  # the hour comes twice
        (crontab(minute={0, 30}, hour=2), "2026-10-25T00:30", "2026-10-26T01:00"),
        (crontab(0, 0, day_of_month=29, month_of_year=2, day_of_week=1), "2026-01-01T00:00", "2044-02-28T23:00"),
        (crontab(0, 8, day_of_month="1-7", day_of_week="mon"), "2026-06-01T12:00", "2026-07-06T06:00"),
    ],
)
def test_the_next_time_of_a_crontab(made: crontab, after: str, due: str) -> None:
    moment = datetime.fromisoformat(after).replace(tzinfo=UTC)
    made = at(made, moment, timezone="Europe/Berlin")

    assert moment + made.remaining_estimate(moment) == datetime.fromisoformat(due).replace(tzinfo=UTC)
    assert made.tz == ZoneInfo("Europe/Berlin")
