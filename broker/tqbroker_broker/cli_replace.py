"""`tqbroker restore` and `tqbroker compact`: what puts another file in the place of a store, with no broker running."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec

from tqbroker._failpoint import FailpointError, arm
from tqbroker_broker.storage import CannotOpen
from tqbroker_broker.storage.replaced import replacing

FAILED = 1

DIRECTORY = click.option(
    "--data-dir",
    "directory",
    required=True,
    envvar="TQBROKER_DATA_DIR",
    type=click.Path(path_type=Path),
    help="Data directory.  [TQBROKER_DATA_DIR]",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.command(short_help="Make a data directory of a backup.")
@click.argument("file", type=click.Path(path_type=Path))
@DIRECTORY
@JSON
def restore(file: Path, directory: Path, as_json: bool) -> None:
    """Makes a data directory of the backup in FILE, after reading all of it.

    The directory must be empty or absent. The store gets a new id: workers that hold jobs of the former one drop them,
    and what they say of these is refused. Killed half-way it is run again.
    """
    with _words("restore"):
        restored = replacing().restore(file, directory, int(time.time() * 1000), _tell)
    if as_json:
        click.echo(msgspec.json.encode({**restored._asdict(), "data_dir": str(directory)}))
        return
    ended = restored.tables.get("final", 0)
    click.echo(f"restored  {file} in {directory}, {restored.size:,} bytes, verified")
    click.echo(f"jobs      {restored.tables.get('jobs', 0):,}, of which {ended:,} have ended")
    click.echo(f"store     {restored.store}, made of {restored.former}")
    click.echo(f"next      tqbroker serve --data-dir {directory}")


@click.command(short_help="Give the disk what a store does not use.")
@DIRECTORY
@JSON
def compact(directory: Path, as_json: bool) -> None:
    """Makes the file of a store as small as what is in it. Its broker must be stopped.

    A copy is made beside it, read through, and takes its place at the end: the disk must have the room. Killed half-way
    nothing is lost, and it is run again.
    """
    begun = time.monotonic()
    with _words("compact"):
        compacted = replacing().compact(directory, _tell)
    if as_json:
        click.echo(msgspec.json.encode(compacted._asdict()))
        return
    seconds = time.monotonic() - begun
    click.echo(f"{directory}: {compacted.before:,} bytes before, {compacted.after:,} now, verified, {seconds:.1f} s")


@contextmanager
def _words(command: str) -> Iterator[None]:
    """What cannot be done is one sentence and an exit code."""
    try:
        arm(os.environ)
        yield
    except (CannotOpen, FailpointError) as problem:
        click.echo(f"tqbroker {command}: {problem}", err=True)
        sys.exit(FAILED)


def _tell(at: str) -> None:
    if sys.stderr.isatty():
        click.echo(f"\x1b[2K\r{at}\r", err=True, nl=False)
