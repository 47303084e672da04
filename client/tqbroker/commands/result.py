"""`tqbroker result`: how a job ended."""

from __future__ import annotations

import sys
from typing import Any

import click

from tqbroker.async_result import AsyncResult
from tqbroker.commands.common import client, client_options, fail, print_json, show
from tqbroker.exceptions import ResultNotFound
from tqbroker.exits import FAILED, NOT_FOUND
from tqbroker.states import READY_STATES, SUCCESS, UNKNOWN


@click.command()
@click.argument("id")
@click.option("--wait", is_flag=True, help="Wait for the job's end.")
@click.option("--timeout", type=float, metavar="SECONDS", help="With --wait: wait no longer.")
@client_options
def result(id: str, wait: bool, timeout: float | None, app: str | None, broker: str | None, as_json: bool) -> None:  # noqa: A002
    """Prints the return value of job ID, or the traceback of a failed one.

    Exits with 1 when the job failed or has not ended, with 3 when the broker knows nothing of it.
    """
    refuse_idle_timeout(wait, timeout)
    with client(app, broker) as speaker:
        try:
            found = speaker.AsyncResult(id)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        report(found, wait=wait, timeout=timeout, as_json=as_json)


def refuse_idle_timeout(wait: bool, timeout: float | None) -> None:
    """Without waiting there is nothing that a timeout could end."""
    if timeout is not None and not wait:
        raise click.UsageError("--timeout says how long --wait waits: add --wait")


def report(found: AsyncResult[Any], *, wait: bool, timeout: float | None, as_json: bool) -> None:
    """Prints where a job stands, and ends the command unless it succeeded."""
    if wait:
        _wait(found, timeout, as_json)
    state = found.state
    if as_json:
        _report_json(found, state)
    elif state == SUCCESS:
        click.echo(show(found.result))
    elif state in READY_STATES:
        error = found.result
        trace = (found.traceback or f"{type(error).__name__}: {error}").rstrip()
        fail(f"job {found.id} is {state}\n{trace}", FAILED)
    elif state == UNKNOWN:
        fail(f"the broker knows no job {found.id}, or keeps its result no longer", NOT_FOUND)
    else:
        why = f" ({found.waits_for})" if found.waits_for else ""
        fail(f"job {found.id} has not ended: {state}{why}; --wait waits for it", FAILED)


def _wait(found: AsyncResult[Any], timeout: float | None, as_json: bool) -> None:
    """Until the job has ended; how it did, and in JSON also that it did not, is reported by the caller."""
    try:
        found.get(timeout=timeout, propagate=False)
    except ResultNotFound:
        pass
    except TimeoutError as error:
        if not as_json:
            fail(str(error), FAILED)


def _report_json(found: AsyncResult[Any], state: str) -> None:
    error = found.result if state in READY_STATES and state != SUCCESS else None
    print_json(
        {
            "id": found.id,
            "state": state,
            "phase": found.phase.name,
            "waits_for": found.waits_for,
            "task": found.name,
            "queue": found.queue,
            "worker": found.worker,
            "retries": found.retries,
            "lost_leases": found.lost_leases,
            "date_done": found.date_done,
            "result": found.result if state == SUCCESS else None,
            "error": f"{type(error).__name__}: {error}" if isinstance(error, BaseException) else None,
            "traceback": found.traceback,
        }
    )
    if state == UNKNOWN:
        sys.exit(NOT_FOUND)
    if state != SUCCESS:
        sys.exit(FAILED)
