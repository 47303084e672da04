"""`tqbroker jobs`: look for jobs, look at one, and move them about."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import click

from tqbroker.commands.common import Family, client, client_options, fail, print_json
from tqbroker.commands.filters import edit, edit_options, filter_options, job_filter, keys, look
from tqbroker.commands.jobview import job_json, job_line, job_lines
from tqbroker.commands.tables import table
from tqbroker.exits import NOT_FOUND
from tqbroker.operations import Cancel, Drop, Move, Reschedule
from tqbroker.signal_names import signal_name
from tqbroker.states import FINAL, Phase

UNFINISHED = frozenset({Phase.SCHEDULED, Phase.WAITING, Phase.QUEUED, Phase.RUNNING})
_states = click.Choice([phase.name.lower() for phase in Phase if phase is not Phase.UNKNOWN])


@click.group(cls=Family)
def jobs() -> None:
    """Lists, shows, cancels, moves and reschedules jobs."""


@jobs.command("list")
@click.option("--state", "-s", "states", type=_states, multiple=True, help="Only in this state. May be repeated.")
@filter_options
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1), help="Most jobs to list.")
@client_options
def listing(
    states: tuple[str, ...], limit: int, app: str | None, broker: str | None, as_json: bool, **given: Any
) -> None:
    """Lists jobs, the oldest first."""
    wanted = job_filter((Phase[state.upper()] for state in states), given)
    found = look(wanted, limit, app, broker)
    if as_json:
        print_json([job_json(job) for job in found])
        return
    for line in table([("JOB", "state", "queue", "task", "submitted", "worker", "note"), *map(job_line, found)]):
        click.echo(line)


@jobs.command()
@click.argument("id")
@client_options
def show(id: str, app: str | None, broker: str | None, as_json: bool) -> None:  # noqa: A002
    """Everything known of job ID: arguments, times, every attempt, why it waits."""
    (key,) = keys([id])
    with client(app, broker) as speaker:
        job = speaker.operator.job(key)
    if job.phase is Phase.UNKNOWN:
        fail(f"the broker knows no job {id}, or keeps it no longer", NOT_FOUND)
    if as_json:
        print_json(job_json(job))
        return
    for line in job_lines(job):
        click.echo(line)


@jobs.command()
@edit_options
@click.option("--terminate", is_flag=True, help="Stop running jobs too, by force where the pool can.")
@click.option("--signal", default="", metavar="NAME", help="With --terminate: for example SIGKILL. [SIGTERM]")
@client_options
def cancel(ids: tuple[str, ...], terminate: bool, signal: str, **rest: Any) -> None:
    """Cancels waiting jobs, and asks running ones to end."""
    if signal and not terminate:
        raise click.UsageError("--signal is for what is stopped by force: add --terminate")
    try:
        name = signal_name(signal) if signal else ""
    except ValueError as error:
        raise click.UsageError(f"--{error}") from None
    edit(ids, UNFINISHED, Cancel(terminate, name), **rest)


@jobs.command("run-now")
@edit_options
@client_options
def run_now(ids: tuple[str, ...], **rest: Any) -> None:
    """Makes scheduled jobs due now."""
    edit(ids, {Phase.SCHEDULED}, Reschedule(0), **rest)


@jobs.command()
@edit_options
@click.option("--eta", metavar="TIME", help="When to run: an ISO time, local unless it names a zone.")
@click.option("--countdown", type=click.FloatRange(0), metavar="SECONDS", help="How far from now.")
@client_options
def reschedule(ids: tuple[str, ...], eta: str | None, countdown: float | None, **rest: Any) -> None:
    """Changes when scheduled jobs run."""
    if (eta is None) == (countdown is None):
        raise click.UsageError("say when: either --eta or --countdown")
    edit(ids, {Phase.SCHEDULED}, Reschedule(_due(eta, countdown)), **rest)


@jobs.command()
@edit_options
@click.option("--to-queue", metavar="NAME", help="The queue they go to.")
@click.option("--priority", type=click.IntRange(0, 9), help="The priority they get; a higher number goes first.")
@client_options
def move(ids: tuple[str, ...], to_queue: str | None, priority: int | None, **rest: Any) -> None:
    """Moves waiting jobs to the end of another queue or priority."""
    if to_queue is None and priority is None:
        raise click.UsageError("say where to: --to-queue, --priority, or both")
    if to_queue == "":
        raise click.UsageError("--to-queue is empty: write the name of a queue")
    edit(ids, {Phase.QUEUED, Phase.SCHEDULED}, Move(to_queue, priority), **rest)


@jobs.command()
@edit_options
@client_options
def drop(ids: tuple[str, ...], **rest: Any) -> None:
    """Drops finished jobs with their results. Their ids stay known, so a late resend does not run them again."""
    edit(ids, FINAL, Drop(), **rest)


def _due(eta: str | None, countdown: float | None) -> int:
    if countdown is not None:
        return round((time.time() + countdown) * 1000)
    try:
        return round(datetime.fromisoformat(eta or "").timestamp() * 1000)
    except ValueError:
        raise click.UsageError(f"--eta {eta!r}: write an ISO time, for example 2030-01-31T08:00") from None
