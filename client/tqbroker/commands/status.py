"""`tqbroker status`: the broker, its queues and its workers at a glance."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict

import click

from tqbroker.commands.common import client, client_options, print_json
from tqbroker.commands.tables import duration, size, table
from tqbroker.registry import is_builtin
from tqbroker.transport import BrokerInfo, WorkerInfo


@click.command()
@client_options
def status(app: str | None, broker: str | None, as_json: bool) -> None:
    """Shows the broker, its queues and its workers."""
    with client(app, broker) as speaker:
        info = speaker.transport.broker(speaker.conf.request_timeout)
        if as_json:
            print_json(asdict(info))
            return
        for line in describe(info, speaker.conf.broker_url, time.time()):
            click.echo(line)


def describe(info: BrokerInfo, url: str, now: float) -> Iterator[str]:
    """The lines to print. `now` is in seconds since 1970."""
    yield f"broker    {info.version} at {url}, up {duration(now - info.started_ms / 1000)}, data in {info.data_dir}"
    yield f"durable   {info.durability}"
    yield f"store     {size(info.used_bytes)} used, new work is refused above {size(info.high_water_bytes)}"
    yield f"backup    {_backup(info, now)}"
    if info.awaited:
        left = duration(info.recovery_left_ms / 1000)
        yield f"recovery  waiting for {', '.join(info.awaited)}, at most {left} more"
    yield ""
    yield from _queues(info)
    yield ""
    yield from worker_lines(info)
    yield from _untaken(info)


def _backup(info: BrokerInfo, now: float) -> str:
    if not info.backup_ms:
        return "none since the start of this broker"
    return f"{size(info.backup_bytes)}, {duration(now - info.backup_ms / 1000)} ago"


def _queues(info: BrokerInfo) -> Iterator[str]:
    if not info.queues:
        yield "no queues yet: the first job makes one"
        return
    names = ("queued", "running", "scheduled", "waiting", "succeeded", "failed", "cancelled", "expired")
    rows = [(queue.name, *(str(getattr(queue, name)) for name in names)) for queue in info.queues]
    yield from table([("QUEUE", *names), *rows])


def worker_lines(info: BrokerInfo) -> Iterator[str]:
    """The table of workers; their labels are in it when one has some."""
    if not info.workers:
        yield "no workers: start one with `tqbroker worker -A your_module`"
        return
    labelled = any(worker.labels for worker in info.workers)
    rows = [
        (
            worker.name,
            "connected" if worker.connected else "awaited",
            f"{worker.leases}/{worker.slots}" if _is_known(worker) else str(worker.leases),
            worker.pool or "-",
            ",".join(worker.queues) or "-",
            str(sum(not is_builtin(task) for task in worker.tasks)) if _is_known(worker) else "-",
            worker.version or "-",
            *([",".join(worker.labels) or "-"] if labelled else []),
        )
        for worker in info.workers
    ]
    heads = ("WORKER", "state", "running", "pool", "queues", "tasks", "version")
    yield from table([(*heads, "labels") if labelled else heads, *rows])


def _is_known(worker: WorkerInfo) -> bool:
    """Whether it has introduced itself. After its restart the broker knows only the leases of those it awaits."""
    return worker.connected or worker.slots > 0


def _untaken(info: BrokerInfo) -> Iterator[str]:
    """Queues whose jobs nobody runs, although there are workers."""
    taken = {name for worker in info.workers if worker.connected for name in worker.queues}
    untaken = [queue for queue in info.queues if queue.queued and queue.name not in taken]
    if info.workers and untaken:
        yield ""
        for queue in untaken:
            yield (
                f"queue {queue.name}: {queue.queued} queued, and no connected worker takes it;"
                f" start one with `tqbroker worker -A your_module -Q {queue.name}`"
            )
