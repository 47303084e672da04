"""One field of a crontab: what people write, to the numbers that are meant, and back to the shortest text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, NoReturn

_DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
           "november", "december")  # fmt: skip
_LONGEST_MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class ParseException(ValueError):  # noqa: N818 - Celery's name
    """A field of a crontab cannot be read. The message says what is allowed."""


class Field(NamedTuple):
    """The numbers that a field may have, and names that stand for them, the first of them for `low`."""

    name: str
    low: int
    high: int
    names: Sequence[str] = ()

    @property
    def all(self) -> frozenset[int]:
        """What "*" stands for."""
        return frozenset(range(self.low, self.high + 1))


MINUTE = Field("minute", 0, 59)
HOUR = Field("hour", 0, 23)
DAY_OF_MONTH = Field("day_of_month", 1, 31)
MONTH_OF_YEAR = Field("month_of_year", 1, 12, _MONTHS)
DAY_OF_WEEK = Field("day_of_week", 0, 6, _DAYS)


def expand(field: Field, given: Any) -> frozenset[int]:
    """The numbers that a field names: an int, a text such as "*/15" or "mon-fri", or several ints.

    Raises TypeError for anything else and ParseException for what cannot be read or is out of range.
    """
    if isinstance(given, str):
        found = frozenset(number for part in given.split(",") for number in _part(field, part.strip(), given))
    elif isinstance(given, int) and not isinstance(given, bool):
        found = frozenset({given})
    elif isinstance(given, Iterable):
        found = frozenset(_whole(field, number, given) for number in given)
    else:
        raise TypeError(
            f"{field.name}={given!r:.200} is not allowed: give an int, a text such as '*/15', or several ints"
        )
    outside = sorted(found - field.all)
    if outside:
        _refuse(field, given, f"{outside[0]} is out of range")
    if not found:
        _refuse(field, given, "it names no value, so it would never be due")
    return found


def _whole(field: Field, number: Any, given: Any) -> int:
    if isinstance(number, bool) or not isinstance(number, int):
        _refuse(field, given, f"{number!r:.50} is no int")
    return number


def _part(field: Field, part: str, given: str) -> Sequence[int]:
    """The numbers of one part between commas: "*", "7", "8-17", each but the second also with "/2" behind."""
    if not part:
        _refuse(field, given, "a part between commas is empty")
    span, slash, step = part.partition("/")
    first, dash, last = span.partition("-")
    if span == "*":
        numbers = range(field.low, field.high + 1)
    elif dash:
        return _span(field, _number(field, first, given), _number(field, last, given))[
            :: _step(field, slash, step, given)
        ]
    else:
        if slash:
            _refuse(field, given, f"a step stands behind '*' or a range, as in '{span}-{field.high}/{step}'")
        numbers = range(_number(field, span, given), _number(field, span, given) + 1)
    return numbers[:: _step(field, slash, step, given)]


def _span(field: Field, first: int, last: int) -> Sequence[int]:
    """Both ends are meant; one that ends before it begins goes on from the lowest, as "fri-mon" does."""
    if first <= last:
        return range(first, last + 1)
    return [*range(first, field.high + 1), *range(field.low, last + 1)]


def _step(field: Field, slash: str, step: str, given: str) -> int:
    if not slash:
        return 1
    if not (step.isascii() and step.isdigit()) or int(step) == 0:
        _refuse(field, given, f"the step {step!r} is no number above 0")
    return int(step)


def _number(field: Field, text: str, given: str) -> int:
    if text.isascii() and text.isdigit():
        number = int(text)
        if not field.low <= number <= field.high:
            _refuse(field, given, f"{number} is out of range")
        return number
    fitting = [number for number, name in enumerate(field.names, field.low) if name.startswith(text.lower())]
    if len(fitting) != 1 or len(text) < 3:
        _refuse(field, given, f"{text!r} is no {'number or name' if field.names else 'number'}")
    return fitting[0]


def _refuse(field: Field, given: Any, why: str) -> NoReturn:
    names = f" or names ({field.names[0][:3]} to {field.names[-1][:3]})" if field.names else ""
    raise ParseException(
        f"{field.name}={given!r:.200} is not allowed: {why}; "
        f"numbers from {field.low} to {field.high}{names}, ranges as 1-5, steps as */2 or 1-5/2, and lists with commas"
    )


def check_days(days: frozenset[int], months: frozenset[int]) -> None:
    """Raises ParseException when none of the months has one of the days."""
    if all(day > _LONGEST_MONTHS[month - 1] for day in days for month in months):
        raise ParseException(
            f"day_of_month={text_of(DAY_OF_MONTH, days)!r} never comes in "
            f"month_of_year={text_of(MONTH_OF_YEAR, months)!r}: it would never be due"
        )


def wire_text(field: Field, given: Any, numbers: frozenset[int]) -> str:
    """What was written, as the broker takes it: as it was if that has neither names nor a range that wraps around.

    So "*/15" stays a step, which follows the clock where it changes, and {0, 15, 30, 45} fixed minutes.
    """
    plain = "".join(given.split()) if isinstance(given, str) else ""
    if plain and not any(character.isalpha() for character in plain) and not any(map(_wraps, plain.split(","))):
        return plain
    return text_of(field, numbers)


def _wraps(part: str) -> bool:
    first, dash, last = part.partition("/")[0].partition("-")
    return bool(dash) and int(first) > int(last)


def text_of(field: Field, numbers: frozenset[int]) -> str:
    """The numbers in few words: "*", "8-17/2", or numbers and ranges. The same for the same set."""
    if numbers == field.all:
        return "*"
    ordered = sorted(numbers)
    step = ordered[1] - ordered[0] if len(ordered) > 2 else 1
    if step > 1 and ordered == list(range(ordered[0], ordered[-1] + 1, step)):
        return f"{ordered[0]}-{ordered[-1]}/{step}"
    return ",".join(_runs(ordered))


def _runs(ordered: list[int]) -> list[str]:
    """Numbers that follow each other, as ranges."""
    runs: list[list[int]] = []
    for number in ordered:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return [f"{run[0]}-{run[-1]}" if len(run) > 2 else ",".join(map(str, run)) for run in runs]
