"""`tqbroker backup`: the store of a running broker into a file."""

from __future__ import annotations

import time
from pathlib import Path

import click

from tqbroker.app import App
from tqbroker.commands.common import client, client_options, fail, print_json
from tqbroker.commands.tables import duration, moment, size
from tqbroker.exits import FAILED
from tqbroker.operations import Backup
from tqbroker.saving import BackupTarget, CannotSaveError


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--timeout", default=3600.0, show_default=True, type=click.FloatRange(1), help="Seconds it may take to come."
)
@client_options
def backup(file: Path, timeout: float, app: str | None, broker: str | None, as_json: bool) -> None:
    """Saves the store of a running broker in FILE, which must not exist.

    Everything goes on meanwhile. Whatever was acknowledged before is in FILE, as of one moment; `tqbroker restore`
    makes a data directory of it. FILE is there whole or not at all, whenever something is killed.
    """
    begun = time.monotonic()
    with client(app, broker) as speaker:
        saved = _save(speaker, file, timeout)
    seconds = time.monotonic() - begun
    if as_json:
        print_json({**saved._asdict(), "file": str(file), "seconds": round(seconds, 3)})
        return
    for line in describe(saved, file, seconds):
        click.echo(line)


def _save(speaker: App, file: Path, timeout: float) -> Backup:
    try:
        with BackupTarget(file) as target:
            if target.left_over:
                click.echo(f"{target.partial} was left by a backup that did not end: it is written over", err=True)
            return speaker.operator.backup(target, timeout)
    except CannotSaveError as error:
        fail(str(error), FAILED)


def describe(saved: Backup, file: Path, seconds: float) -> list[str]:
    """What is told of a backup."""
    total = sum(saved.jobs.values())
    jobs = ", ".join(f"{count} {state}" for state, count in saved.jobs.items())
    return [
        f"saved     {file}: {size(saved.size)} in {duration(seconds)}",
        f"jobs      {total}" + (f": {jobs}" if jobs else ""),
        f"store     {saved.store}, as of {moment(saved.taken_ms)}",
        f"sha256    {saved.sha256}",
    ]
