"""The part of App that has periodic tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tqbroker.app_program import AppProgram

if TYPE_CHECKING:
    from tqbroker.app_signals import AppSignal
    from tqbroker.scheduling import Schedules


class AppPeriodic(AppProgram):
    """Declares schedules and looks after those in the broker."""

    def __init__(self) -> None:
        self.periodic_tasks: dict[str, dict[str, Any]] = {}
        self._signals: dict[str, AppSignal] = {}
        self._finalized = False

    @property
    def on_after_configure(self) -> AppSignal:
        """Called once with `sender`, the app, when a worker has loaded it: the place for add_periodic_task."""
        return self._signal("on_after_configure")

    @property
    def on_after_finalize(self) -> AppSignal:
        """The same, after on_after_configure."""
        return self._signal("on_after_finalize")

    def _signal(self, name: str) -> AppSignal:
        if name not in self._signals:
            from tqbroker.app_signals import AppSignal

            self._signals[name] = AppSignal(name)
        return self._signals[name]

    def finalize(self, auto: bool = False) -> None:
        """Calls what is connected to on_after_configure and on_after_finalize, once. Errors of these are raised."""
        if self._finalized:
            return
        self._finalized = True  # before: what is called may ask for schedules itself
        try:
            for name in ("on_after_configure", "on_after_finalize"):
                if name in self._signals:
                    self._signals[name].send(self)
        except BaseException:
            self._finalized = False
            raise

    def add_periodic_task(
        self,
        schedule: Any,
        sig: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        name: str | None = None,
        **opts: Any,
    ) -> str:
        """Declares a schedule: `app.add_periodic_task(crontab(hour=7), report.s("weekly"), name="reports")`.

        `schedule`: seconds, a timedelta, crontab(...), or a line of cron. `sig`: a signature, a task, or the name of
        one. `opts` are options of the schedule (`zone`, `overlap`, ..., see ScheduleOptions) and of each call. Returns
        its name: without `name` the call in words. Raises ImproperlyConfigured for what cannot be scheduled.
        """
        from tqbroker.periodic import entry_of

        key, entry = entry_of(self, schedule, sig, args, kwargs or {}, name, opts)  # type: ignore[arg-type]
        self.periodic_tasks[key] = entry
        return key

    @property
    def schedules(self) -> Schedules:
        """The schedules in the broker: list, add, pause, resume, run and remove them."""
        from tqbroker.scheduling import Schedules

        return Schedules(self)  # type: ignore[arg-type]
