"""What all kinds of schedules have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, NamedTuple

from tqbroker.schedule_values import When

if TYPE_CHECKING:
    from tqbroker.app import App


class schedstate(NamedTuple):  # noqa: N801 - Celery's name
    """Whether something is due now, and how many seconds until it is to be looked at again."""

    is_due: bool
    next: float


class BaseSchedule:
    """What the kinds have in common. `nowfun` gives the time for `is_due`; `app` is the one whose zone is meant."""

    def __init__(self, nowfun: Callable[[], datetime] | None = None, app: App | None = None) -> None:
        self.nowfun = nowfun
        self._app = app

    @property
    def app(self) -> App:
        """The app it belongs to: the current one unless one was given."""
        if self._app is not None:
            return self._app
        from tqbroker.current import the_app

        return the_app()

    @app.setter
    def app(self, app: App | None) -> None:
        self._app = app

    @property
    def tz(self) -> tzinfo:
        """The zone of naive times."""
        return self.app.timezone

    def now(self) -> datetime:
        """The time, aware."""
        return self._aware((self.nowfun or self.app.now)())

    def _aware(self, moment: datetime) -> datetime:
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)

    @abstractmethod
    def _after(self, moment: datetime) -> datetime:
        """The first due time behind a moment."""

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        """Time from now until it is due, when it ran last at this moment; negative when that has passed."""
        return self._after(self._aware(last_run_at)) - self.now()

    def is_due(self, last_run_at: datetime) -> schedstate:
        """Whether it is due, when it ran last at this moment (naive: UTC), and seconds until the next time.

        For trying out: the broker decides by itself when it fires, see `app.schedules.next`.
        """
        now = self.now()
        due = self._after(self._aware(last_run_at))
        if due > now:
            return schedstate(False, (due - now).total_seconds())
        return schedstate(not self._too_late(due, now), (self._after(now) - now).total_seconds())

    def _too_late(self, due: datetime, now: datetime) -> bool:
        return False

    @abstractmethod
    def when(self, zone: str = "") -> When:
        """As the broker is told; `zone` is the name of one, empty for UTC."""


def check_own(made: BaseSchedule) -> None:
    """The broker works out when to fire, so a subclass with a rule of its own would not be asked."""
    for name in ("is_due", "remaining_estimate", "remaining_delta"):
        if getattr(type(made), name, None) is not getattr(BaseSchedule, name, None):
            raise TypeError(
                f"{type(made).__name__}.{name} would not be asked: the broker decides when to fire. Write crontab, "
                "cron or schedule, or a task that is scheduled often and looks by itself whether it is time"
            )
