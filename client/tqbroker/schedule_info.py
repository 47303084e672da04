"""A schedule as users see it: with datetimes, and when it fires as an object of `tqbroker.schedules`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tqbroker import codec
from tqbroker.exceptions import DecodeError
from tqbroker.result import AsyncResult
from tqbroker.schedules import cron, crontab, schedule

if TYPE_CHECKING:
    from tqbroker.app import App
    from tqbroker.schedule_base import BaseSchedule
    from tqbroker.schedule_values import Declared, ScheduleState, When


@dataclass(frozen=True, slots=True)
class Firing:
    """One firing: when it was planned for, and its job, None when it was skipped."""

    planned: datetime
    job: AsyncResult[Any] | None


@dataclass(frozen=True, slots=True)
class ScheduleInfo:
    """A schedule as it stands in the broker. Moments are aware, spans are seconds.

    `source`: "operator", or "app NAME" of the app that declared it. `next` is None when it never fires again, or is
    paused. `fired` and `skipped` count its firings, `recent` has the newest, the oldest of them first. `options` are
    those of the schedule that were given, `args` and `kwargs` are None when they cannot be read here.
    """

    name: str
    schedule: BaseSchedule
    zone: str
    task: str
    args: tuple[Any, ...] | None
    kwargs: Mapping[str, Any] | None
    queue: str
    priority: int
    source: str
    paused: bool
    next: datetime | None
    last: datetime | None
    fired: int
    skipped: int
    options: Mapping[str, Any] = field(default_factory=dict)
    recent: tuple[Firing, ...] = ()


def info_of(app: App, state: ScheduleState) -> ScheduleInfo:
    """What the broker says of a schedule, for users of this app."""
    of = state.schedule
    args, kwargs = _arguments(of)
    return ScheduleInfo(
        name=of.name,
        schedule=schedule_of(of.when, app),
        zone=of.when.zone or "UTC",
        task=of.head.task,
        args=args,
        kwargs=kwargs,
        queue=of.head.queue,
        priority=of.head.priority,
        source=state.source,
        paused=of.paused,
        next=_moment(app, state.next_ms),
        last=_moment(app, state.last_ms),
        fired=state.fired,
        skipped=state.skipped,
        options=_options(app, of),
        recent=tuple(
            Firing(_known(app, each.planned_ms), app.AsyncResult(each.job) if each.job else None)
            for each in state.recent
        ),
    )


def schedule_of(when: When, app: App | None = None) -> BaseSchedule:
    """When it fires, as it could be written."""
    if when.crontab is not None:
        fields = when.crontab
        return crontab(
            fields.minute, fields.hour, fields.day_of_week, fields.day_of_month, fields.month_of_year, app=app
        )
    return (
        cron(when.cron, when.zone or "UTC", app=app)
        if when.cron
        else schedule(when.every_ms / 1000, when.relative, app=app)
    )


def _arguments(of: Declared) -> tuple[tuple[Any, ...] | None, Mapping[str, Any] | None]:
    try:
        return codec.decode_call(of.args, of.head.format)
    except DecodeError:
        return None, None


def _options(app: App, of: Declared) -> dict[str, Any]:
    """The options that say something, as they could be written."""
    spans = {"jitter": of.jitter_ms, "deadline": of.deadline_ms}
    found: dict[str, Any] = {name: millis / 1000 for name, millis in spans.items() if millis}
    found |= {name: _known(app, at) for name, at in (("start", of.start_ms), ("end", of.end_ms)) if at}
    if of.overlap != "allow":
        found["overlap"] = of.overlap
    if of.misfire != "latest":
        found["misfire"] = of.misfire
    if of.misfire == "all":
        found["misfire_max"] = of.misfire_max or 100
    return found


def _moment(app: App, millis: int) -> datetime | None:
    return _known(app, millis) if millis else None


def _known(app: App, millis: int) -> datetime:
    return datetime.fromtimestamp(millis / 1000, UTC).astimezone(app.conf.zone)
