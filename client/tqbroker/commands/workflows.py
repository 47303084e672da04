"""`tqbroker workflows`: chains, groups and chords as a whole."""

from __future__ import annotations

import sys
from typing import Any

import click

from tqbroker.app import App
from tqbroker.commands.common import Family, client, client_options, fail, print_json
from tqbroker.commands.filters import keys
from tqbroker.commands.tables import table
from tqbroker.commands.workflow_view import HEADINGS, graph, view_json, view_lines, workflow_json, workflow_line
from tqbroker.exceptions import OperationalError
from tqbroker.exits import FAILED, NOT_FOUND
from tqbroker.ids import key_of, text_of
from tqbroker.signal_names import signal_name
from tqbroker.workflow_info import WorkflowInfo, WorkflowOrder, WorkflowState, WorkflowView

MOST_SHOWN = 1000
"""Jobs of one workflow that are shown unless more are asked for."""

_states = click.Choice([state.name.lower() for state in WorkflowState])
_ids = click.argument("ids", metavar="ID...", nargs=-1, required=True)


@click.group(cls=Family, invoke_without_command=True)
@client_options
@click.pass_context
def workflows(ctx: click.Context, app: str | None, broker: str | None, as_json: bool) -> None:
    """Lists workflows with their progress; shows, cancels, retries and deletes them.

    Wherever the ID of a workflow is wanted, that of any of its jobs does as well.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(listing, states=(), limit=100, app=app, broker=broker, as_json=as_json)


@workflows.command("list")
@click.option("--state", "-s", "states", type=_states, multiple=True, help="Only in this state. May be repeated.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1), help="Most workflows to list.")
@client_options
def listing(states: tuple[str, ...], limit: int, app: str | None, broker: str | None, as_json: bool) -> None:
    """Lists workflows, the oldest first: how many of their jobs have ended, and how."""
    wanted = [WorkflowState[state.upper()] for state in states]
    with client(app, broker) as speaker:
        found = list(speaker.operator.workflows(wanted, limit))
    if as_json:
        print_json([workflow_json(info) for info in found])
        return
    for line in table([HEADINGS, *map(workflow_line, found)]):
        click.echo(line)


@workflows.command()
@click.argument("id")
@click.option("--dot", is_flag=True, help="Print the graph for Graphviz: tqbroker workflows show ID --dot | dot -Tsvg")
@click.option("--limit", default=MOST_SHOWN, show_default=True, type=click.IntRange(1), help="Most jobs to show.")
@client_options
def show(id: str, dot: bool, limit: int, app: str | None, broker: str | None, as_json: bool) -> None:  # noqa: A002
    """The jobs of workflow ID: where each stands, and what it waits for."""
    if dot and as_json:
        raise click.UsageError("--dot and --json exclude each other: each of them is a form of its own")
    with client(app, broker) as speaker:
        view = _known(speaker, id, limit)
    if as_json:
        print_json(view_json(view))
    elif dot:
        graph(view).to_dot(sys.stdout)
    else:
        for line in view_lines(view):
            click.echo(line)
    left_out = view.info.total - len(view.nodes)
    if left_out:
        click.echo(f"{left_out} more jobs are left out: --limit {view.info.total} shows all", err=True)


@workflows.command()
@_ids
@click.option("--terminate", is_flag=True, help="Stop running jobs too, by force where the pool can.")
@click.option("--signal", default="", metavar="NAME", help="With --terminate: for example SIGKILL. [SIGTERM]")
@client_options
def cancel(
    ids: tuple[str, ...], terminate: bool, signal: str, app: str | None, broker: str | None, as_json: bool
) -> None:
    """Cancels every job that has not ended, and asks running ones to end."""
    if signal and not terminate:
        raise click.UsageError("--signal is for what is stopped by force: add --terminate")
    try:
        name = signal_name(signal) if signal else ""
    except ValueError as error:
        raise click.UsageError(f"--{error}") from None
    _edit(ids, WorkflowOrder.CANCEL, app, broker, as_json, terminate=terminate, signal=name)


@workflows.command()
@_ids
@client_options
def retry(ids: tuple[str, ...], app: str | None, broker: str | None, as_json: bool) -> None:
    """Runs again what failed by itself, and lets what waited for it wait again."""
    _edit(ids, WorkflowOrder.RETRY, app, broker, as_json)


@workflows.command()
@_ids
@client_options
def delete(ids: tuple[str, ...], app: str | None, broker: str | None, as_json: bool) -> None:
    """Drops workflows with all their jobs and results. They must have ended: cancel them first."""
    _edit(ids, WorkflowOrder.DELETE, app, broker, as_json)


_DONE = {WorkflowOrder.CANCEL: "cancelled", WorkflowOrder.RETRY: "retried", WorkflowOrder.DELETE: "deleted"}

_WHY_NOT = {WorkflowOrder.RETRY: ", and no job of it has failed by itself"}


def _edit(
    ids: tuple[str, ...],
    order: WorkflowOrder,
    app: str | None,
    broker: str | None,
    as_json: bool,
    *,
    terminate: bool = False,
    signal: str = "",
) -> None:
    done: list[dict[str, Any]] = []
    with client(app, broker) as speaker:
        for each in ids:
            info = _known(speaker, each, 1).info
            changed = speaker.operator.edit_workflow(info.id, order, terminate=terminate, signal=signal)
            done.append({"id": text_of(info.id), "changed": changed})
            if not as_json:
                click.echo(f"{text_of(info.id)}  {_told(speaker, info, order, changed)}")
    if as_json:
        print_json(done)
    if not any(each["changed"] for each in done):
        sys.exit(FAILED)


def _told(speaker: App, before: WorkflowInfo, order: WorkflowOrder, changed: int) -> str:
    """What an order has come to."""
    if not changed:
        return f"nothing of it was {_DONE[order]}: it is {before.state.name}{_WHY_NOT.get(order, '')}"
    text = f"{_DONE[order]} {_jobs(changed)}"
    if order is not WorkflowOrder.CANCEL:
        return text
    running = speaker.operator.workflow(before.id, 1).info.left
    return f"{text}; {_jobs(running)} of it still running, asked to end" if running else text


def _jobs(count: int) -> str:
    return f"{count} {'job' if count == 1 else 'jobs'}"


def _known(speaker: App, name: str, most: int) -> WorkflowView:
    """The workflow with this id, or the one of the job with this id."""
    (key,) = keys([name])
    if isinstance(key, bytes):
        try:
            return speaker.operator.workflow(key, most)
        except OperationalError as error:
            if error.reason != "NOT_FOUND":
                raise
    workflow = speaker.operator.job(key_of(name)).workflow
    if not workflow:
        fail(f"the broker knows no workflow {name}, and no job of one with this id, or keeps it no longer", NOT_FOUND)
    return speaker.operator.workflow(workflow, most)
