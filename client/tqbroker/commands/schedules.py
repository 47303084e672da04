"""`tqbroker schedules`: what the broker submits again and again, and when."""

from __future__ import annotations

import click

from tqbroker.commands import schedule_changes as changes
from tqbroker.commands.common import Family, client, client_options, print_json
from tqbroker.commands.schedule_input import known, refused, schedule_given, when_options
from tqbroker.commands.schedule_view import (
    HEADINGS,
    done,
    planned_text,
    schedule_json,
    schedule_line,
    schedule_lines,
    zone_of,
)
from tqbroker.commands.tables import table
from tqbroker.schedule_values import Preview
from tqbroker.scheduling import MOST_PREVIEWED

_names = click.argument("names", metavar="NAME...", nargs=-1, required=True)


@click.group(cls=Family, invoke_without_command=True)
@client_options
@click.pass_context
def schedules(ctx: click.Context, app: str | None, broker: str | None, as_json: bool) -> None:
    """Lists schedules; adds, pauses, resumes, runs and removes them; says when they fire.

    \b
    tqbroker schedules add nightly tasks.report --crontab "0 3 * * *" --zone Europe/Berlin
    tqbroker schedules next nightly --count 20
    tqbroker -A tasks schedules sync
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(listing, app=app, broker=broker, as_json=as_json)


# -- looking ----------------------------------------------------------------------------------------------------------


@schedules.command("list")
@client_options
def listing(app: str | None, broker: str | None, as_json: bool) -> None:
    """Every schedule: when it fires, what it submits, and who made it."""
    with client(app, broker) as speaker:
        found = speaker.operator.schedules()
    if as_json:
        print_json([schedule_json(state) for state in found])
        return
    for line in table([HEADINGS, *map(schedule_line, found)]):
        click.echo(line)


@schedules.command()
@click.argument("name")
@client_options
def show(name: str, app: str | None, broker: str | None, as_json: bool) -> None:
    """Everything known of schedule NAME, with its latest firings and the next five."""
    with client(app, broker) as speaker:
        state = known(speaker, name)
        planned = speaker.operator.preview_schedule(name).planned_ms
    if as_json:
        print_json({**schedule_json(state), "planned_ms": planned})
        return
    zone = zone_of(state.schedule.when.zone)
    for line in schedule_lines(state, [planned_text(each, zone) for each in planned]):
        click.echo(line)


@schedules.command("next")
@click.argument("name", required=False)
@when_options
@click.option("--count", "-n", default=5, show_default=True, type=click.IntRange(1, MOST_PREVIEWED), help="How many.")
@click.option("--after", metavar="TIME", help="From this moment on, ISO time, instead of now.")
@client_options
def next_(
    name: str | None,
    count: int,
    after: str | None,
    app: str | None,
    broker: str | None,
    as_json: bool,
    **when: str | None,
) -> None:
    """When schedule NAME fires next, or one that is only tried out. Jitter is left out.

    \b
    tqbroker schedules next nightly --count 20
    tqbroker schedules next --cron "30 2 * * *" --zone Europe/Berlin --after 2026-03-27
    """
    with client(app, broker) as speaker:
        zone_name = when.pop("zone") or ""
        if name is None:
            which = refused(schedule_given, when)
            found = refused(speaker.schedules.preview, which, count, after=after, zone=zone_name or None)
            zone_name = zone_name or speaker.conf.timezone or ""
        elif zone_name or any(when.values()):
            raise click.UsageError("name either a schedule, or when: --every, --cron or --crontab, with --zone")
        else:
            zone_name = known(speaker, name).schedule.when.zone
            found = refused(speaker.schedules.preview, name, count, after=after)
    _print_plan(found, zone_name, as_json)


def _print_plan(found: Preview, zone_name: str, as_json: bool) -> None:
    planned = [planned_text(each, zone_of(zone_name)) for each in found.planned_ms]
    if as_json:
        print_json({"planned_ms": found.planned_ms, "planned": planned, "warnings": found.warnings})
        return
    for line in planned or ["never"]:
        click.echo(line)
    for warning in found.warnings:
        click.echo(f"note: {warning}", err=True)


# -- changing ---------------------------------------------------------------------------------------------------------


@schedules.command()
@_names
@client_options
def pause(names: tuple[str, ...], app: str | None, broker: str | None, as_json: bool) -> None:
    """Lets schedules not fire until they are resumed, whatever apps declare."""
    with client(app, broker) as speaker:
        speaker.schedules.pause(*names)
    done("paused", names, as_json)


@schedules.command()
@_names
@client_options
def resume(names: tuple[str, ...], app: str | None, broker: str | None, as_json: bool) -> None:
    """Lets schedules fire again. What they have missed is not made up for."""
    with client(app, broker) as speaker:
        speaker.schedules.resume(*names)
    done("resumed", names, as_json)


@schedules.command()
@_names
@client_options
def remove(names: tuple[str, ...], app: str | None, broker: str | None, as_json: bool) -> None:
    """Removes schedules, not their jobs. What an app declares comes back with its next worker: pause it instead."""
    with client(app, broker) as speaker:
        speaker.schedules.remove(*names)
    done("removed", names, as_json)


@schedules.command()
@click.argument("name")
@client_options
def run(name: str, app: str | None, broker: str | None, as_json: bool) -> None:
    """Submits a job of schedule NAME now, whatever its plan, and prints the id of the job."""
    with client(app, broker) as speaker:
        job = speaker.schedules.run(name).id
    if as_json:
        print_json({"id": job})
    else:
        click.echo(job)


for _command in (changes.add, changes.sync, changes.apply, changes.lint):
    schedules.add_command(_command)
