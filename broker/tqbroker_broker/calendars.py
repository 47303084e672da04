"""The moments at which something repeats: every so long, or at minutes of days in a time zone. Pure.

Moments are wall-clock milliseconds since 1970. Clocks that are put forward leave local times out, those that are put
back show some twice. What is planned for fixed times fires once each: in a gap as soon as it is over, of a repeated
time at the first. What is planned for any hour or minute ("*") follows the clock: left out in a gap, twice in a repeat.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tqbroker_broker.patterns import Pattern, read_cron, read_crontab
from tqbroker_broker.refusals import UnknownZone
from tqbroker_broker.schedules import Crontab

MINUTE_MS, DAY_MS = 60_000, 86_400_000
ONE_DAY = timedelta(days=1)

YEARS = 100
"""How far a search goes: 29 February on a Monday comes every 28 years, and once after 40."""

LAST_MS = 253_370_764_800_000
"""The beginning of the year 9999: Python's dates end soon after, in every zone."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Grid(Protocol):
    """Moments, in order. `after_ms` is not among those asked for, `until_ms` is."""

    def walk(self, after_ms: int) -> Iterator[int]:
        """All from then on, as far as the search goes."""
        ...

    def newest(self, most: int, after_ms: int, until_ms: int) -> list[int]:
        """The last ones between two moments, at most so many, the oldest first."""
        ...

    def count(self, after_ms: int, until_ms: int) -> int:
        """How many lie between two moments."""
        ...


@dataclass(frozen=True, slots=True)
class Every:
    """Whole periods since an origin."""

    origin_ms: int
    period_ms: int

    def walk(self, after_ms: int) -> Iterator[int]:
        moment = self.origin_ms + (self._number(after_ms) + 1) * self.period_ms
        while moment < LAST_MS:
            yield moment
            moment += self.period_ms

    def newest(self, most: int, after_ms: int, until_ms: int) -> list[int]:
        last = self._number(until_ms)
        first = max(self._number(after_ms), last - most) + 1
        return [self.origin_ms + number * self.period_ms for number in range(first, last + 1)]

    def count(self, after_ms: int, until_ms: int) -> int:
        return max(0, self._number(until_ms) - self._number(after_ms))

    def _number(self, moment: int) -> int:
        return (moment - self.origin_ms) // self.period_ms


class Day(NamedTuple):
    """One day: when it begins, and the minutes since then."""

    start_ms: int
    minutes: Sequence[int]

    def between(self, after_ms: int, until_ms: int) -> Sequence[int]:
        """The minutes between two moments."""
        first = bisect_right(self.minutes, (after_ms - self.start_ms) // MINUTE_MS)
        return self.minutes[first : bisect_right(self.minutes, (until_ms - self.start_ms) // MINUTE_MS)]


class Calendar:
    """The moments of a pattern in a time zone."""

    def __init__(self, pattern: Pattern, zone: ZoneInfo) -> None:
        self.pattern = pattern
        self.zone = zone
        self._known = (date.min, Day(0, ()))

    def walk(self, after_ms: int) -> Iterator[int]:
        if after_ms >= LAST_MS:
            return
        last = after_ms
        for day in self.days(self.today(after_ms)):
            start_ms, minutes = found = self.day(day)
            for minute in minutes if last < start_ms else found.between(last, LAST_MS):
                moment = start_ms + minute * MINUTE_MS
                if moment > last:
                    yield moment
                    last = moment

    def newest(self, most: int, after_ms: int, until_ms: int) -> list[int]:
        found: list[int] = []
        if after_ms >= until_ms or until_ms >= LAST_MS:
            return found
        day, first = self.today(until_ms), self.today(after_ms)
        while day >= first and len(found) < most:
            if self._matches(day):
                start_ms = self.day(day).start_ms
                moments = [start_ms + minute * MINUTE_MS for minute in self.day(day).between(after_ms, until_ms)]
                found += reversed(moments[-(most - len(found)) :])
            day -= ONE_DAY
        return sorted(set(found))

    def count(self, after_ms: int, until_ms: int) -> int:
        if after_ms >= until_ms or until_ms >= LAST_MS:
            return 0
        total, last = 0, self.today(until_ms)
        for day in self.days(self.today(after_ms)):
            if day > last:
                break
            total += len(self.day(day).between(after_ms, until_ms))
        return total

    # -- days --------------------------------------------------------------------------------------------------------

    def days(self, first: date) -> Iterator[date]:
        """Days that match, from one on, as far as the search goes."""
        day, end = first, date(min(first.year + YEARS, 9998), 12, 31)
        while day <= end:
            if day.month not in self.pattern.months:
                day = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
                continue
            if self.pattern.matches(day):
                yield day
            day += ONE_DAY

    def _matches(self, day: date) -> bool:
        return day.month in self.pattern.months and self.pattern.matches(day)

    def day(self, day: date) -> Day:
        """The moments of a day that matches."""
        if self._known[0] != day:
            start_ms, end_ms = self._midnight(day), self._midnight(day + ONE_DAY)
            same = end_ms - start_ms == DAY_MS
            self._known = day, Day(start_ms, self.pattern.minutes if same else self._odd(day, start_ms, end_ms))
        return self._known[1]

    def today(self, moment: int) -> date:
        """The date of a moment."""
        return self._local(moment).date()

    def length_ms(self, day: date) -> int:
        """How long a day is."""
        return self._midnight(day + ONE_DAY) - self._midnight(day)

    def is_odd(self, day: date) -> bool:
        """Whether clocks change on a day so that a time of the pattern is left out or comes twice."""
        if self.length_ms(day) == DAY_MS:
            return False
        times = (self._at(day, minute) for minute in self.pattern.minutes)
        return any(_ms(at) != _ms(at.replace(fold=1)) for at in times)

    def _odd(self, day: date, start_ms: int, end_ms: int) -> list[int]:
        """The minutes of a day on which clocks change, counted as they pass."""
        planned = self.pattern.minutes
        if self.pattern.fixed:
            return sorted({(self._fixed(day, minute) - start_ms) // MINUTE_MS for minute in planned})
        wanted = set(planned)
        passed = range((end_ms - start_ms) // MINUTE_MS)
        local = (self._local(start_ms + minute * MINUTE_MS) for minute in passed)
        return [minute for minute, at in zip(passed, local, strict=True) if 60 * at.hour + at.minute in wanted]

    def _fixed(self, day: date, minute: int) -> int:
        """When it is this local time for the first time; if it never is, when the gap is over."""
        at = self._at(day, minute)
        low, high = _ms(at.replace(fold=1)), _ms(at)
        if low >= high:  # else the local time is left out, and the clocks change between these two
            return high
        while high - low > MINUTE_MS:
            middle = (low + high) // (2 * MINUTE_MS) * MINUTE_MS
            if self._local(middle).utcoffset() == self._local(high).utcoffset():
                high = middle
            else:
                low = middle
        return high

    def _midnight(self, day: date) -> int:
        return _ms(self._at(day, 0))

    def _at(self, day: date, minute: int) -> datetime:
        return datetime(day.year, day.month, day.day, minute // 60, minute % 60, tzinfo=self.zone)

    def _local(self, moment: int) -> datetime:
        return (_EPOCH + timedelta(milliseconds=moment)).astimezone(self.zone)


def _ms(at: datetime) -> int:
    return (at.astimezone(UTC) - _EPOCH) // timedelta(milliseconds=1)


@lru_cache(1024)
def calendar(when: str | Crontab, zone: str) -> Calendar:
    """The calendar of a cron string or crontab. Raises Invalid."""
    pattern = read_cron(when) if isinstance(when, str) else read_crontab(when)
    return Calendar(pattern, read_zone(zone))


def read_zone(name: str) -> ZoneInfo:
    """The time zone of this name, UTC when it is empty. Raises UnknownZone."""
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UnknownZone(
            f"there is no time zone {name[:100]!r}: use a name such as Europe/Berlin or UTC, as in IANA's list"
        ) from None
