"""`tqbroker restore` and `tqbroker compact`: what puts another file in the place of a store, with no broker running."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec

from tqbroker_broker.cli_store import DATA_DIR, DIRECTORY, store_path, words
from tqbroker_broker.storage.replaced import replacing

FAILED = 1

PATIENCE = 5.0
"""Seconds for which nobody asks how far it is."""

JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.command(short_help="Make a data directory of a backup.")
@click.argument("file", type=click.Path(path_type=Path))
@DIRECTORY
@JSON
def restore(file: Path, directory: Path, as_json: bool) -> None:
    """Makes a data directory of the backup in FILE, after reading all of it.

    The directory must be empty or absent. The store gets a new id: workers that hold jobs of the former one drop them,
    and what they say of these is refused. Killed half-way it is run again. Exit code 0: all of it is there and sound,
    1: there is no store, and stderr says why.
    """
    with words("restore", FAILED), _progress() as tell:
        restored = replacing().restore(file, directory, int(time.time() * 1000), tell)
    if as_json:
        click.echo(msgspec.json.encode({**restored._asdict(), "data_dir": str(directory)}))
        return
    ended = restored.tables.get("final", 0)
    click.echo(f"restored  {file} in {directory}, {restored.size:,} bytes, verified")
    click.echo(f"jobs      {restored.tables.get('jobs', 0):,}, of which {ended:,} have ended")
    click.echo(f"store     {restored.store}, made of {restored.former}")
    click.echo(f"next      tqbroker serve --data-dir {directory}")


@click.command(short_help="Give the disk what a store does not use.")
@click.argument("path", required=False, metavar="[DIR]", type=click.Path(path_type=Path))
@DATA_DIR
@JSON
def compact(path: Path | None, directory: Path | None, as_json: bool) -> None:
    """Makes the file of a store as small as what is in it. Its broker must be stopped.

    DIR is its data directory.  [TQBROKER_DATA_DIR]  A copy is made beside it, read through, and takes its place at the
    end: the disk must have the room. Killed half-way nothing is lost, and it is run again. Exit code 0: it is done,
    1: the store is as it was, and stderr says why.
    """
    begun = time.monotonic()
    where = store_path(path, directory)
    with words("compact", FAILED), _progress() as tell:
        compacted = replacing().compact(where, tell)
    if as_json:
        click.echo(msgspec.json.encode(compacted._asdict()))
        return
    seconds = time.monotonic() - begun
    click.echo(f"{where}: {compacted.before:,} bytes before, {compacted.after:,} now, verified, {seconds:.1f} s")


class _Progress:
    """Says on a terminal how far it is, if it takes long, and wipes that away at the end."""

    def __init__(self) -> None:
        self._from = time.monotonic() + PATIENCE if sys.stderr.isatty() else math.inf
        self._shown = False

    def __call__(self, at: str) -> None:
        if time.monotonic() >= self._from:
            self._shown = True
            click.echo(f"\x1b[2K\r{at}\r", err=True, nl=False)

    def end(self) -> None:
        if self._shown:
            click.echo("\x1b[2K\r", err=True, nl=False)


@contextmanager
def _progress() -> Iterator[_Progress]:
    progress = _Progress()
    try:
        yield progress
    finally:
        progress.end()
