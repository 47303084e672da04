"""`tqbroker call`: submit a job by the name of its task."""

from __future__ import annotations

from typing import Any

import click

from tqbroker.app import App
from tqbroker.async_result import AsyncResult
from tqbroker.commands.common import client, client_options, from_json, print_json, refuse_unknown_options
from tqbroker.commands.result import refuse_idle_timeout, report
from tqbroker.exceptions import NotRegistered


@click.command(context_settings={"ignore_unknown_options": True})  # so that -4 is an argument
@click.argument("task")
@click.argument("args", nargs=-1)
@click.option("--kwargs", default="{}", metavar="JSON", help="Keyword arguments as a JSON object.")
@click.option("--queue", metavar="NAME", help="Queue, instead of the task's or the default one.")
@click.option("--priority", type=click.IntRange(0, 9), help="Higher goes first.")
@click.option("--countdown", type=float, metavar="SECONDS", help="Start no earlier than this from now.")
@click.option("--eta", metavar="TIME", help="Start no earlier than this moment (ISO 8601, UTC without offset).")
@click.option("--expires", metavar="WHEN", help="Do not start later: seconds from now, or a moment.")
@click.option("--id", "task_id", metavar="ID", help="Id of the job; safe to use again for the same call.")
@click.option("--wait", is_flag=True, help="Wait for the end and print the result.")
@click.option("--timeout", type=float, metavar="SECONDS", help="With --wait: wait no longer.")
@client_options
def call(
    task: str,
    args: tuple[str, ...],
    kwargs: str,
    wait: bool,
    timeout: float | None,
    app: str | None,
    broker: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Submits a job of TASK with ARGS, each written as JSON, and prints its id when it is durable.

    tqbroker call tasks.add 4 4 --wait
    """
    refuse_unknown_options([task, *args])
    refuse_idle_timeout(wait, timeout)
    values = [from_json(text, "argument") for text in args]
    named = from_json(kwargs, "--kwargs")
    if not isinstance(named, dict):
        raise click.UsageError(f"--kwargs {kwargs!r} is not a JSON object: write '{{\"x\": 4}}'")
    given = {name: value for name, value in options.items() if value is not None}
    if "expires" in given:
        given["expires"] = _seconds_or_moment(given["expires"])
    with client(app, broker) as speaker:
        if app:
            _warn_of_unknown_task(speaker, task)
        result = _submit(speaker, task, values, named, given)
        if wait:
            report(result, wait=True, timeout=timeout, as_json=as_json)
        elif as_json:
            print_json({"id": result.id})
        else:
            click.echo(result.id)


def _warn_of_unknown_task(app: App, task: str) -> None:
    """Another worker may have the task, so it is submitted all the same."""
    try:
        app.tasks[task]
    except NotRegistered as error:
        click.echo(f"tqbroker: {error} Submitted by its name all the same.", err=True)


def _submit(app: App, task: str, args: list[Any], kwargs: dict[str, Any], options: Any) -> AsyncResult[Any]:
    """By the task itself when the app has it: its signature is checked and its options hold."""
    try:
        if task in app.tasks:
            return app.tasks[task].apply_async(args, kwargs, **options)
        return app.send_task(task, args, kwargs, **options)
    except (TypeError, ValueError) as error:
        raise click.UsageError(str(error)) from None


def _seconds_or_moment(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
