"""`app.schedules`: the schedules in the broker, looked at and changed while everything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tqbroker import codec
from tqbroker.amounts import Moment, moment_ms
from tqbroker.call import Head
from tqbroker.exceptions import ImproperlyConfigured, OperationalError
from tqbroker.ids import new_key, text_of
from tqbroker.periodic import call_of
from tqbroker.result import AsyncResult
from tqbroker.schedule_entries import declare_call, when_of
from tqbroker.schedule_info import ScheduleInfo, info_of
from tqbroker.schedule_options import check_zone, split
from tqbroker.schedule_values import Declared, Preview
from tqbroker.schedules import declared

if TYPE_CHECKING:
    from tqbroker._grpc_admin import GrpcOperator
    from tqbroker.app import App

Moments = list[datetime]
Names = list[str]
Infos = list[ScheduleInfo]

MOST_PREVIEWED = 1000
"""Firings that the broker works out at once."""


class Schedules:
    """The schedules of the broker. Every call asks it: OperationalError when it does not answer or refuses.

    One whose reason is NOT_FOUND is raised for a name that it does not know. Moments are aware datetimes.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    @property
    def _operator(self) -> GrpcOperator:
        return self._app.operator

    # -- looking ------------------------------------------------------------------------------------------------------

    def list(self) -> Infos:
        """All of them, by name."""
        return [info_of(self._app, state) for state in self._operator.schedules()]

    def get(self, name: str) -> ScheduleInfo:
        """One of them."""
        for state in self._operator.schedules():
            if state.schedule.name == name:
                return info_of(self._app, state)
        sentence = f"there is no schedule {name!r}: `tqbroker schedules list` names them"
        raise OperationalError(sentence, reason="NOT_FOUND")

    def next(self, which: Any, count: int = 5, *, after: Moment | None = None, zone: str | None = None) -> Moments:
        """When a schedule fires next, without jitter: 1 to 1,000 times, fewer if it ends before.

        `which`: the name of one, or any schedule such as crontab(hour=3), which need not be in the broker; `zone` is
        for the latter, and for a naive `after`: from when on, instead of now. Moments are those of the app's zone.
        """
        return [_moment(self._app, each) for each in self.preview(which, count, after=after, zone=zone).planned_ms]

    def preview(self, which: Any, count: int = 5, *, after: Moment | None = None, zone: str | None = None) -> Preview:
        """The same in milliseconds since 1970, and warnings of what is allowed but probably not meant."""
        if not 1 <= count <= MOST_PREVIEWED:
            raise ValueError(f"count={count!r} is not allowed: give 1 to {MOST_PREVIEWED}")
        here = (check_zone(zone) if zone else None) or self._app.conf.zone
        after_ms = 0 if after is None else moment_ms("after", after, here)
        if not isinstance(which, (str, Declared)):
            head = Head("preview", "preview", 0, "json")
            which = Declared("preview", when_of(self._app, which, {"zone": zone}), head, codec.encode_call((), {}))
        return self._operator.preview_schedule(which, after_ms, count)

    # -- changing -----------------------------------------------------------------------------------------------------

    def add(
        self,
        name: str,
        schedule: Any,
        sig: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        **opts: Any,
    ) -> ScheduleInfo:
        """Adds a schedule, or puts it in the place of the one of that name, and returns it as it stands.

        Arguments as in App.add_periodic_task. It belongs to operators: no app that does not declare one of the same
        name changes it. Raises TypeError, ValueError or ImproperlyConfigured for what cannot be scheduled.
        """
        own, of_call = split(opts)
        call = call_of(sig, args, kwargs or {}, of_call)
        self.put([declare_call(self._app, name, schedule, call, own)])
        return self.get(name)

    def put(self, schedules: Sequence[Declared]) -> None:
        """Adds or replaces several, all or none."""
        self._operator.set_schedules(put=schedules)

    def remove(self, *names: str) -> None:
        """Removes schedules, not their jobs. What an app declares comes back with its next worker."""
        self._operator.set_schedules(remove=names)

    def pause(self, *names: str) -> None:
        """Lets them not fire until they are resumed."""
        self._operator.set_schedules(pause=names)

    def resume(self, *names: str) -> None:
        """Lets them fire again. What was missed meanwhile is not made up for."""
        self._operator.set_schedules(resume=names)

    def run(self, name: str) -> AsyncResult[Any]:
        """Submits a job of a schedule now, whatever its plan, also when it is paused."""
        key = new_key()
        self._operator.run_schedule(name, key)
        return self._app.AsyncResult(text_of(key))

    def sync(self) -> Names:
        """Tells the broker what this app declares, as its workers do: what it has ceased to declare goes.

        Returns the names. Raises ImproperlyConfigured for an app without a name, and for what cannot be scheduled.
        """
        found = declared(self._app)
        if not self._app.main:
            raise ImproperlyConfigured("the app has no name, so nobody would know whose they are: write App('name')")
        self._operator.set_schedules(put=found, app=self._app.main)
        return [each.name for each in found]


def _moment(app: App, millis: int) -> datetime:
    return datetime.fromtimestamp(millis / 1000, UTC).astimezone(app.conf.zone)
