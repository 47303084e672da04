"""A schedule as the commands show it: one line, many lines, or JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any

import click

from tqbroker import codec
from tqbroker.commands.common import print_json, show
from tqbroker.commands.tables import duration, moment
from tqbroker.exceptions import CodecError
from tqbroker.schedule_options import check_zone
from tqbroker.schedule_values import Declared, ScheduleState, When

HEADINGS = ("SCHEDULE", "when", "task", "next", "last", "fired", "source")


def schedule_line(state: ScheduleState) -> tuple[str, ...]:
    """The cells of a schedule in a list."""
    of = state.schedule
    due = "paused" if of.paused else moment(state.next_ms) if state.next_ms else "never"
    return (of.name, in_words(of.when), of.head.task, due, moment(state.last_ms), str(state.fired), state.source)


def in_words(when: When) -> str:
    """When it fires, in a few words."""
    zone = f" {when.zone}" if when.zone else ""
    if when.crontab is not None:
        fields = when.crontab
        days = f"{fields.day_of_month} {fields.month_of_year} {fields.day_of_week}"
        return f"crontab {fields.minute} {fields.hour} {days}{zone}"
    if when.cron:
        return f"cron {when.cron}{zone}"
    return f"every {when.every_ms / 1000:g} s{', whole periods' if when.relative else ''}"


def schedule_lines(state: ScheduleState, planned: list[str]) -> Iterator[str]:
    """Everything known of a schedule, for people; `planned` are its next firings."""
    of = state.schedule
    yield f"schedule   {of.name}"
    yield f"when       {in_words(of.when)}"
    yield f"task       {of.head.task}{_call(of)}"
    yield f"queue      {of.head.queue}, priority {of.head.priority}"
    yield f"source     {state.source}"
    yield from (f"{name:<10} {value}" for name, value in _options(of).items())
    yield f"last       {moment(state.last_ms)}"
    yield f"fired      {state.fired}, skipped {state.skipped}"
    if of.paused:
        yield "next       paused"
    for number, each in enumerate(planned):
        yield f"{'' if number else 'then' if of.paused else 'next':<10} {each}"
    for firing in reversed(state.recent):
        yield f"fired at   {moment(firing.planned_ms)}  {f'job {firing.job}' if firing.job else 'skipped'}"


def schedule_json(state: ScheduleState) -> dict[str, Any]:
    """Everything known of a schedule, for programs."""
    of, when = state.schedule, state.schedule.when
    args, kwargs = _arguments(of)
    return {
        "name": of.name,
        "every_ms": when.every_ms or None,
        "relative": when.relative,
        "cron": when.cron or None,
        "crontab": None if when.crontab is None else when.crontab._asdict(),
        "zone": when.zone or "UTC",
        "task": of.head.task,
        "args": args,
        "kwargs": kwargs,
        "queue": of.head.queue,
        "priority": of.head.priority,
        "expires_in_ms": of.head.expires_in_ms,
        "countdown_ms": of.head.countdown_ms,
        "jitter_ms": of.jitter_ms,
        "start_ms": of.start_ms,
        "end_ms": of.end_ms,
        "overlap": of.overlap,
        "misfire": of.misfire,
        "misfire_max": of.misfire_max,
        "deadline_ms": of.deadline_ms,
        "paused": of.paused,
        "source": state.source,
        "next_ms": state.next_ms,
        "last_ms": state.last_ms,
        "fired": state.fired,
        "skipped": state.skipped,
        "recent": [{"planned_ms": firing.planned_ms, "job": firing.job or None} for firing in state.recent],
    }


def zone_of(name: str) -> tzinfo:
    """The zone to show times in; UTC where this machine does not know it."""
    try:
        return check_zone(name or "UTC") or UTC
    except ValueError:
        return UTC


def planned_text(millis: int, zone: tzinfo) -> str:
    """A firing by the clock on the wall there."""
    at = datetime.fromtimestamp(millis / 1000, UTC).astimezone(zone)
    return f"{at:%a} {at.isoformat(' ', 'milliseconds' if millis % 1000 else 'seconds')}"


def done(what: str, names: Sequence[str], as_json: bool) -> None:
    """Says what became of which schedules."""
    if as_json:
        print_json({what: names})
    else:
        click.echo(f"{what} {', '.join(names) or 'nothing'}")


def _options(of: Declared) -> dict[str, str]:
    """The options that say something."""
    found = {
        "zone": of.when.zone,
        "jitter": duration(of.jitter_ms / 1000) if of.jitter_ms else "",
        "start": moment(of.start_ms) if of.start_ms else "",
        "end": moment(of.end_ms) if of.end_ms else "",
        "overlap": of.overlap if of.overlap != "allow" else "",
        "misfire": f"all, at most {of.misfire_max or 100}" if of.misfire == "all" else of.misfire,
        "deadline": duration(of.deadline_ms / 1000) if of.deadline_ms else "",
        "expires": f"after {duration(of.head.expires_in_ms / 1000)}" if of.head.expires_in_ms else "",
    }
    return {name: value for name, value in found.items() if value and (name, value) != ("misfire", "latest")}


def _call(of: Declared) -> str:
    args, kwargs = _arguments(of)
    parts = [*map(show, args or ()), *(f"{name}={show(value)}" for name, value in (kwargs or {}).items())]
    return f"({', '.join(parts)})"


def _arguments(of: Declared) -> tuple[list[Any] | None, dict[str, Any] | None]:
    try:
        args, kwargs = codec.decode_call(of.args, of.head.format)
    except CodecError:
        return None, None
    return list(args), dict(kwargs)
