"""`tqbroker dev tasks:app`: a broker and a worker for the desk, with one command."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
import time
from pathlib import Path

import click

from tqbroker_broker.addresses import AddressError, parse_listen
from tqbroker_broker.dev_processes import Child, Pair, serves
from tqbroker_broker.dev_project import find_module, suggest_call, write_example
from tqbroker_broker.settings import LEVELS

DATA_DIR = Path(".tqbroker")
DEFAULT = "127.0.0.1:7730"


@click.command(short_help="Run a broker and a worker for development.")
@click.argument("app", default="tasks:app", metavar="[MODULE:APP]")
@click.option("--example", is_flag=True, help="Write a small tasks.py first; never over an existing one.")
@click.option("--listen", default=DEFAULT, show_default=True, help="Address of the broker.")
@click.option(
    "-l",
    "--loglevel",
    type=click.Choice(LEVELS, case_sensitive=False),
    default="info",
    show_default=True,
    help="How much the worker says.",
)
def dev(app: str, example: bool, listen: str, loglevel: str) -> None:
    """Runs a broker with its data in ./.tqbroker and a worker that starts anew when a source file changes.

    Ctrl-C stops the worker, which finishes what it runs, and then the broker. A second Ctrl-C hurries the worker.
    """
    folder = Path.cwd()
    try:
        address = parse_listen(listen)
    except AddressError as error:
        raise click.UsageError(str(error)) from error
    if address.startswith("unix:") or address.endswith(":0"):
        raise click.UsageError("dev listens on HOST:PORT, so that it can say how to reach it")
    url = "tq://localhost" if address == DEFAULT else f"tq://{address}"
    _claim(folder)
    if example:
        click.echo(f"Wrote {write_example(folder, url).name}.")
    greeting = _greeting(app, url, find_module(app, folder))
    serving = serves(url, folder / DATA_DIR, since=time.time())
    sys.exit(asyncio.run(_pair(app, address, url, loglevel, folder).run(serving, greeting)))


def _claim(folder: Path) -> None:
    """Locks the folder until this process ends. ClickException when another dev has it."""
    try:
        fcntl.flock(os.open(folder, os.O_RDONLY | os.O_DIRECTORY), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise click.ClickException(
            f"this folder already has a `tqbroker dev` running: {folder}. Use that one, or stop it with Ctrl-C first"
        ) from None
    except OSError:
        return  # a folder that cannot be locked: the broker's own lock on its data still keeps two apart


def _pair(app: str, address: str, url: str, loglevel: str, folder: Path) -> Pair:
    data = ["--data-dir", str(DATA_DIR), "--storage", ""]  # whatever the environment or a file says of storage
    serve = ["serve", *data, "--listen", address, "--loglevel", "warning"]
    worker = ["worker", "-A", app, "--broker", url, f"--loglevel={loglevel}"]
    return Pair(Child(serve), Child(worker), folder, DATA_DIR)


def _greeting(app: str, url: str, module: Path) -> str:
    usual = url == "tq://localhost"
    elsewhere = "" if usual else f'   (so the app has to say broker="{url}")'
    return "\n".join(
        [
            "",
            f"  broker   {url}   data in ./{DATA_DIR}{elsewhere}",
            f"  worker   {app}   starts anew when a .py file changes",
            "",
            "In another terminal, in this folder:",
            "",
            f"  {suggest_call(app, module)}",
            "  tqbroker status" if usual else f"  tqbroker status -b {url}",
            "",
            "Ctrl-C stops both; what is queued stays queued.",
            "",
        ]
    )
