"""`tqbroker schedules add, sync, apply, lint`: what is to be scheduled, by the command line, an app or a file."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import click

from tqbroker.app import App
from tqbroker.commands.common import (
    client,
    client_options,
    code_of,
    fail,
    from_json,
    print_json,
    refuse_unknown_options,
)
from tqbroker.commands.schedule_input import known, of_entry, read_file, refused, span, when_options
from tqbroker.commands.schedule_view import done, planned_text, schedule_json, zone_of
from tqbroker.exceptions import OperationalError
from tqbroker.exits import FAILED, USAGE
from tqbroker.schedule_options import MAX_MISFIRES
from tqbroker.schedule_values import Declared
from tqbroker.schedules import declared
from tqbroker.scheduling import Schedules


@click.command(context_settings={"ignore_unknown_options": True})  # so that -4 is an argument
@click.argument("name")
@click.argument("task")
@click.argument("args", nargs=-1)
@when_options
@click.option("--relative", is_flag=True, default=None, help="With --every: at whole multiples of it since 1970.")
@click.option("--kwargs", default="{}", metavar="JSON", help="Keyword arguments as a JSON object.")
@click.option("--queue", metavar="NAME", help="Queue, instead of the task's or the default one.")
@click.option("--priority", type=click.IntRange(0, 9), help="Higher goes first.")
@click.option("--expires", type=float, metavar="SECONDS", help="A job is not started later than this after it is due.")
@click.option("--countdown", type=float, metavar="SECONDS", help="A job starts so much after it is submitted.")
@click.option("--jitter", metavar="SPAN", help="Each job starts up to so much later.")
@click.option("--start", metavar="TIME", help="Not before this moment.")
@click.option("--end", metavar="TIME", help="Not at or after this moment.")
@click.option("--overlap", type=click.Choice(["allow", "skip", "queue_one"]), help="While an earlier job runs. [allow]")
@click.option("--misfire", type=click.Choice(["latest", "all", "skip"]), help="Which missed firings to make up for.")
@click.option("--misfire-max", type=click.IntRange(1, MAX_MISFIRES), help="With --misfire all: how many. [100]")
@click.option("--deadline", metavar="SPAN", help="A firing that is later than this is skipped.")
@click.option("--paused", is_flag=True, help="It does not fire until it is resumed.")
@client_options
def add(
    name: str, task: str, args: tuple[str, ...], app: str | None, broker: str | None, as_json: bool, **given: Any
) -> None:
    """Adds schedule NAME, which submits jobs of TASK with ARGS, each written as JSON. One of that name is replaced.

    \b
    tqbroker schedules add sweep tasks.sweep --every 10m --overlap skip
    tqbroker schedules add report tasks.report '"weekly"' --cron "0 6 * * mon" --zone Europe/Berlin
    """
    refuse_unknown_options([name, task, *args])
    entry = _entry(name, task, args, given)
    with client(app, broker) as speaker:
        if app is not None:
            _load(speaker, app)
        found = of_entry(speaker, entry)
        speaker.schedules.put([found])
        state = known(speaker, name)
        notes = _unknown(speaker, app, found)
    if as_json:
        print_json(schedule_json(state))
    else:
        zone = zone_of(state.schedule.when.zone)
        due = "paused" if state.schedule.paused else planned_text(state.next_ms, zone) if state.next_ms else "never"
        click.echo(f"{name}: next {due}")
    for note in notes:
        click.echo(f"note: {note}", err=True)


def _entry(name: str, task: str, args: Sequence[str], given: dict[str, Any]) -> dict[str, Any]:
    """The form that entries have in a file."""
    kwargs = from_json(given.pop("kwargs"), "--kwargs")
    if not isinstance(kwargs, dict):
        raise click.UsageError("--kwargs is not a JSON object: write '{\"x\": 4}'")
    if given.pop("paused"):
        given["enabled"] = False
    for option in ("jitter", "deadline"):
        if given[option] is not None:
            given[option] = refused(span, given[option])
    chosen = {option: value for option, value in given.items() if value is not None}
    values = [from_json(text, "argument") for text in args]
    return {"name": name, "task": task, "args": values, "kwargs": kwargs, **chosen}


@click.command()
@client_options
def sync(app: str | None, broker: str | None, as_json: bool) -> None:
    """Tells the broker what the app of -A declares, as its workers do. What it has ceased to declare is removed."""
    spec = _needed(app)
    with client(spec, broker) as speaker:
        _load(speaker, spec)
        names = speaker.schedules.sync()
    done("declared", names, as_json)


@click.command()
@click.argument("file", metavar="FILE", type=click.Path(dir_okay=False, allow_dash=True))
@client_options
def apply(file: str, app: str | None, broker: str | None, as_json: bool) -> None:
    """Adds or replaces the schedules of FILE, all or none; others stay. "-" is what comes in.

    It is TOML with a table for each, or the same as a JSON list:

    \b
    [[schedule]]
    name = "nightly"
    task = "tasks.report"
    crontab = "0 3 * * *"     # or cron = "...", or every = "10m"
    zone = "Europe/Berlin"
    args = ["daily"]
    queue = "slow"
    overlap = "skip"
    """
    with client(app, broker) as speaker:
        found = [of_entry(speaker, entry) for entry in read_file(file)]
        speaker.schedules.put(found)
    done("applied", [each.name for each in found], as_json)


@click.command()
@click.argument("file", metavar="[FILE]", required=False, type=click.Path(dir_okay=False, allow_dash=True))
@client_options
def lint(file: str | None, app: str | None, broker: str | None, as_json: bool) -> None:
    """Checks the schedules of FILE, or those that the app of -A declares, and changes nothing.

    Says what the broker would refuse, and what is allowed but probably not meant.
    """
    spec = _needed(app) if file is None else app
    with client(spec, broker) as speaker:
        if spec is not None:
            _load(speaker, spec)
        found = declared(speaker) if file is None else [of_entry(speaker, entry) for entry in read_file(file)]
        notes = {each.name: [*_unknown(speaker, spec, each), *_notes(speaker.schedules, each)] for each in found}
    bad = any(note.startswith("refused: ") for each in notes.values() for note in each)
    if as_json:
        print_json(notes)
    else:
        for name, said in notes.items():
            click.echo(f"{name}: {'; '.join(said) or 'good'}")
    if bad:
        raise SystemExit(FAILED)


def _notes(schedules: Schedules, each: Declared) -> list[str]:
    try:
        return list(schedules.preview(each, 1).warnings)
    except OperationalError as error:
        if error.reason != "INVALID":
            raise
        return [f"refused: {error}"]


def _unknown(speaker: App, spec: str | None, each: Declared) -> list[str]:
    """A note of a task that the app does not have. Another app may have it, so this is no refusal."""
    if spec is None or each.head.task in speaker.tasks:
        return []
    close = difflib.get_close_matches(each.head.task, speaker.tasks, 1)
    hint = f"did you mean {close[0]}?" if close else "its jobs wait for a worker that has it"
    return [f"app {spec} has no task {each.head.task}: {hint}"]


def _load(speaker: App, spec: str) -> None:
    """The app's modules, and what is connected to on_after_configure."""
    with code_of(spec):
        speaker.load_modules()
        speaker.finalize()


def _needed(app: str | None) -> str:
    if app is None:
        fail("which app? Write -A MODULE, for example tqbroker -A tasks schedules sync", USAGE)
    return app
