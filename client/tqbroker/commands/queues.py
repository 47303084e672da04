"""`tqbroker queues`: what waits where, and how each queue is to behave."""

from __future__ import annotations

from dataclasses import asdict

import click

from tqbroker.commands.common import Family, client, client_options, fail, print_json
from tqbroker.commands.tables import duration, table
from tqbroker.exits import NOT_FOUND
from tqbroker.operations import Cancel, JobFilter, Overflow, QueueChange, QueueRule
from tqbroker.states import Phase
from tqbroker.transport import QueueInfo

WAITING = frozenset({Phase.QUEUED, Phase.SCHEDULED})


@click.group(cls=Family, invoke_without_command=True)
@client_options
@click.pass_context
def queues(ctx: click.Context, app: str | None, broker: str | None, as_json: bool) -> None:
    """Lists queues with their counts; pauses, bounds, empties and deletes them."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(listing, app=app, broker=broker, as_json=as_json)


@queues.command("list")
@client_options
def listing(app: str | None, broker: str | None, as_json: bool) -> None:
    """Every queue with its counts and rule. `dead` are FAILED jobs that are kept to be redriven."""
    with client(app, broker) as speaker:
        found = speaker.transport.broker(speaker.conf.request_timeout).queues
        rules = speaker.operator.queue_rules()
    if as_json:
        print_json([{**asdict(queue), "rule": asdict(rules.get(queue.name, QueueRule()))} for queue in found])
        return
    names = ("queued", "running", "scheduled", "waiting", "succeeded", "dead", "cancelled", "expired", "rule")
    for line in table([("QUEUE", *names), *(_row(queue, rules.get(queue.name, QueueRule())) for queue in found)]):
        click.echo(line)


@queues.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@client_options
def pause(names: tuple[str, ...], app: str | None, broker: str | None, as_json: bool) -> None:
    """Hands out nothing more from these queues. Workers finish what they run; jobs can still be submitted."""
    _set(names, QueueChange(paused=True), app, broker, as_json)


@queues.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@client_options
def resume(names: tuple[str, ...], app: str | None, broker: str | None, as_json: bool) -> None:
    """Hands out again."""
    _set(names, QueueChange(paused=False), app, broker, as_json)


@queues.command("set")
@click.argument("name")
@click.option("--max-length", type=click.IntRange(0), help="Most jobs that wait; 0 for any number.")
@click.option("--overflow", type=click.Choice([each.value for each in Overflow]), help="What a full queue does.")
@click.option("--ttl", type=click.FloatRange(0), metavar="SECONDS", help="Expiry of jobs that name none; 0 for never.")
@click.option("--weight", "weights", multiple=True, metavar="TENANT=N", help="Turns of a tenant; 0 for the usual 1.")
@client_options
def set_(
    name: str,
    max_length: int | None,
    overflow: str | None,
    ttl: float | None,
    weights: tuple[str, ...],
    app: str | None,
    broker: str | None,
    as_json: bool,
) -> None:
    """Changes how a queue behaves. What is not named stays."""
    change = QueueChange(
        max_length=max_length,
        overflow=Overflow(overflow) if overflow else None,
        ttl_ms=None if ttl is None else round(ttl * 1000),
        weights=dict(_weight(each) for each in weights),
    )
    if change == QueueChange():
        raise click.UsageError("name what to change: --max-length, --overflow, --ttl or --weight")
    _set((name,), change, app, broker, as_json)


@queues.command()
@click.argument("name")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@client_options
def purge(name: str, yes: bool, app: str | None, broker: str | None, as_json: bool) -> None:
    """Cancels every job that waits in a queue. Running ones go on."""
    with client(app, broker) as speaker:
        known = {queue.name: queue for queue in speaker.transport.broker(speaker.conf.request_timeout).queues}
        if name not in known:
            fail(f"there is no queue {name}: `tqbroker queues` lists them", NOT_FOUND)
        waiting = known[name].queued + known[name].scheduled
        if not yes:
            click.confirm(f"Cancel {waiting} waiting jobs of queue {name}?", abort=True, err=True)
        edits = speaker.operator.edit(JobFilter(phases=WAITING, queue=name), Cancel())
        count = sum(bool(job.effect) for job in edits)
    if as_json:
        print_json({"queue": name, "cancelled": count})
    else:
        click.echo(f"cancelled {count} jobs of queue {name}")


@queues.command()
@click.argument("name")
@client_options
def delete(name: str, app: str | None, broker: str | None, as_json: bool) -> None:
    """Removes a queue and its rule. It must have no job that is not finished: purge it first."""
    with client(app, broker) as speaker:
        speaker.operator.delete_queue(name)
    if as_json:
        print_json({"queue": name, "deleted": True})
    else:
        click.echo(f"deleted queue {name}")


def _set(names: tuple[str, ...], change: QueueChange, app: str | None, broker: str | None, as_json: bool) -> None:
    with client(app, broker) as speaker:
        rules = {name: speaker.operator.set_queue(name, change) for name in names}
    if as_json:
        print_json({name: asdict(rule) for name, rule in rules.items()})
        return
    for name, rule in rules.items():
        click.echo(f"{name}: {describe(rule) or 'no rule'}")


def describe(rule: QueueRule) -> str:
    """A rule in words; empty for the default."""
    parts = ["paused"] if rule.paused else []
    if rule.max_length:
        parts.append(f"at most {rule.max_length} ({rule.overflow.value})")
    if rule.ttl_ms:
        parts.append(f"ttl {duration(rule.ttl_ms / 1000)}")
    parts += [f"{tenant}={weight}" for tenant, weight in sorted(rule.weights.items())]
    return ", ".join(parts)


def _row(queue: QueueInfo, rule: QueueRule) -> tuple[str, ...]:
    here = (queue.queued, queue.running, queue.scheduled, queue.waiting)
    over = (queue.succeeded, queue.failed, queue.cancelled, queue.expired)
    return (queue.name, *map(str, here + over), describe(rule))


def _weight(text: str) -> tuple[str, int]:
    tenant, _, weight = text.rpartition("=")
    if not tenant or not weight.isdigit():
        raise click.UsageError(f"--weight {text!r}: write TENANT=N, for example acme=3")
    return tenant, int(weight)
