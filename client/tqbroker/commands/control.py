"""`tqbroker control`: command workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import click

from tqbroker.commands.common import client, client_options, fail, print_json, show, worker_options
from tqbroker.exits import FAILED
from tqbroker.rates import parse_rates


class _Order(NamedTuple):
    """An order's arguments by name, and how each is read; the last `optional` ones may be left out."""

    arguments: Mapping[str, Callable[[str], Any]] = MappingProxyType({})
    optional: int = 0


def _seconds(text: str) -> float | None:
    try:
        return None if text in ("", "none", "None") else float(text)
    except ValueError:
        raise ValueError(f"{text!r} is no number of seconds: write one, or none for no limit") from None


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is no whole number") from None


def _rate(text: str) -> str:
    parse_rates(text)
    return text


ORDERS = {
    "add_consumer": _Order({"queue": str}),
    "autoscale": _Order({"max": int, "min": int}),
    "cancel_consumer": _Order({"queue": str}),
    "disable_events": _Order(),
    "enable_events": _Order(),
    "pool_grow": _Order({"n": _whole}, 1),
    "pool_restart": _Order(),
    "pool_shrink": _Order({"n": _whole}, 1),
    "rate_limit": _Order({"task_name": str, "rate_limit": _rate}),
    "shutdown": _Order(),
    "time_limit": _Order({"task_name": str, "soft": _seconds, "hard": _seconds}, 1),
}
_HERE = frozenset({"rate_limit"})
"""Orders that the broker carries out: they concern all workers."""


@click.command()
@click.argument("order", type=click.Choice(sorted(ORDERS)))
@click.argument("arguments", metavar="[ARGUMENT]...", nargs=-1)
@worker_options
@client_options
def control(
    order: str,
    arguments: tuple[str, ...],
    names: list[str],
    timeout: float,
    app: str | None,
    broker: str | None,
    as_json: bool,
) -> None:
    """Commands workers: pool_grow 2, add_consumer mail, time_limit tasks.add 5 10, rate_limit tasks.add 10/s, shutdown.

    Exits with 1 when one of them did not obey. Jobs are cancelled by `tqbroker jobs cancel`.
    """
    given = _read(order, arguments)
    with client(app, broker) as speaker:
        where: dict[str, Any] = {}
        if order not in _HERE:
            where = {"destination": names, "timeout": timeout}
        answers = getattr(speaker.control, order)(**given, **where)
    if answers is None:
        click.echo("null" if as_json else "done")
        return
    if as_json:
        print_json(answers)
    failed = []
    for answer in answers:
        for name, said in answer.items():
            if isinstance(said, dict) and "error" in said:
                failed.append(f"{name}: {said['error']}")
            elif not as_json:
                click.echo(f"{name}: {said if isinstance(said, str) else show(said)}")
    if failed:
        fail("; ".join(failed), FAILED)
    if not answers:
        fail("no worker is connected: nobody was told", FAILED)


def _read(order: str, given: tuple[str, ...]) -> dict[str, Any]:
    wanted, optional = ORDERS[order]
    if not len(wanted) - optional <= len(given) <= len(wanted):
        names = " ".join(name.upper() for name in wanted) or "no arguments"
        raise click.UsageError(f"{order} takes {names}")
    try:
        return {name: read(text) for (name, read), text in zip(wanted.items(), given, strict=False)}
    except ValueError as error:
        raise click.UsageError(f"{order}: {error}") from None
