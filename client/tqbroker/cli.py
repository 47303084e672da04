"""The `tqbroker` command: a table of subcommands, each imported when it is chosen."""

from __future__ import annotations

import importlib
import importlib.util
from typing import NamedTuple

import click

from tqbroker.exits import INTERRUPTED, USAGE


class _Entry(NamedTuple):
    where: str
    help: str
    needs_server: bool = False


COMMANDS = {
    "serve": _Entry("tqbroker_broker.cli:serve", "Run the broker.", needs_server=True),
    "worker": _Entry("tqbroker_worker.cli:worker", "Run a worker: it takes jobs from the broker and runs them."),
    "dev": _Entry("tqbroker_broker.dev:dev", "Run broker and worker here, with reload.", needs_server=True),
    "verify": _Entry("tqbroker_broker.cli_store:verify", "Check a store or a backup, all of it.", needs_server=True),
    "export": _Entry("tqbroker_broker.cli_export:export", "Write a store as lines of JSON.", needs_server=True),
    "import": _Entry("tqbroker_broker.cli_export:import_", "Make a data directory of an export.", needs_server=True),
    "call": _Entry("tqbroker.commands.call:call", "Submit a job by the name of its task."),
    "result": _Entry("tqbroker.commands.result:result", "Show how a job ended, or wait for it."),
    "status": _Entry("tqbroker.commands.status:status", "Show the broker, its queues and its workers."),
    "queues": _Entry("tqbroker.commands.queues:queues", "List queues; pause, bound, empty and delete them."),
    "jobs": _Entry("tqbroker.commands.jobs:jobs", "List, show, cancel, move and reschedule jobs."),
    "workflows": _Entry("tqbroker.commands.workflows:workflows", "List, show, cancel, retry and delete workflows."),
    "dead": _Entry("tqbroker.commands.dead:dead", "List, redrive and purge dead letters."),
    "limits": _Entry("tqbroker.commands.limits:limits", "List and change limits on rates and numbers."),
    "schedules": _Entry("tqbroker.commands.schedules:schedules", "List, add, pause, run and preview schedules."),
    "beat": _Entry("tqbroker.commands.beat:beat", "Nothing to run: the broker fires schedules by itself."),
    "workers": _Entry("tqbroker.commands.workers:workers", "List workers."),
    "inspect": _Entry("tqbroker.commands.inspect:inspect", "Ask workers what they do."),
    "control": _Entry("tqbroker.commands.control:control", "Command workers."),
    "backup": _Entry("tqbroker.commands.backup:backup", "Save the store of a running broker in a file."),
    "restore": _Entry("tqbroker_broker.cli_replace:restore", "Make a data directory of a backup.", needs_server=True),
    "compact": _Entry(
        "tqbroker_broker.cli_replace:compact", "Give the disk what a store does not use.", needs_server=True
    ),
    "events": _Entry("tqbroker.commands.events:events", "Print what happens."),
}


class LazyGroup(click.Group):
    """Lists the table without importing what it names."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        if entry.needs_server and importlib.util.find_spec("lmdb") is None:
            click.echo(f'`tqbroker {cmd_name}` needs the server: pip install "tqbroker[server]"', err=True)
            ctx.exit(USAGE)
        module, _, name = entry.where.partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Ctrl-C has a code of its own: click's would be that of a store with faults, or of a job that failed."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo(f"\ntqbroker {ctx.invoked_subcommand}: interrupted before its end", err=True)
            ctx.exit(INTERRUPTED)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-A", "--app", metavar="MODULE[:APP]", help="Where the app is, for example tasks or tasks:app.")
@click.option("-b", "--broker", metavar="URL", help="Broker, for example tq://localhost.  [TQBROKER_URL]")
@click.version_option(package_name="tqbroker", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, app: str | None, broker: str | None) -> None:
    """A durable task queue in one install: broker, worker, and the commands to use them."""
    # `tqbroker -A tasks worker` is `tqbroker worker -A tasks`: what stands before the command is its default.
    given = {name: value for name, value in (("app", app), ("broker", broker)) if value is not None}
    ctx.default_map = dict.fromkeys(COMMANDS, given)


def main() -> None:
    """The console script."""
    cli(prog_name="tqbroker")
