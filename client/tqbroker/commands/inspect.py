"""`tqbroker inspect`: ask workers."""

from __future__ import annotations

from typing import Any

import click

from tqbroker.commands.common import client, client_options, fail, print_json, show, worker_options
from tqbroker.exits import FAILED

ASKED = (
    "active", "active_queues", "conf", "ping", "query_task", "registered", "report", "reserved", "revoked", "scheduled",
    "stacks", "stats",
)  # fmt: skip

_WITH_ARGUMENTS = frozenset({"query_task", "registered"})


@click.command()
@click.argument("question", type=click.Choice(ASKED))
@click.argument("arguments", metavar="[ARGUMENT]...", nargs=-1)
@worker_options
@client_options
def inspect(
    question: str,
    arguments: tuple[str, ...],
    names: list[str],
    timeout: float,
    app: str | None,
    broker: str | None,
    as_json: bool,
) -> None:
    """Asks workers what they do and know. Exits with 1 when one of them did not answer."""
    if question == "query_task" and not arguments:
        raise click.UsageError("query_task takes the ids of jobs: query_task ID...")
    if arguments and question not in _WITH_ARGUMENTS:
        raise click.UsageError(f"{question} takes no arguments")
    with client(app, broker) as speaker:
        asked = speaker.control.inspect(names, timeout)
        answer: dict[str, Any] = getattr(asked, question)(*arguments)
    if as_json:
        print_json(answer)
    else:
        for name, said in sorted(answer.items()):
            _print(name, said)
    if not answer and not names:
        fail("no worker is connected: nobody was asked", FAILED)
    silent = [name for name, said in answer.items() if _is_error(said)]
    if silent:
        fail(f"no complete answer: {', '.join(sorted(silent))} did not answer", FAILED)


def _is_error(said: Any) -> bool:
    return isinstance(said, dict) and said.keys() == {"error"}


def _print(name: str, said: Any) -> None:
    click.echo(f"{name}:")
    if isinstance(said, str):
        lines = said.splitlines()
    elif isinstance(said, dict):
        lines = [f"{key}: {value if isinstance(value, str) else show(value)}" for key, value in said.items()]
    else:
        lines = [each if isinstance(each, str) else show(each) for each in said] or ["- empty -"]
    for line in lines:
        click.echo(f"    {line}")
