"""`tqbroker limits`: how many at once, and how many per time."""

from __future__ import annotations

from typing import Any

import click

from tqbroker.commands.common import Family, client, client_options, print_json
from tqbroker.commands.tables import table
from tqbroker.operations import LimitInfo, LimitRule
from tqbroker.rates import Rate, parse_rates

_UNITS = {1_000: "s", 60_000: "m", 3_600_000: "h", 86_400_000: "d"}


@click.group(cls=Family)
def limits() -> None:
    """Lists and changes limits. They hold over all workers, from the next hand-out on, and over restarts."""


@limits.command("list")
@client_options
def listing(app: str | None, broker: str | None, as_json: bool) -> None:
    """Every limit, who set it, and how many jobs count against it now."""
    with client(app, broker) as speaker:
        found = speaker.operator.limits()
    if as_json:
        print_json([_json(limit) for limit in found])
        return
    for line in table([("LIMIT", "at once", "rate", "running", "set by"), *map(_row, found)]):
        click.echo(line)


@limits.command("set")
@click.argument("name")
@click.option("--concurrency", type=click.IntRange(0), help="Jobs at once; 0 for any number.")
@click.option("--rate", metavar="RATES", help='Starts per time, for example "10/s" or "10/s 100/m"; 0 for any.')
@client_options
def set_(
    name: str, concurrency: int | None, rate: str | None, app: str | None, broker: str | None, as_json: bool
) -> None:
    """Sets the limit NAME: task:TASK, queue:QUEUE, or a name that jobs have; a "*" at its end fits every rest.

    What is not named stays. A limit set here is not changed by any app.
    """
    if concurrency is None and rate is None:
        raise click.UsageError("name what to set: --concurrency, --rate, or both")
    rates = None if rate is None else _rates(rate)
    with client(app, broker) as speaker:
        operator = speaker.operator
        rule = next((limit.rule for limit in operator.limits() if limit.rule.name == name), LimitRule(name))
        if concurrency is not None:
            rule = rule._replace(concurrency=concurrency)
        if rates is not None:
            rule = rule._replace(rates=rates)
        operator.set_limits([rule])
    if as_json:
        print_json(_json(LimitInfo(rule, "operator", 0)))
    else:
        click.echo(f"{name}: {rule.concurrency or 'any number'} at once, {_shown(rule.rates) or 'at any rate'}")


@limits.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@client_options
def remove(names: tuple[str, ...], app: str | None, broker: str | None, as_json: bool) -> None:
    """Removes limits. What an app declares comes back with its next worker."""
    with client(app, broker) as speaker:
        speaker.operator.set_limits([], names)
    if as_json:
        print_json({"removed": names})
    else:
        click.echo(f"removed {', '.join(names)}")


def _rates(text: str) -> tuple[Rate, ...]:
    try:
        return parse_rates("" if text == "0" else text)
    except ValueError as error:
        raise click.UsageError(f"--rate: {error}") from None


def _shown(rates: tuple[Rate, ...]) -> str:
    return " ".join(f"{rate.starts}/{_UNITS.get(rate.period_ms, f'{rate.period_ms}ms')}" for rate in rates)


def _row(limit: LimitInfo) -> tuple[str, ...]:
    rule = limit.rule
    return (rule.name, str(rule.concurrency or "-"), _shown(rule.rates) or "-", str(limit.running), limit.source)


def _json(limit: LimitInfo) -> dict[str, Any]:
    rule = limit.rule
    return {
        "name": rule.name,
        "concurrency": rule.concurrency,
        "rates": [{"count": rate.starts, "period_ms": rate.period_ms} for rate in rule.rates],
        "running": limit.running,
        "source": limit.source,
    }
