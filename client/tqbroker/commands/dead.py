"""`tqbroker dead`: jobs that ended FAILED, and what to do with them."""

from __future__ import annotations

import sys
from typing import Any

import click

from tqbroker import codec
from tqbroker.commands.common import Family, client, client_options, fail, from_json, print_json
from tqbroker.commands.filters import chosen, edit, edit_options, filter_options, job_filter, keys, look, report
from tqbroker.commands.jobview import job_json
from tqbroker.commands.tables import moment, table
from tqbroker.exits import FAILED, NOT_FOUND
from tqbroker.ids import text_of
from tqbroker.operations import Drop, Redrive
from tqbroker.rates import parse_rates
from tqbroker.states import FINAL, Phase
from tqbroker.transport import JobInfo

DEAD = frozenset({Phase.FAILED})


@click.group(cls=Family)
def dead() -> None:
    """Lists, redrives and purges dead letters: jobs that failed or were quarantined. `tqbroker jobs show` shows one."""


@dead.command("list")
@filter_options
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1), help="Most jobs to list.")
@client_options
def listing(limit: int, app: str | None, broker: str | None, as_json: bool, **given: Any) -> None:
    """Lists dead letters, the oldest first."""
    found = look(job_filter(DEAD, given), limit, app, broker)
    if as_json:
        print_json([job_json(job) for job in found])
        return
    for line in table([("JOB", "queue", "task", "failed", "retries", "lost", "error"), *map(_row, found)]):
        click.echo(line)


@dead.command()
@edit_options
@click.option("--rate", metavar="RATE", help='Spread them over time, for example "10/s" or "100/m".')
@click.option("--args", "args_", metavar="JSON", help="With one ID: positional arguments instead of the stored ones.")
@click.option("--kwargs", metavar="JSON", help="With one ID: keyword arguments instead of the stored ones.")
@client_options
def redrive(
    ids: tuple[str, ...],
    everything: bool,
    rate: str | None,
    args_: str | None,
    kwargs: str | None,
    dry_run: bool,
    app: str | None,
    broker: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Sends dead letters back to their queue, under their own ids and with all their retries."""
    wanted = chosen(ids, everything, job_filter(DEAD, given))
    if (args_ is not None or kwargs is not None) and len(ids) != 1:
        raise click.UsageError("--args and --kwargs are for one job: name its ID")
    with client(app, broker) as speaker:
        body = b""
        if args_ is not None or kwargs is not None:
            body = _edited(speaker.operator.job(keys(ids)[0]), args_, kwargs)
        change = Redrive(body, _spacing(rate))
        code = report(speaker.operator.edit(wanted, change, dry_run=dry_run), as_json, dry_run)
    sys.exit(code if ids else 0)


@dead.command()
@edit_options
@client_options
def purge(ids: tuple[str, ...], app: str | None, broker: str | None, **rest: Any) -> None:
    """Drops dead letters for good."""
    if ids:
        _check_dead(ids, app, broker)
    edit(ids, DEAD, Drop(), app=app, broker=broker, **rest)


def _check_dead(ids: tuple[str, ...], app: str | None, broker: str | None) -> None:
    """Ends the command when one of the jobs is no dead letter: somebody may still wait for its result."""
    with client(app, broker) as speaker:
        for key in keys(ids):
            phase = speaker.operator.job(key).phase
            if phase not in (Phase.FAILED, Phase.UNKNOWN):
                name = text_of(key)
                hint = f": `tqbroker jobs drop {name}` drops a finished job" if phase in FINAL else ""
                fail(f"job {name} is {phase.name}, which is no dead letter, so nothing was dropped{hint}", FAILED)


def _row(job: JobInfo) -> tuple[str, ...]:
    failure = job.failure
    error = f"{failure.type}: {failure.message}".splitlines()[0][:80] if failure is not None else "-"
    times = (str(job.retries), str(job.lost_leases))
    return (text_of(job.key), job.queue, job.task, moment(job.finished_ms), *times, error)


def _edited(job: JobInfo, args: str | None, kwargs: str | None) -> bytes:
    """The job's arguments with what was given in place of what is stored."""
    if not job.args:
        fail(f"the broker keeps no job {text_of(job.key)}", NOT_FOUND)
    old_args, old_kwargs = codec.decode_call(job.args, job.format)
    new_args = old_args if args is None else from_json(args, "--args")
    new_kwargs = old_kwargs if kwargs is None else from_json(kwargs, "--kwargs")
    if not isinstance(new_args, (list, tuple)) or not isinstance(new_kwargs, dict):
        raise click.UsageError("--args takes a JSON list, --kwargs a JSON object")
    return codec.encode_call(new_args, new_kwargs, job.format)


def _spacing(rate: str | None) -> int:
    if rate is None:
        return 0
    try:
        rates = parse_rates(rate)
    except ValueError as error:
        raise click.UsageError(f"--rate: {error}") from None
    return max((-(-each.period_ms // each.starts) for each in rates), default=0)
