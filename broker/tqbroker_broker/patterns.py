"""Cron strings and Celery's crontab, read: which minutes of which days. Pure.

cronsim knows the syntax and the days of cron strings (names, L, LW, FRI#2, either of two days). `calendars` walks over
the moments of a time zone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple

from cronsim import CronSim, CronSimError
from cronsim.cronsim import Field

from tqbroker_broker.refusals import Invalid
from tqbroker_broker.schedules import Crontab

ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

MAX_TEXT = 255
"""Characters of a cron string, and of a field of a crontab: room to name each minute of an hour."""

DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
MONTHS = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)

_PART = re.compile(r"(?:\*|([0-9a-z]+)(?:-([0-9a-z]+))?)(?:/([0-9]+))?", re.ASCII)


class Range(NamedTuple):
    """What a field may hold; `names` count from `lowest`. Of the days of a week 7 is Sunday as well."""

    name: str
    lowest: int
    highest: int
    names: Sequence[str] = ()


MINUTE, HOUR = Range("minute", 0, 59), Range("hour", 0, 23)
DAY, MONTH, WEEKDAY = Range("day of month", 1, 31), Range("month", 1, 12, MONTHS), Range("day of week", 0, 7, DAYS)

_CRON = (
    (Field.MINUTE, MINUTE),
    (Field.HOUR, HOUR),
    (Field.DAY, DAY),
    (Field.MONTH, MONTH),
    (Field.DOW, WEEKDAY),
)


@dataclass(frozen=True, slots=True)
class Pattern:
    """Which days, by `matches` and `months`, and which minutes of each, counted from its midnight.

    `fixed`: neither minute nor hour begins with "*", so each minute of a day means one firing, whatever clocks do.
    `both_days`: day of month and day of week are both restricted.
    """

    months: frozenset[int]
    minutes: tuple[int, ...]
    fixed: bool
    both_days: bool
    _days: CronSim

    def matches(self, day: date) -> bool:
        """Whether it fires on this day, if the month fits."""
        return self._days.match_day(day)


def read_cron(text: str) -> Pattern:
    """Five fields, or an alias such as @daily. Raises Invalid."""
    alias = ALIASES.get(text.strip().lower())
    fields = (alias or text).upper().split()
    if len(fields) != 5:
        raise Invalid(
            f"the cron string is {text[:MAX_TEXT]!r}: it must have five fields (minute, hour, day of month, month,"
            f" day of week) or be one of {', '.join(ALIASES)}"
        )
    sets = [_cron_field(field, allowed, part) for (field, allowed), part in zip(_CRON, fields, strict=True)]
    either = not fields[2].startswith("*") and not fields[4].startswith("*")
    return _pattern(sets, fields, both=not either)


def _cron_field(field: Field, allowed: Range, text: str) -> set[int]:
    try:
        found: set[int] = field.parse(text)  # type: ignore[assignment]  # of days of a week also pairs, which it reads
    except (CronSimError, AssertionError, ValueError):
        raise Invalid(f"the {allowed.name} of the cron string is {text!r}: {_allowed(allowed)}") from None
    return found


def read_crontab(crontab: Crontab) -> Pattern:
    """Celery's fields: both days must match. Raises Invalid."""
    fields = (
        crontab.minute,
        crontab.hour,
        crontab.day_of_month,
        crontab.month_of_year,
        crontab.day_of_week,
    )
    sets = [_field(allowed, text) for (_, allowed), text in zip(_CRON, fields, strict=True)]
    return _pattern(sets, [text.strip() for text in fields], both=True)


def _field(allowed: Range, text: str) -> set[int]:
    """A list of numbers, names, ranges and steps; a range may go over the end, as fri-mon does."""
    found: set[int] = set()
    for part in text[: MAX_TEXT + 1].replace(" ", "").lower().split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise _wrong(allowed, text)
        first, last, step = match.groups()
        numbers = _range(allowed, text, first, last)
        if step is not None and (int(step) == 0 or (first is not None and last is None)):
            raise _wrong(allowed, text)
        found.update(numbers[:: int(step or 1)])
    return found


def _range(allowed: Range, text: str, first: str | None, last: str | None) -> list[int]:
    lowest, highest = allowed.lowest, 6 if allowed is WEEKDAY else allowed.highest
    if first is None:
        return list(range(lowest, highest + 1))
    begin = _number(allowed, text, first)
    end = begin if last is None else _number(allowed, text, last)
    if end < begin:
        return [*range(begin, highest + 1), *range(lowest, end + 1)]
    return [number % 7 if allowed is WEEKDAY else number for number in range(begin, end + 1)]


def _number(allowed: Range, text: str, word: str) -> int:
    if word.isdigit() and allowed.lowest <= int(word) <= allowed.highest:
        return int(word)
    for number, name in enumerate(allowed.names, allowed.lowest):
        if len(word) >= 3 and name.startswith(word):
            return number
    raise _wrong(allowed, text)


def _wrong(allowed: Range, text: str) -> Invalid:
    return Invalid(f"the {allowed.name} of the crontab is {text[:MAX_TEXT]!r}: {_allowed(allowed)}")


def _allowed(allowed: Range) -> str:
    names = f" or {allowed.names[0][:3]} to {allowed.names[-1][:3]}" if allowed.names else ""
    numbers = f"{allowed.lowest} to {allowed.highest}{names}"
    return f"it must be '*' or a list of numbers from {numbers}, ranges of them, and steps such as */2"


def _pattern(sets: Sequence[set[int]], fields: Sequence[str], *, both: bool) -> Pattern:
    minutes, hours, days, months, weekdays = sets
    sim = CronSim("* * * * *", datetime(2000, 1, 1))  # only its days are asked for
    sim.days, sim.day_and = days, both
    sim.weekdays.clear()
    sim.weekdays.update(weekdays)
    wild = [text.startswith("*") for text in fields]
    return Pattern(
        months=frozenset(months),
        minutes=tuple(sorted(60 * hour + minute for hour in hours for minute in minutes)),
        fixed=not wild[0] and not wild[1],
        both_days=not wild[2] and not wild[4],
        _days=sim,
    )
