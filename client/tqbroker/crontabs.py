"""Schedules by the clock on the wall: Celery's crontab, and lines of cron."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from tqbroker import crontab_fields as fields
from tqbroker.amounts import span_ms
from tqbroker.crontab_fields import ParseException
from tqbroker.crontab_times import Times, next_after
from tqbroker.schedule_base import BaseSchedule, check_own
from tqbroker.schedule_values import Fields, When

if TYPE_CHECKING:
    from tqbroker.app import App

_ALIASES = frozenset({"@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"})
_CRON_CHARACTERS = frozenset("0123456789*,-/#?abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


class crontab(BaseSchedule):  # noqa: N801 - Celery's name
    """By the clock on the wall, in the zone of the entry or else of the app.

    Each field is an int, several ints, or a text: "*", "*/15", "8-17/2", "mon-fri", "1-7,15-21". Sunday is 0. All
    fields must match, also both days: `day_of_month="1-7", day_of_week="mon"` is the first Monday. (In `cron` either
    day is enough.) Fixed times are due once a day also where the clock jumps; "*" and "*/15" follow the clock.
    Raises ParseException (a ValueError) or TypeError naming the field and what is allowed.
    """

    def __init__(
        self,
        minute: Any = "*",
        hour: Any = "*",
        day_of_week: Any = "*",
        day_of_month: Any = "*",
        month_of_year: Any = "*",
        nowfun: Callable[[], datetime] | None = None,
        app: App | None = None,
    ) -> None:
        super().__init__(nowfun, app)
        check_own(self)
        self._orig_minute, self.minute = _read(fields.MINUTE, minute)
        self._orig_hour, self.hour = _read(fields.HOUR, hour)
        self._orig_day_of_week, self.day_of_week = _read(fields.DAY_OF_WEEK, day_of_week)
        self._orig_day_of_month, self.day_of_month = _read(fields.DAY_OF_MONTH, day_of_month)
        self._orig_month_of_year, self.month_of_year = _read(fields.MONTH_OF_YEAR, month_of_year)
        fields.check_days(self.day_of_month, self.month_of_year)

    @classmethod
    def from_string(cls, crontab: str) -> crontab:
        """From the five fields of a line of cron: minute, hour, day of the month, month, day of the week.

        The rule of this class holds: both days must match. `cron(...)` has that of cron.
        """
        parts = crontab.split() if isinstance(crontab, str) else []
        if len(parts) != 5:
            raise ParseException(
                f"{crontab!r:.200} is not allowed: write five fields, '* * * * *', for minute, hour, day of the month, "
                "month and day of the week"
            )
        minute, hour, day_of_month, month_of_year, day_of_week = parts
        return cls(minute, hour, day_of_week, day_of_month, month_of_year)

    def _after(self, moment: datetime) -> datetime:
        return next_after(self._times(), moment, self.tz)

    def _times(self) -> Times:
        fixed = not any(str(field).startswith("*") for field in (self._orig_minute, self._orig_hour))
        return Times(self.minute, self.hour, self.day_of_month, self.month_of_year, self.day_of_week, fixed)

    def _too_late(self, due: datetime, now: datetime) -> bool:
        """Whether even the latest time that has come is longer ago than the app's beat_cron_starting_deadline."""
        deadline = self.app.conf.beat_cron_starting_deadline
        return deadline is not None and self._after(now - timedelta(milliseconds=span_ms("deadline", deadline))) > now

    def when(self, zone: str = "") -> When:
        """See BaseSchedule."""
        texts = Fields(
            fields.wire_text(fields.MINUTE, self._orig_minute, self.minute),
            fields.wire_text(fields.HOUR, self._orig_hour, self.hour),
            fields.wire_text(fields.DAY_OF_MONTH, self._orig_day_of_month, self.day_of_month),
            fields.wire_text(fields.MONTH_OF_YEAR, self._orig_month_of_year, self.month_of_year),
            fields.wire_text(fields.DAY_OF_WEEK, self._orig_day_of_week, self.day_of_week),
        )
        return When(crontab=texts, zone=zone)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, crontab):
            return self._times()[:5] == other._times()[:5] and self.nowfun == other.nowfun
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self._times()[:5])

    def __repr__(self) -> str:
        return (
            f"<crontab: {self._orig_minute} {self._orig_hour} {self._orig_day_of_month} {self._orig_month_of_year} "
            f"{self._orig_day_of_week} (m/h/dM/MY/d)>"
        )


class cron(BaseSchedule):  # noqa: N801 - beside crontab
    """By a line of cron(5): `cron("0 6 * * mon-fri", zone="Europe/Berlin")`, or "@daily" and its like.

    Either of two given days is enough, as in cron; in `crontab` both must match. `zone` is that of the entry or of the
    app unless given. The broker reads the fields; here only their form is looked at. Raises ParseException.
    """

    def __init__(self, line: str, zone: str | None = None, app: App | None = None) -> None:
        super().__init__(None, app)
        self.line = _cron_line(line)
        self.zone = zone

    def _after(self, moment: datetime) -> datetime:
        raise NotImplementedError(f"the broker knows when {self.line!r} is due: ask app.schedules.next({self!r})")

    def when(self, zone: str = "") -> When:
        """See BaseSchedule."""
        return When(cron=self.line, zone=self.zone or zone)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, cron):
            return self.when() == other.when()
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self.when())

    def __repr__(self) -> str:
        return f"cron({self.line!r}, zone={self.zone!r})" if self.zone else f"cron({self.line!r})"


def _read(field: fields.Field, given: Any) -> tuple[Any, frozenset[int]]:
    """What was written, for people, and the numbers; an iterator is read once."""
    kept = list(given) if isinstance(given, Iterator) else given
    return kept, fields.expand(field, kept)


def _cron_line(line: Any) -> str:
    parts = line.split() if isinstance(line, str) else []
    plain = " ".join(parts)
    if plain.lower() in _ALIASES:
        return plain.lower()
    if len(parts) != 5 or not _CRON_CHARACTERS.issuperset(plain.replace(" ", "")):
        raise ParseException(
            f"{line!r:.200} is no line of cron: write five fields, '* * * * *', for minute, hour, day of the month, "
            f"month and day of the week, or one of {', '.join(sorted(_ALIASES))}"
        )
    return plain
