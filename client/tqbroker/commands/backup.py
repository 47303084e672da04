"""`tqbroker backup`: the store of a running broker into a file."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from pathlib import Path

import click

from tqbroker._whole_file import CannotSaveError
from tqbroker.app import App
from tqbroker.commands.common import client, client_options, fail, print_json
from tqbroker.commands.tables import duration, moment, size
from tqbroker.exits import FAILED, INTERRUPTED
from tqbroker.operations import Backup
from tqbroker.saving import BackupTarget

_VERIFY_SECONDS = 3600.0
"""Seconds that looking through a backup may take: a gigabyte takes some ten."""


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--verify/--no-verify", default=True, help="Whether to read all of it afterwards. [default: verify]")
@click.option(
    "--timeout", default=3600.0, show_default=True, type=click.FloatRange(1), help="Seconds it may take to come."
)
@client_options
def backup(file: Path, verify: bool, timeout: float, app: str | None, broker: str | None, as_json: bool) -> None:
    """Saves the store of a running broker in FILE, which must not exist.

    Everything goes on meanwhile. Whatever was acknowledged before is in FILE, as of one moment; `tqbroker restore`
    makes a data directory of it. FILE is there whole or not at all, whenever something is killed.
    """
    begun = time.monotonic()
    with client(app, broker) as speaker:
        saved = _save(speaker, file, timeout)
    seconds = time.monotonic() - begun
    checked = _verified(file) if verify else "not verified"
    if as_json:
        print_json({**saved._asdict(), "file": str(file), "seconds": round(seconds, 3), "verified": checked})
        return
    for line in describe(saved, file, seconds, checked):
        click.echo(line)


def _save(speaker: App, file: Path, timeout: float) -> Backup:
    try:
        with BackupTarget(file) as target:
            if target.left_over:
                click.echo(f"{target.partial} was left by a backup that did not end: it is written over", err=True)
            return speaker.operator.backup(target, timeout)
    except CannotSaveError as error:
        fail(str(error), FAILED)


def describe(saved: Backup, file: Path, seconds: float, checked: str) -> list[str]:
    """What is told of a backup."""
    total = sum(saved.jobs.values())
    jobs = ", ".join(f"{count} {state}" for state, count in saved.jobs.items())
    return [
        f"saved     {file}: {size(saved.size)} in {duration(seconds)}, {checked}",
        f"jobs      {total}" + (f": {jobs}" if jobs else ""),
        f"store     {saved.store}, as of {moment(saved.taken_ms)}",
        f"sha256    {saved.sha256}",
    ]


def _verified(file: Path) -> str:
    """Reads the whole file, in a process of its own. A backup with faults stays: it may be the best there is."""
    if importlib.util.find_spec("lmdb") is None:
        return "not verified: that needs the server part here"
    command = [sys.executable, "-P", "-m", "tqbroker", "verify", str(file)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_VERIFY_SECONDS)  # noqa: S603 - ourselves
    except subprocess.TimeoutExpired:
        hours = duration(_VERIFY_SECONDS)
        fail(f"{file} is whole, but all of it was not read within {hours}: run `tqbroker verify {file}`", FAILED)
    except KeyboardInterrupt:
        fail(f"interrupted: {file} is whole, but not all of it was read: run `tqbroker verify {file}`", INTERRUPTED)
    if done.returncode != 0:
        reported = done.returncode == FAILED and done.stdout
        what = "its store has faults" if reported else "it could not be looked through"
        fail(f"{file} is what the broker has sent, but {what}:\n{done.stdout}{done.stderr}".rstrip(), FAILED)
    return "verified"
