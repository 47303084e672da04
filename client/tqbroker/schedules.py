"""When something is to be done again and again: `crontab`, `schedule`, `cron`, under Celery's names.

They stand in `app.conf.beat_schedule` and `app.add_periodic_task`. The broker keeps them and submits their jobs; no
process beside it is needed. docs/schedules.md says what each option means.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from tqbroker.amounts import span_ms
from tqbroker.crontab_fields import ParseException
from tqbroker.crontabs import cron, crontab
from tqbroker.schedule_base import BaseSchedule, check_own, schedstate
from tqbroker.schedule_values import Declared, When

if TYPE_CHECKING:
    from tqbroker.app import App

__all__ = ["ParseException", "cron", "crontab", "declared", "maybe_schedule", "schedstate", "schedule", "solar"]

LEAST_MS = 100
"""Shortest period, milliseconds: the broker's."""


class schedule(BaseSchedule):  # noqa: N801 - Celery's name
    """Every so often: seconds, or a timedelta, at least 0.1 s.

    With `relative` at whole multiples of the period since 1970 (every hour on the hour), else since the broker knows
    of it. Raises ValueError for a period that is not allowed.
    """

    def __init__(
        self,
        run_every: float | timedelta | None = None,
        relative: bool = False,
        nowfun: Callable[[], datetime] | None = None,
        app: App | None = None,
    ) -> None:
        super().__init__(nowfun, app)
        check_own(self)
        self._every_ms = _period_ms(run_every)
        self.run_every = timedelta(milliseconds=self._every_ms)
        self.relative = bool(relative)

    @property
    def seconds(self) -> float:
        """The period."""
        return self.run_every.total_seconds()

    @property
    def human_seconds(self) -> str:
        """The period in words."""
        for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
            if self.seconds >= size:
                return _counted(self.seconds / size, unit)
        return _counted(self.seconds, "second")

    def _after(self, moment: datetime) -> datetime:
        if not self.relative:
            return moment + self.run_every
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        return epoch + ((moment - epoch) // self.run_every + 1) * self.run_every

    def when(self, zone: str = "") -> When:
        """See BaseSchedule."""
        return When(every_ms=self._every_ms, relative=self.relative)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, schedule):
            return self.run_every == other.run_every
        return self.run_every == other

    def __hash__(self) -> int:
        return hash(self.run_every)

    def __repr__(self) -> str:
        return f"<freq: {self.human_seconds}>"


class solar:  # noqa: N801 - Celery's name
    """Celery's schedules by the sun. They are refused."""

    def __init__(self, event: str, lat: float, lon: float, **_: Any) -> NoReturn:
        from tqbroker.exceptions import ImproperlyConfigured

        raise ImproperlyConfigured(
            f"solar({event!r}, {lat!r}, {lon!r}) is not built: the broker has no almanac. Write a task that is "
            f"scheduled once a day, works out when {event!r} is by a library such as astral, and submits with eta="
        )


def maybe_schedule(s: Any, relative: bool = False, app: App | None = None) -> Any:
    """The schedule that is meant: seconds and timedeltas become `schedule`, a text becomes `cron`.

    None and what is a schedule stay. Raises TypeError for anything else.
    """
    if s is None:
        return None
    if isinstance(s, str):
        return cron(s, app=app)
    if isinstance(s, (int, float, timedelta)):
        return schedule(s, relative, app=app)
    if not isinstance(s, BaseSchedule):
        raise TypeError(
            f"{s!r:.200} is no schedule: give seconds, a timedelta, crontab(...), schedule(...), cron(...), "
            "or a line of cron"
        )
    if app is not None:
        s.app = app
    return s


def declared(app: App) -> list[Declared]:
    """The schedules of an app as the broker is told of them: those of beat_schedule and its periodic tasks.

    Calls what is connected to `app.on_after_configure` and `app.on_after_finalize`, if that was not done yet. Raises
    ImproperlyConfigured naming the schedule that cannot be used, and why.
    """
    from tqbroker.schedule_entries import declared as of

    return of(app)


def _period_ms(run_every: Any) -> int:
    every_ms = span_ms("schedule", 0 if run_every is None else run_every)
    if every_ms < LEAST_MS:
        raise ValueError(f"schedule={run_every!r} is not allowed: give at least {LEAST_MS / 1000} seconds")
    return every_ms


def _counted(number: float, unit: str) -> str:
    return f"{number:.2f} {unit}{'' if number == 1 else 's'}"
