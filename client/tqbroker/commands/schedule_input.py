"""Schedules as they are written on the command line and in files."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from tqbroker.app import App
from tqbroker.commands.common import fail
from tqbroker.exceptions import ImproperlyConfigured
from tqbroker.exits import NOT_FOUND
from tqbroker.schedule_entries import Call, declare_call
from tqbroker.schedule_options import split
from tqbroker.schedule_values import Declared, ScheduleState
from tqbroker.schedules import cron, crontab

KINDS = ("every", "cron", "crontab")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_OF_ENTRY = frozenset({"name", "task", "args", "kwargs", "options", *KINDS})


def when_options(command: Any) -> Any:
    """--every, --cron, --crontab, --zone."""
    for option in (
        click.option("--zone", metavar="NAME", help="Time zone, for example Europe/Berlin. [the app's, or UTC]"),
        click.option("--crontab", metavar="FIELDS", help="Celery's crontab as five fields: both days must match."),
        click.option("--cron", metavar="LINE", help='As cron reads it: "0 6 * * mon-fri", "@daily".'),
        click.option("--every", metavar="SPAN", help="Seconds, or 30s, 10m, 2h, 1d."),
    ):
        command = option(command)
    return command


def schedule_given(given: Mapping[str, Any]) -> Any:
    """The one of every, cron and crontab that is given. Raises ValueError."""
    kinds = [name for name in KINDS if given.get(name) is not None]
    if len(kinds) != 1:
        raise ValueError(f"say when: one of {', '.join(KINDS)}, not {' and '.join(kinds) or 'none'}")
    (kind,) = kinds
    if kind == "every":
        return span(given[kind])
    return cron(given[kind]) if kind == "cron" else crontab.from_string(given[kind])


def span(given: Any) -> float:
    """Seconds, also as 30s, 10m, 2h, 1d. Raises ValueError."""
    if not isinstance(given, str):
        return given  # type: ignore[no-any-return]  # looked at where it is used
    unit = _UNITS.get(given[-1:])
    try:
        return float(given[:-1]) * unit if unit else float(given)
    except ValueError:
        raise ValueError(f"every={given!r} is not allowed: write seconds, or 30s, 10m, 2h, 1d") from None


def of_entry(app: App, entry: Any) -> Declared:
    """One schedule of a file, or of the command line. Raises ImproperlyConfigured naming it."""
    name = entry.get("name") if isinstance(entry, Mapping) else None
    try:
        if not isinstance(entry, Mapping):
            raise TypeError(f"{entry!r:.200} is not allowed: write a table with name, task and {', '.join(KINDS)}")
        for needed in ("name", "task"):
            if not isinstance(entry.get(needed), str):
                raise ValueError(f"{needed} is missing")
        own, rest = split({name: value for name, value in entry.items() if name not in _OF_ENTRY})
        options = {**rest, **(entry.get("options") or {})}
        call = Call(entry["task"], entry.get("args") or (), entry.get("kwargs") or {}, options)
        return declare_call(app, entry["name"], schedule_given(entry), call, own)
    except (TypeError, ValueError, ImproperlyConfigured) as error:
        raise ImproperlyConfigured(f"schedule {name!r}: {error}") from None


def read_file(path: str) -> list[Any]:
    """The entries of a file of TOML, or of JSON if its name ends so; "-" is what comes in, of either kind.

    Raises ImproperlyConfigured.
    """
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
        found = _parsed(text, as_json=path.endswith(".json") or (path == "-" and _looks_like_json(text)))
    except (OSError, ValueError) as error:
        raise ImproperlyConfigured(f"{path} cannot be read: {error}") from None
    entries = found.get("schedule") if isinstance(found, Mapping) else found
    if not isinstance(entries, list) or (isinstance(found, Mapping) and len(found) > 1):
        raise ImproperlyConfigured(
            f"{path} is no list of schedules: write a table [[schedule]] for each, or a JSON list"
        )
    names = [entry.get("name") for entry in entries if isinstance(entry, Mapping)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ImproperlyConfigured(f"{path} has two schedules of the name {twice!r}")
    return entries


def _looks_like_json(text: str) -> bool:
    start = text.lstrip()[:2]
    return start[:1] in ("{", "[") and start != "[["


def _parsed(text: str, *, as_json: bool) -> Any:
    return json.loads(text) if as_json else tomllib.loads(text)


def known(speaker: App, name: str) -> ScheduleState:
    """The schedule of this name; ends the command when there is none."""
    state = next((each for each in speaker.operator.schedules() if each.schedule.name == name), None)
    if state is None:
        fail(f"there is no schedule {name}: `tqbroker schedules` lists them", NOT_FOUND)
    return state


def refused(function: Any, *args: Any, **kwargs: Any) -> Any:
    """What a function returns; what it refuses is a mistake on the command line."""
    try:
        return function(*args, **kwargs)
    except (TypeError, ValueError, ImproperlyConfigured) as error:
        raise click.UsageError(str(error)) from None
