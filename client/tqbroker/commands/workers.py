"""`tqbroker workers`: who is there."""

from __future__ import annotations

from dataclasses import asdict

import click

from tqbroker.commands.common import client, client_options, print_json
from tqbroker.commands.status import worker_lines


@click.command()
@client_options
def workers(app: str | None, broker: str | None, as_json: bool) -> None:
    """Lists the workers that are connected or awaited. `inspect` asks them more, `control` commands them."""
    with client(app, broker) as speaker:
        info = speaker.transport.broker(speaker.conf.request_timeout)
    if as_json:
        print_json([asdict(worker) for worker in info.workers])
        return
    for line in worker_lines(info):
        click.echo(line)
