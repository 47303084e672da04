"""`tqbroker export` and `tqbroker import`: a store as lines of JSON, and back, with no broker running."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click
import msgspec

from tqbroker._whole_file import CannotSaveError, WholeFile, flush_directory
from tqbroker_broker.cli_store import DATA_DIR, DIRECTORY, FAULTS, STORE, USAGE, store_path, words
from tqbroker_broker.storage import CannotOpen
from tqbroker_broker.storage.exported import exported, imported
from tqbroker_broker.storage.exports import Imported

STREAM = Path("-")
"""What stands for stdin or stdout."""


class CutShort(CannotOpen):
    """The store ended its reader; the lines of before may be the last there is of it, and are kept."""


@click.command(short_help="Write a store or a backup as lines of JSON.")
@STORE
@DATA_DIR
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="File to write, which must not exist; - is stdout.  [-]"
)
def export(path: Path | None, directory: Path | None, output: Path | None) -> None:
    """Writes everything of a store as lines of JSON: for `tqbroker import`, a later version, or another program.

    DIR is a data directory whose broker is stopped, FILE a backup of one that runs.  [TQBROKER_DATA_DIR]  What cannot
    be read is left out and named on stderr. Exit code 0: all of it was written, 1: something was left out, 2: there is
    no export, as there is nothing to read, or not to the end, or a broker is using it.
    """
    store = store_path(path, directory)
    left_out = 0

    def tell(damage: str) -> None:
        nonlocal left_out
        left_out += 1
        click.echo(f"tqbroker export: {damage}", err=True)

    with words("export", USAGE), _target(output) as out:
        done = exported(store, out, tell)
        if done is None:
            raise CutShort("the store cannot be read to its end, and `tqbroker import` takes no part of one")
    click.echo(f"{done.rows:,} rows written, {done.skipped:,} left out", err=True)
    sys.exit(FAULTS if done.skipped or left_out else 0)


@contextmanager
def _target(output: Path | None) -> Iterator[BinaryIO]:
    """Where the lines go. A file has its name when all of them are on the disk, and is gone when they do not come."""
    if output is None or output == STREAM:
        yield sys.stdout.buffer
        return
    try:
        with WholeFile(output, "export", spares_left_over=True) as file:
            with _keeping_what_was_read(file), open(file.fileno(), "wb", closefd=False) as out:
                yield out
            file.complete()
    except CannotSaveError as problem:
        raise CannotOpen(str(problem)) from problem


@contextmanager
def _keeping_what_was_read(file: WholeFile) -> Iterator[None]:
    try:
        yield
    except CutShort as cut:
        file.kept = True
        os.fsync(file.fileno())
        flush_directory(file.partial.parent)
        raise CannotOpen(f"{cut}: what could be read is in {file.partial}. If there is a backup, restore it") from cut


@click.command(name="import", short_help="Make a data directory of an export.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@DIRECTORY
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def import_(file: Path, directory: Path, as_json: bool) -> None:
    """Makes a data directory of what `tqbroker export` has written to FILE, after reading all of it. - is stdin.

    The directory must be empty or absent. The store gets a new id, and no worker has a lease. Exit code 0: all of it is
    there and sound, 1: there is a store, and what the export had left out is missing there, 2: there is no store.
    """
    with words("import", USAGE):
        done = imported(Path("/dev/stdin") if file == STREAM else file, directory, int(time.time() * 1000))
    told = {**msgspec.structs.asdict(done), "data_dir": str(directory)}
    click.echo(msgspec.json.encode(told) if as_json else _text(done, file, directory))
    sys.exit(FAULTS if done.skipped or done.faults else 0)


def _text(done: Imported, file: Path, directory: Path) -> str:
    """The report for people."""
    missing = [f"missing   {done.skipped:,} rows that could not be read when it was exported"] if done.skipped else []
    return "\n".join(
        [
            f"imported  {done.rows:,} rows of {file} in {directory}",
            f"store     {done.store}, made of {done.former}",
            *missing,
            *(f"          {fault}" for fault in done.faults),
            f"next      tqbroker serve --data-dir {directory}",
        ]
    )
