"""When schedules fire, and what becomes of firings whose time has passed. Pure: the time is passed in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from itertools import islice
from typing import NamedTuple

from tqbroker_broker.calendars import DAY_MS, LAST_MS, Calendar, Every, Grid, calendar, read_zone
from tqbroker_broker.refusals import Invalid
from tqbroker_broker.schedules import Misfire, Schedule, ScheduleState

MAX_BURST = 1000
"""Firings on time that one look finds at most; of more the newest. A look comes every half second."""

LOOK_AHEAD = 366
"""Days in which warnings look for clocks that change."""


class Plan(NamedTuple):
    """What is to be done now: these firings, oldest first, and so many that are let go by.

    `until_ms` is the newest moment that is dealt with, `next_ms` the first one after it, 0 for never.
    """

    planned_ms: tuple[int, ...]
    skipped: int
    until_ms: int
    next_ms: int


def instants(schedule: Schedule, after_ms: int, born_ms: int) -> Iterator[int]:
    """When it fires, without jitter: after a moment, within its own bounds, and after it was made or changed."""
    first = max(after_ms, _opens(schedule, born_ms))
    for moment in _grid(schedule, born_ms).walk(first):
        if schedule.end_ms and moment >= schedule.end_ms:
            return
        yield moment


def next_after(schedule: Schedule, after_ms: int, born_ms: int) -> int:
    """The first firing after a moment; 0 when it never fires again, or is paused."""
    return 0 if schedule.paused else next(instants(schedule, after_ms, born_ms), 0)


def same_times(one: Schedule, other: Schedule) -> bool:
    """Whether two versions fire at the same moments, as far as both do."""
    return _times(one) == _times(other)


def _times(schedule: Schedule) -> tuple[object, ...]:
    zone = "" if schedule.every_ms else schedule.zone
    return schedule.every_ms, schedule.cron, schedule.crontab, schedule.relative, zone, schedule.start_ms


def plan(state: ScheduleState, now_ms: int, awake_ms: int) -> Plan:
    """What a schedule that is due is to do.

    What was planned after `awake_ms`, since when the broker has been at work and the clock steady, is on time and
    fires; with what was planned before it is dealt as the schedule says. Nothing older than its deadline fires.
    """
    schedule, grid = state.schedule, _grid(state.schedule, state.born_ms)
    after = max(state.next_ms - 1, state.last_ms)
    until = min(now_ms, schedule.end_ms - 1) if schedule.end_ms else now_ms
    awake = max(after, min(awake_ms, until))
    moments = [*_missed(schedule, grid, after, awake), *grid.newest(MAX_BURST, awake, until)]
    chosen = tuple(at for at in moments if not schedule.deadline_ms or now_ms - at <= schedule.deadline_ms)
    last = grid.newest(1, after, until)
    return Plan(
        chosen,
        grid.count(after, until) - len(chosen),
        last[0] if last else after,
        next_after(schedule, max(now_ms, after), state.born_ms),
    )


def _missed(schedule: Schedule, grid: Grid, after: int, until: int) -> list[int]:
    if schedule.misfire is Misfire.SKIP:
        return []
    return grid.newest(schedule.misfire_max if schedule.misfire is Misfire.ALL else 1, after, until)


def _opens(schedule: Schedule, born_ms: int) -> int:
    """The moment after which it may fire for the first time."""
    return max(born_ms, schedule.start_ms - 1)


def _grid(schedule: Schedule, born_ms: int) -> Grid:
    if schedule.every_ms:
        return Every(0 if schedule.relative else schedule.start_ms or born_ms, schedule.every_ms)
    return _calendar(schedule)


def _calendar(schedule: Schedule) -> Calendar:
    return calendar(schedule.crontab or schedule.cron, schedule.zone)


# -- what is wrong, and what is probably not meant ---------------------------------------------------------------------


def check(schedule: Schedule) -> None:
    """Raises Invalid when it does not say when it fires; the caller says of which schedule it speaks."""
    read_zone(schedule.zone)
    given = [bool(schedule.every_ms), bool(schedule.cron), schedule.crontab is not None]
    if sum(given) != 1:
        raise Invalid(f"it must have one of every_ms, cron and crontab, and has {sum(given)} of them")
    if schedule.relative and not schedule.every_ms:
        raise Invalid("relative is set: only a schedule with every_ms can be relative")
    if not schedule.every_ms:
        _calendar(schedule)
    if schedule.end_ms and schedule.end_ms <= schedule.start_ms:
        raise Invalid("it ends before it starts: end_unix_ms must be after start_unix_ms")


def warnings(schedule: Schedule, now_ms: int) -> list[str]:
    """What is allowed but probably not meant."""
    found = [] if schedule.every_ms else list(_of_calendar(schedule, now_ms))
    if schedule.every_ms and schedule.zone:
        found.append("every_ms counts time as it passes: the zone has no effect")
    if next(instants(schedule, now_ms, now_ms), None) is None:
        found.append("it never fires: no such day comes within a century, or its end has passed")
    return found


def _of_calendar(schedule: Schedule, now_ms: int) -> Iterator[str]:
    known = _calendar(schedule)
    if known.pattern.both_days and schedule.crontab is not None:
        yield (
            "it fires on days that are both of day_of_month and of day_of_week, as Celery's crontab does;"
            " a cron string fires on days of either"
        )
    elif known.pattern.both_days:
        yield "it fires on days of either the month or the week, as cron does; a crontab fires on days of both"
    hours = {minute // 60 for minute in known.pattern.minutes}
    if known.pattern.fixed or len(hours) < 24:
        for day in islice(_changes(known, now_ms), 2):
            yield _of_change(known, day)


def _changes(known: Calendar, now_ms: int) -> Iterator[date]:
    """Days of the next year on which it fires otherwise, because clocks change."""
    if now_ms >= LAST_MS:
        return
    today = known.today(now_ms)
    for day in known.days(today):
        if (day - today).days > LOOK_AHEAD:
            return
        if known.is_odd(day):
            yield day


def _of_change(known: Calendar, day: date) -> str:
    forward = known.length_ms(day) < DAY_MS
    if not forward:
        what = f"a time that comes twice counts {'once' if known.pattern.fixed else 'twice'}"
    elif known.pattern.fixed:
        what = "what is planned for the time left out fires once, when it is over"
    else:
        what = "what is planned for the time left out does not fire"
    return f"on {day} clocks in {known.zone.key} are put {'forward' if forward else 'back'}: {what}"
