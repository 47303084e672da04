"""`tqbroker serve`: every setting as a flag."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from tqbroker_broker.settings import ConfigError, Setting, load, settings


def _option(setting: Setting) -> click.Option:
    default = ", ".join(setting.default) if setting.type is tuple else setting.default
    return click.Option(
        [setting.flag, setting.name],
        multiple=setting.type is tuple,
        metavar={int: "NUMBER", float: "NUMBER", str: "TEXT", tuple: "ADDRESS"}[setting.type],
        help=f"{setting.help}  [{setting.env}; default: {default or 'none'}]",
    )


def _serve(config: str | None, **flags: Any) -> None:
    given = {name: value for name, value in flags.items() if value not in (None, ())}
    file = config or os.environ.get("TQBROKER_CONFIG")
    try:
        loaded = load(given, os.environ, Path(file) if file else None)
    except ConfigError as error:
        click.echo(f"tqbroker serve: {error}", err=True)
        sys.exit(2)
    if os.environ.get("GRPC_VERBOSITY", "ERROR") == "ERROR":
        os.environ["GRPC_VERBOSITY"] = "NONE"  # what it has to say of a taken port, we say in one sentence
    from tqbroker_broker.server import run

    sys.exit(run(loaded))


_config = click.Option(["--config"], metavar="FILE", help="TOML file with settings.  [TQBROKER_CONFIG]")

serve = click.Command(
    "serve",
    callback=_serve,
    params=[_config, *(_option(setting) for setting in settings())],
    help="Runs the broker.\n\nA flag wins over the environment, the environment over the file given with --config.",
    short_help="Run the broker.",
)
