"""`tqbroker events`: what happens, as it happens."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from tqbroker.commands.common import client, client_options, print_json
from tqbroker.events import TYPES


@click.command()
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("--after", default=0, type=click.IntRange(0), metavar="NUMBER", help="Begin behind this event.")
@click.option("--type", "types", type=click.Choice(list(TYPES.values())), multiple=True, help="Only these.")
@client_options
def events(
    follow: bool, after: int, types: tuple[str, ...], app: str | None, broker: str | None, as_json: bool
) -> None:
    """Prints the events that the broker keeps, the oldest first, with --json one object a line.

    Each has a number: --after with the last one seen goes on without gap or repeat.
    """
    with client(app, broker) as speaker:
        found = speaker.events.follow(after, types) if follow else speaker.events.read(after, types)
        try:
            for event in found:
                if as_json:
                    print_json(event)
                else:
                    click.echo(_line(event))
        except KeyboardInterrupt:
            return


def _line(event: dict[str, Any]) -> str:
    at = datetime.fromtimestamp(event["timestamp"]).astimezone().isoformat(" ", "milliseconds")
    words = [event.get("uuid", ""), event.get("name", ""), event.get("hostname", ""), event.get("exception", "")]
    return f"{event['number']:>8}  {at}  {event['type']:<15}  {'  '.join(word for word in words if word)}".rstrip()
