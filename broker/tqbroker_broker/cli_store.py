"""What is done with a store that no broker has open, by the operator at its machine: `tqbroker verify`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec

from tqbroker._failpoint import FailpointError, arm
from tqbroker_broker.config import BrokerConfig
from tqbroker_broker.storage import CannotOpen
from tqbroker_broker.storage.report import MOST_FAULTS, NO_STORE, Report
from tqbroker_broker.storage.verified import verified

FAULTS, USAGE = 1, 2

ADVICE = """\
What to do: do not serve from this store, and keep the file as it is. If there is a backup, verify it and go back to it
(tqbroker restore). If not, save what can be read: tqbroker export {path} -o jobs.jsonl, then tqbroker import."""

ADVICE_ON_OTHERS = """\
What to do: give a data directory or a backup file. If {path} was one,
nothing of it can be read: go back to a backup."""

STORE = click.argument("path", required=False, metavar="[DIR|FILE]", type=click.Path(path_type=Path))
"""A data directory or a backup; without it the data directory that `tqbroker serve` would use."""

DIRECTORY = click.option(
    "--data-dir",
    "directory",
    required=True,
    envvar="TQBROKER_DATA_DIR",
    type=click.Path(path_type=Path),
    help="Data directory.  [TQBROKER_DATA_DIR]",
)
"""Where a store is made."""

DATA_DIR = click.option(
    "--data-dir", "directory", type=click.Path(path_type=Path), help="Data directory, instead of DIR."
)
"""The same in the words of `serve`, `restore` and `import`."""


@contextmanager
def words(command: str, code: int) -> Iterator[None]:
    """What cannot be done is one sentence and an exit code, also what the system refuses."""
    try:
        arm(os.environ)
        yield
    except (CannotOpen, FailpointError) as problem:
        reason = str(problem)
    except OSError as problem:
        reason = f"{problem.filename}: {problem.strerror}" if problem.filename else problem.strerror or str(problem)
    else:
        return
    click.echo(f"tqbroker {command}: {reason}", err=True)
    sys.exit(code)


def store_path(path: Path | None, directory: Path | None) -> Path:
    """The store that is meant: by an argument, by --data-dir, or as by `tqbroker serve`."""
    if path is not None and directory is not None:
        raise click.UsageError(f"both {path} and --data-dir {directory} are given: give one of them")
    return path or directory or Path(os.environ.get("TQBROKER_DATA_DIR") or BrokerConfig().data_dir)


@click.command(short_help="Check a store or a backup, all of it.")
@STORE
@DATA_DIR
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify(path: Path | None, directory: Path | None, as_json: bool) -> None:
    """Reads everything of a store and says what is wrong: pages, checksums, and the tables against each other.

    DIR is a data directory whose broker is stopped, FILE a backup.  [TQBROKER_DATA_DIR]  Nothing is changed. Exit code
    0: sound, 1: something is wrong, 2: it says nothing of the store, as there is none, a broker is using it, or what
    reads it was killed.
    """
    tell = None if as_json or not sys.stderr.isatty() else _progress
    with words("verify", USAGE):
        report = verified(store_path(path, directory), tell)
    click.echo(msgspec.json.encode(report).decode() if as_json else _text(report))
    sys.exit(0 if report.sound else FAULTS)


def _progress(at: str) -> None:
    click.echo(f"\x1b[2K\rreading {at}\r", err=True, nl=False)


def _text(report: Report) -> str:
    """The report for people."""
    lines = [f"{name:<14}{rows:>12,}" for name, rows in report.tables.items() if rows]
    if report.sound:
        return "\n".join([*lines, "", f"{report.path}: sound. Format {report.format}, store {report.store}."])
    shown = [f"  {fault}" for fault in report.faults]
    more = [f"  ... and {report.total - MOST_FAULTS:,} more"] if report.total > MOST_FAULTS else []
    head = f"{report.path}: {report.total:,} fault{'s' if report.total > 1 else ''}:"
    advice = ADVICE_ON_OTHERS if report.faults == [NO_STORE] else ADVICE
    return "\n".join([*lines, "", head, *shown, *more, "", advice.format(path=report.path)])
