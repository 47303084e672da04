"""`tqbroker worker`: flags to settings, settings to the daemon."""

from __future__ import annotations

import asyncio
import os
import sys

import click

from tqbroker import _failpoint
from tqbroker._daemon import configure_logging
from tqbroker.exceptions import ImproperlyConfigured
from tqbroker_worker.config import POOLS, WorkerConfig


@click.command()
@click.option("-A", "--app", metavar="MODULE[:APP]", help="Where the app is, for example tasks or tasks:app.")
@click.option("-b", "--broker", metavar="URL", help="Broker, instead of the one the app names.")
@click.option("-l", "--loglevel", metavar="LEVEL", default="WARNING", show_default=True, help="Least level to log.")
@click.option("-c", "--concurrency", type=int, metavar="N", help="Jobs run at once.  [default: processors]")
@click.option("-Q", "--queues", metavar="NAMES", default="", help="Queues to take jobs from, separated by commas.")
@click.option(
    "-n",
    "--hostname",
    metavar="NAME",
    default="",
    help="Name of this worker: %h host, %n its first part, %d domain.  [default: worker@%h]",
)
@click.option(
    "-P", "--pool", metavar="POOL", default="process", show_default=True, help=f"How jobs run: {', '.join(POOLS)}."
)
@click.pass_context
def worker(
    ctx: click.Context,
    app: str | None,
    broker: str | None,
    loglevel: str,
    concurrency: int | None,
    queues: str,
    hostname: str,
    pool: str,
) -> None:
    """Runs jobs. The first SIGTERM or Ctrl-C finishes what runs, the second returns it to the broker."""
    flags = {} if concurrency is None else {"concurrency": concurrency}
    names = tuple(name.strip() for name in queues.split(",") if name.strip())
    try:
        _failpoint.arm(os.environ)
        config = WorkerConfig(app or "", loglevel, queues=names, name=hostname, pool=pool, broker=broker or "", **flags)
    except (ImproperlyConfigured, _failpoint.FailpointError) as error:
        raise click.UsageError(str(error), ctx) from None
    configure_logging(config.loglevel)
    sys.exit(_run(config))


def _run(config: WorkerConfig) -> int:
    from tqbroker_worker.daemon import run

    return asyncio.run(run(config))
