"""`tqbroker worker`: flags to settings, settings to the daemon."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import click

from tqbroker import _failpoint
from tqbroker._daemon import configure_logging, get_logger
from tqbroker.exceptions import ImproperlyConfigured
from tqbroker_worker import flags
from tqbroker_worker.background import Background
from tqbroker_worker.config import POOLS, WorkerConfig, expand_file

_QUIET = "ERROR"


@click.command()
@click.option("-A", "--app", metavar="MODULE[:APP]", help="Where the app is, for example tasks or tasks:app.")
@click.option("-b", "--broker", metavar="URL", help="Broker, instead of the one the app names.")
@click.option("-l", "--loglevel", metavar="LEVEL", default="WARNING", show_default=True, help="Least level to log.")
@click.option("-q", "--quiet", is_flag=True, help="Log errors only.")
@click.option("-c", "--concurrency", type=int, metavar="N", help="Jobs run at once.  [default: processors]")
@click.option("-Q", "--queues", metavar="NAMES", help="Queues to take jobs from: a,b.  [those of the app]")
@click.option("-X", "--exclude-queues", metavar="NAMES", default="", help="Queues not to take jobs from.")
@click.option("-L", "--label", metavar="LABEL", multiple=True, help="What this worker has: gpu, region=eu. Repeatable.")
@click.option("-I", "--include", metavar="MODULES", default="", help="Modules with tasks to import as well.")
@click.option(
    "-n",
    "--hostname",
    metavar="NAME",
    default="",
    help="Name of this worker: %h host, %n its first part, %d domain.  [default: worker@%h]",
)
@click.option("-P", "--pool", metavar="POOL", default="", help=f"How jobs run: {', '.join(POOLS)}.  [default: process]")
@click.option("--autoscale", metavar="MAX,MIN", help="As many processes as there is work for.")
@click.option("--prefetch-multiplier", type=int, metavar="N", help="Jobs to hold for each slot at most; 0: any number.")
@click.option("--disable-prefetch", is_flag=True, help="Take a job only when a slot is free.")
@click.option("--time-limit", type=float, metavar="SECONDS", help="End a job that runs longer.")
@click.option("--soft-time-limit", type=float, metavar="SECONDS", help="Raise SoftTimeLimitExceeded in it before.")
@click.option("--max-tasks-per-child", type=int, metavar="N", help="Replace a child process after so many jobs.")
@click.option("--max-memory-per-child", type=int, metavar="KIB", help="Replace it when it has more memory than this.")
@click.option("--purge", "--discard", is_flag=True, help="Cancel the jobs that wait in its queues before; asks.")
@click.option("--yes", is_flag=True, help="Do not ask about --purge.")
@click.option("-f", "--logfile", metavar="PATH", default="", help="Log to this file.")
@click.option("--pidfile", metavar="PATH", default="", help="Write the process id there; refuse to start twice.")
@click.option("--uid", metavar="USER", default="", help="User to run as.")
@click.option("--gid", metavar="GROUP", default="", help="Group to run as.")
@click.option("--umask", metavar="OCTAL", default="", help="File mode mask.")
@click.option("--workdir", metavar="PATH", default="", help="Folder to work in.")
@click.option("--executable", metavar="PATH", default="", help="Python to run jobs with.")
@click.option("-D", "--detach", is_flag=True, help="Run in the background; a service manager does this better.")
@flags.accept
@click.pass_context
def worker(ctx: click.Context, /, **options: Any) -> None:
    """Runs jobs. The first SIGTERM or Ctrl-C finishes what runs, the second returns it to the broker."""
    notices = flags.take_given(options)
    try:
        _failpoint.arm(os.environ)
        config = _config(options)
        if options["purge"] and not options["yes"]:
            which = ", ".join(config.queues) or "those of its app"
            click.confirm(f"Cancel every job that waits in the queues of this worker ({which})?", abort=True, err=True)
        _background(options, config.name).enter()
    except (ImproperlyConfigured, _failpoint.FailpointError) as error:
        raise click.UsageError(str(error), ctx) from None
    configure_logging(config.loglevel)
    for notice in notices:
        _warn(notice)
    sys.exit(_run(config))


def _warn(sentence: str) -> None:
    get_logger("tqbroker.worker").warning(sentence)


def _config(options: dict[str, Any]) -> WorkerConfig:
    return WorkerConfig(
        app=options["app"] or "",
        loglevel=_QUIET if options["quiet"] else options["loglevel"],
        concurrency=options["concurrency"],
        queues=_queues(options["queues"]),
        name=options["hostname"],
        pool=options["pool"],
        broker=options["broker"] or "",
        exclude=_names(options["exclude_queues"]),
        labels=options["label"],
        include=_names(options["include"]),
        time_limit=options["time_limit"],
        soft_time_limit=options["soft_time_limit"],
        max_tasks_per_child=options["max_tasks_per_child"],
        max_memory_per_child=options["max_memory_per_child"],
        autoscale=_bounds(options["autoscale"]),
        prefetch=1 if options["disable_prefetch"] else options["prefetch_multiplier"],
        executable=options["executable"],
        purge=options["purge"],
    )


def _background(options: dict[str, Any], name: str) -> Background:
    names = ("workdir", "uid", "gid", "umask", "detach")
    logfile, pidfile = (expand_file(options[file], name) for file in ("logfile", "pidfile"))
    return Background(logfile=logfile, pidfile=pidfile, **{name: options[name] for name in names})


def _queues(text: str | None) -> tuple[str, ...]:
    """None when -Q is not there. One that names nothing is a variable that is not set, and not every queue."""
    names = _names(text or "")
    if text is not None and not names:
        raise ImproperlyConfigured(f"-Q {text!r} names no queue: write -Q a,b, or leave it out for those of the app")
    return names


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _bounds(text: str | None) -> tuple[int, int] | None:
    """Most and least; Celery's least is 0 when it is left out, ours 1."""
    if text is None:
        return None
    most, _, least = text.partition(",")
    try:
        return int(most), int(least or 1)
    except ValueError:
        raise ImproperlyConfigured(f"autoscale {text!r} is not allowed: write --autoscale MAX,MIN") from None


def _run(config: WorkerConfig) -> int:
    from tqbroker_worker.daemon import run

    return asyncio.run(run(config))
