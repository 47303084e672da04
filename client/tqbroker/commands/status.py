"""`tqbroker status`: the broker, its queues and its workers at a glance."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict

import click

from tqbroker.commands.common import client, client_options, print_json
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
    yield f"broker    {info.version} at {url}, up {_duration(now - info.started_ms / 1000)}, data in {info.data_dir}"
    yield f"durable   {info.durability}"
    yield f"store     {_size(info.used_bytes)} used, new work is refused above {_size(info.high_water_bytes)}"
    if info.awaited:
        left = _duration(info.recovery_left_ms / 1000)
        yield f"recovery  waiting for {', '.join(info.awaited)}, at most {left} more"
    yield ""
    yield from _queues(info)
    yield ""
    yield from _workers(info)
    yield from _untaken(info)


def _queues(info: BrokerInfo) -> Iterator[str]:
    if not info.queues:
        yield "no queues yet: the first job makes one"
        return
    names = ("queued", "running", "scheduled", "succeeded", "failed", "cancelled", "expired")
    rows = [(queue.name, *(str(getattr(queue, name)) for name in names)) for queue in info.queues]
    yield from _table([("QUEUE", *names), *rows])


def _workers(info: BrokerInfo) -> Iterator[str]:
    if not info.workers:
        yield "no workers: start one with `tqbroker worker -A your_module`"
        return
    rows = [
        (
            worker.name,
            "connected" if worker.connected else "awaited",
            f"{worker.leases}/{worker.slots}" if _is_known(worker) else str(worker.leases),
            worker.pool or "-",
            ",".join(worker.queues) or "-",
            str(len(worker.tasks)) if _is_known(worker) else "-",
            worker.version or "-",
        )
        for worker in info.workers
    ]
    yield from _table([("WORKER", "state", "running", "pool", "queues", "tasks", "version"), *rows])


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


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _duration(seconds: float) -> str:
    whole = max(0, int(seconds))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if whole >= size:
            return f"{whole // size} {unit}"
    return f"{whole} s"


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
