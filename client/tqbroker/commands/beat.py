"""`tqbroker beat`: for unit files and habits that come from Celery."""

from __future__ import annotations

import click

SENTENCE = (
    "schedules live in the broker, which fires them by itself: there is nothing to run here; "
    "`tqbroker schedules list` shows them"
)


@click.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.argument("rest", metavar="[OPTIONS]...", nargs=-1, type=click.UNPROCESSED)
def beat(rest: tuple[str, ...]) -> None:
    """Says that there is nothing to run: the broker fires schedules by itself. Takes the options of `celery beat`."""
    click.echo(SENTENCE)
