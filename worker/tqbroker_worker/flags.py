"""Flags of `celery worker` that mean nothing here, or cannot mean anything: each with the sentence that says why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import click


class Silent(NamedTuple):
    """A flag that is accepted and has no effect. `takes`: what it is followed by, "" for nothing."""

    names: tuple[str, ...]
    takes: str
    why: str


SILENT = (
    Silent(("-E", "--task-events"), "", "events are always recorded"),
    Silent(("-O", "--optimization"), "PROFILE", "jobs are always handed out fairly"),
    Silent(("-S", "--statedb"), "PATH", "the broker keeps what is revoked"),
    Silent(("--without-gossip",), "", "workers do not talk to each other"),
    Silent(("--without-mingle",), "", "workers do not talk to each other"),
    Silent(("--without-heartbeat",), "", "heartbeats keep leases alive and cannot be switched off"),
    Silent(("--heartbeat-interval",), "SECONDS", "the broker says how often heartbeats are due"),
    Silent(("-B", "--beat"), "", "schedules are kept by the broker"),
    Silent(("-s", "--schedule", "--schedule-filename"), "PATH", "schedules are kept by the broker"),
    Silent(("--scheduler",), "CLASS", "schedules are kept by the broker"),
    Silent(("--result-backend",), "URL", "results are kept by the broker"),
    Silent(("--loader",), "CLASS", "the app is imported as it is"),
    Silent(("-C", "--no-color"), "", "logs have colors on a terminal only"),
    Silent(("--skip-checks",), "", "there are no checks of frameworks to skip"),
)
"""Accepted, with one line in the log."""

REFUSED = {
    ("--config",): ("MODULE", "settings are the app's: write app.config_from_object('MODULE') where the app is made"),
}
"""Not accepted: what to write instead."""


def accept(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the flags of both tables to a click command, out of sight; `given` finds those that were used."""
    for flag in reversed(SILENT):
        if flag.takes:
            command = click.option(*flag.names, _key(flag.names), metavar=flag.takes, hidden=True)(command)
        else:
            command = click.option(*flag.names, _key(flag.names), is_flag=True, hidden=True)(command)
    for names, (takes, instead) in REFUSED.items():
        refuse = _refuse(names[0], instead)
        command = click.option(*names, is_flag=not takes, hidden=True, expose_value=False, callback=refuse)(command)
    return command


def take_given(options: dict[str, Any]) -> list[str]:
    """Takes the silent flags out of the options of a command; gives a sentence for each that was used."""
    used = [(flag, options.pop(_key(flag.names))) for flag in SILENT]
    return [f"{flag.names[-1]} has no effect: {flag.why}" for flag, value in used if value]


def _key(names: tuple[str, ...]) -> str:
    return "silent_" + names[-1].strip("-").replace("-", "_")


def _refuse(name: str, instead: str) -> Callable[[click.Context, click.Parameter, object], None]:
    def callback(ctx: click.Context, _parameter: click.Parameter, value: object) -> None:
        if value:
            raise click.UsageError(f"{name} is not supported: {instead}", ctx)

    return callback
