"""The options that say which jobs are meant, and what prints what became of them."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, TypeVar

import click

from tqbroker.commands.common import client, print_json
from tqbroker.exits import FAILED, NOT_FOUND
from tqbroker.ids import Key, key_of
from tqbroker.operations import Change, Edited, JobFilter
from tqbroker.states import Phase
from tqbroker.transport import JobInfo

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--queue", "-q", default="", help="Only of this queue."),
    click.option("--task", "-t", default="", help="Only of this task."),
    click.option("--stamp", "stamps", multiple=True, metavar="NAME=VALUE", help="Only with this stamp."),
    click.option("--worker", "-w", default="", help="Only those that this worker has or had last."),
    click.option("--error", "-e", default="", metavar="CLASS", help="Only those that failed with it, as ValueError."),
    click.option("--since", metavar="WHEN", help="Only those submitted after: ISO time, or 30s, 10m, 2h, 7d ago."),
    click.option("--until", metavar="WHEN", help="Only those submitted before."),
)
_EDIT_OPTIONS = (
    click.argument("ids", metavar="[ID]...", nargs=-1),
    *_OPTIONS,
    click.option("--all", "everything", is_flag=True, help="Every job that the command is for."),
    click.option("--dry-run", "-n", is_flag=True, help="Change nothing, only say what would be."),
)
_UNKNOWN = "no such job"
"""How a broker's refusal for an id that it does not know begins."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def filter_options(command: Command) -> Command:
    """--queue, --task, --stamp, --worker, --error, --since and --until."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def edit_options(command: Command) -> Command:
    """[ID]... or a filter or --all, and --dry-run."""
    for option in reversed(_EDIT_OPTIONS):
        command = option(command)
    return command


def job_filter(phases: Iterable[Phase], given: dict[str, Any]) -> JobFilter:
    """The filter that the options make."""
    since, until = given.pop("since"), given.pop("until")
    for stamp in given["stamps"]:
        if "=" not in stamp:
            raise click.UsageError(f"--stamp {stamp!r}: write NAME=VALUE, for example customer=12")
    return JobFilter(
        phases=frozenset(phases),
        submitted_after_ms=_millis("--since", since),
        submitted_before_ms=_millis("--until", until),
        **given,
    )


def keys(ids: Iterable[str]) -> list[Key]:
    """Ids from the command line. An error names what cannot be one."""
    try:
        return [key_of(each) for each in ids]
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def chosen(ids: tuple[str, ...], everything: bool, wanted: JobFilter) -> JobFilter | list[Key]:
    """Either ids or a filter: all that match must be asked for in so many words."""
    is_filter = wanted._replace(phases=frozenset()) != JobFilter()
    if ids and (is_filter or everything):
        raise click.UsageError("name either jobs by their ids, or a filter")
    if not ids and not is_filter and not everything:
        raise click.UsageError("name jobs by their ids, or a filter such as --queue or --task, or --all")
    return keys(ids) if ids else wanted


def look(wanted: JobFilter, limit: int, app: str | None, broker: str | None) -> list[JobInfo]:
    """The jobs that match, the oldest first, at most `limit` of them, with their arguments."""
    with client(app, broker) as speaker:
        return list(itertools.islice(speaker.operator.jobs(wanted, limit, with_args=True), limit))


def edit(
    ids: tuple[str, ...],
    phases: Iterable[Phase],
    change: Change,
    *,
    everything: bool,
    dry_run: bool,
    app: str | None,
    broker: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Changes the jobs that `edit_options` name, of those in `phases`, and prints what became of each."""
    wanted = chosen(ids, everything, job_filter(phases, given))
    with client(app, broker) as speaker:
        code = report(speaker.operator.edit(wanted, change, dry_run=dry_run), as_json, dry_run)
    sys.exit(code if ids else 0)


def report(done: Iterable[Edited], as_json: bool, dry_run: bool) -> int:
    """Prints what became of each job, as it is told, and at the end how many. Returns the exit code for named ids.

    That is not 0 when nothing has come of any of them: NOT_FOUND when there is none of them, else FAILED.
    """
    told = list(done) if as_json else done
    if as_json:
        print_json([job._asdict() for job in told])
    changed = found = looked_at = 0
    for job in told:
        if not as_json:
            click.echo(f"{job.id}  {job.effect or job.refusal}")
        changed += bool(job.effect)
        found += not job.refusal.startswith(_UNKNOWN)
        looked_at += 1
    if not as_json:
        click.echo(f"{changed} of {looked_at} jobs {'would be changed' if dry_run else 'changed'}", err=True)
    if changed:
        return 0
    return FAILED if found else NOT_FOUND


def _millis(name: str, text: str | None) -> int:
    if text is None:
        return 0
    if text[:-1].isdigit() and text[-1] in _UNITS:
        return round((time.time() - int(text[:-1]) * _UNITS[text[-1]]) * 1000)
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError:
        raise click.UsageError(f"{name} {text!r}: write an ISO time, or 30s, 10m, 2h, 7d for so long ago") from None
