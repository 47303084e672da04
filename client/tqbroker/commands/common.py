"""What the commands share: the app they speak for, how they print, and what an error means to the shell."""

from __future__ import annotations

import difflib
import importlib
import json
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from tqbroker.app import App
from tqbroker.exceptions import ImproperlyConfigured, NotRegistered, OperationalError, ResultNotFound, TqbrokerError
from tqbroker.exits import FAILED, NOT_FOUND, UNREACHABLE, USAGE
from tqbroker.loader import find_app

Command = TypeVar("Command", bound=Callable[..., Any])

_CODES = {"UNREACHABLE": UNREACHABLE, "NOT_FOUND": NOT_FOUND}
_OURS = (str(Path(__file__).parents[1]), str(Path(importlib.__file__).parent), "<frozen ")
"""Where the files are whose frames stand above those of an app that is loaded."""

_app = click.option("-A", "--app", metavar="MODULE[:APP]", help="App to speak for; its broker and its tasks' options.")
_broker = click.option("-b", "--broker", metavar="URL", help="Broker, for example tq://localhost.  [TQBROKER_URL]")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def client_options(command: Command) -> Command:
    """-A, -b and --json."""
    return _app(_broker(_json(command)))


def worker_options(command: Command) -> Command:
    """-d, the workers that are meant, and -t, how long to wait for them."""
    names = click.option(
        "--destination", "-d", "names", metavar="NAME,...", callback=_names, help="Only these workers."
    )
    timeout = click.option("--timeout", "-t", default=1.0, show_default=True, help="Seconds to wait for answers.")
    return names(timeout(command))


def _names(ctx: click.Context, param: click.Parameter, value: str | None) -> list[str]:
    return [name for name in (value or "").split(",") if name]


class Family(click.Group):
    """A command with subcommands: what is said of app and broker before one of these is its default."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        ctx = super().make_context(info_name, args, parent, **extra)
        given = {name: value for name, value in ctx.params.items() if value}
        ctx.default_map = {name: {**(ctx.default_map or {}), **given} for name in self.commands}
        return ctx


@contextmanager
def client(app: str | None, broker: str | None) -> Iterator[App]:
    """The app of -A, or one without tasks; at the broker of -b if given. Errors end the command with their code."""
    speaker: App | None = None
    try:
        speaker = _loaded(app) if app else App()
        if broker is not None:
            speaker.conf.broker_url = broker
        yield speaker
    except (ImproperlyConfigured, NotRegistered) as error:
        fail(str(error), USAGE)
    except ResultNotFound as error:
        fail(str(error), NOT_FOUND)
    except OperationalError as error:
        fail(str(error), _CODES.get(error.reason, FAILED))
    finally:
        if speaker is not None:
            speaker.close()


def _loaded(spec: str) -> App:
    """The app of -A."""
    with code_of(spec):
        return find_app(spec)


@contextmanager
def code_of(spec: str) -> Iterator[None]:
    """Code of the app that -A names: an error in it is printed without our frames above it, and ends the command."""
    try:
        yield
    except TqbrokerError:
        raise
    except Exception as error:
        _cannot_load(spec, error)


def _cannot_load(spec: str, error: Exception) -> NoReturn:
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_OURS):
        trace = trace.tb_next
    click.echo("".join(traceback.format_exception(error.with_traceback(trace))), err=True, nl=False)
    fail(f"the app {spec!r} cannot be loaded", FAILED)


def fail(message: str, code: int) -> NoReturn:
    """Prints what is wrong and ends the command."""
    click.echo(f"tqbroker: {message}", err=True)
    sys.exit(code)


def from_json(text: str, what: str) -> Any:
    """A value given on the command line."""
    try:
        return json.loads(text)
    except ValueError:
        quoted = json.dumps(text)
        raise click.UsageError(f"{what} {text!r} is not JSON: a text is written '{quoted}'") from None


def refuse_unknown_options(words: list[str]) -> None:
    """No JSON starts with two dashes, so such a word is an option that was misspelt."""
    for name in (word.partition("=")[0] for word in words if word.startswith("--")):
        context = click.get_current_context()
        known = [option for parameter in context.command.params for option in parameter.opts]
        raise click.NoSuchOption(name, possibilities=difflib.get_close_matches(name, known), ctx=context)


def show(value: Any) -> str:
    """A value for people: JSON if it can be, else its repr."""
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        return repr(value)


def print_json(value: Any) -> None:
    """A value for programs. What JSON cannot say is written as text, a moment in ISO 8601."""
    click.echo(json.dumps(value, ensure_ascii=False, default=_text))


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
