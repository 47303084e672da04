"""Tasks as workflows are written with in Celery's documentation. What they have to say stands in the file `trace`."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from tqbroker import App, Signature, Task, chain, chord, group, signature
from tqbroker.result import allow_join_result

app = App("tasks")
HERE = Path(__file__).parent


def trace(word: str, **more: Any) -> None:
    line = json.dumps({"word": word, **more}) + "\n"
    file = os.open(HERE / "trace", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, line.encode())
    os.close(file)


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task
def mul(x: int, y: int) -> int:
    return x * y


@app.task
def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task
def fails(*_: Any) -> None:
    raise KeyError("always")


@app.task(bind=True)
def notes(self: Task[..., Any], *values: Any) -> None:
    trace("note", id=self.request.id, values=values)


@app.task(bind=True)
def told(self: Task[..., Any], failed: str, tag: str) -> None:
    trace("told", id=self.request.id, failed=failed, tag=tag)


@app.task
def knows(request: Any, error: Exception, traceback: str, tag: str) -> None:
    trace(
        "knows", failed=request.id, args=list(request.args), error=repr(error), seen="Traceback" in traceback, tag=tag
    )


@app.task(bind=True)
def place(self: Task[..., Any], *_: Any) -> dict[str, Any]:
    """What the job knows of itself."""
    request = self.request
    return {
        "id": request.id,
        "root": request.root_id,
        "parent": request.parent_id,
        "group": request.group,
        "index": request.group_index,
        "chord": request.chord,
        "eta": request.eta,
        "stamps": request.stamps,
        "headers": dict(request.headers),
        "queue": request.queue,
        "priority": request.priority,
    }


def _linked(sig: Signature[Any]) -> Signature[Any]:
    sig.link(notes.s("inside"))
    return sig


class Watched(Task[..., Any]):
    """Says what replaces its jobs."""

    def on_replace(self, sig: Signature[Any]) -> Any:
        trace("replaced", by=repr(sig))
        return super().on_replace(sig)


@app.task(bind=True, base=Watched)
def becomes(self: Task[..., Any], what: str) -> Any:
    forms: dict[str, Any] = {
        "task": add.s(1, 2),
        "chain": add.s(1, 2) | add.s(3),
        "group": group(add.s(1, 1), add.s(2, 2)),
        "chord": chord([add.s(1, 1), add.s(2, 2)], total.s()),
        "stamped": place.s(),
        "linked": _linked(add.s(1, 1) | add.s(1)),
        "errors": (add.s(1, 1) | fails.s() | add.s(1)).on_error(told.s("inside")),
        "failing": chain(add.s(1, 2), fails.s()),
    }
    raise self.replace(forms[what])


@app.task(bind=True)
def counts_down(self: Task[..., Any], left: int, *_: Any) -> Any:
    """Is replaced so many times."""
    if left:
        raise self.replace(chain(place.s(), counts_down.si(left - 1)))
    return self.request.id


@app.task(bind=True)
def adds(self: Task[..., Any], lazy: bool) -> int:
    """Adds one more member to the chord that it is in."""
    sig = self.add_to_chord(add.s(100, 100), lazy=lazy)
    if lazy:
        sig.delay()
    return 1


@app.task
def expand(paths: list[str]) -> str:
    """Submits a workflow from its body."""
    return str(chord([add.s(len(path), 0) for path in paths], total.s()).delay().id)


# -- for forms in forms -----------------------------------------------------------------------------------------------


@app.task
def seen(*values: Any) -> list[Any]:
    """What it was called with."""
    return list(values)


@app.task
def named(x: int, y: int = 0, scale: int = 1) -> int:
    return (x + y) * scale


@app.task
def run_it(sig: dict[str, Any]) -> str:
    """Is sent a signature as an argument, and submits what it describes."""
    return str(signature(sig, app=app).delay(1).id)


@app.task(ignore_result=True)
def silent(x: int) -> int:
    return x


@app.task(bind=True, max_retries=3)
def stumbles(self: Task[..., Any], x: int) -> int:
    """Succeeds at the third attempt."""
    if self.request.retries < 2:
        raise self.retry(countdown=0)
    return x


@app.task
def gated(gate: str, *_: Any) -> str:
    """Waits until somebody opens the gate."""
    while not (HERE / gate).exists():
        time.sleep(0.01)
    return gate


# -- that fail --------------------------------------------------------------------------------------------------------


class BrokenError(Exception):
    """An error of the project's own."""


@app.task
def breaks(what: str, *_: Any) -> None:
    raise BrokenError(what, 7)


@app.task
def after_gate(gate: str) -> None:
    gated(gate)
    raise BrokenError(gate)


@app.task
def quiet(*values: Any, **more: Any) -> None:
    """Takes whatever it is called with."""
    trace("quiet", values=[str(value) for value in values], **more)


# -- from inside ------------------------------------------------------------------------------------------------------


@app.task(bind=True)
def grows(self: Task[..., Any], sig: dict[str, Any]) -> Any:
    """Has what it is sent run in its place."""
    raise self.replace(signature(sig, app=app))


@app.task(bind=True)
def joins(self: Task[..., Any], sigs: list[dict[str, Any]]) -> int:
    """Adds each signature to its chord."""
    for sig in sigs:
        self.add_to_chord(signature(sig, app=app))
    return 1


@app.task(trail=True)
def many(count: int) -> Any:
    """As in Celery's documentation of `collect`."""
    return group(one.s(number) for number in range(count))()


@app.task(trail=True)
def one(number: int) -> Any:
    return square.delay(number)


@app.task(trail=True)
def square(number: int) -> int:
    return number * number


@app.task(trail=False)
def forgets(number: int) -> str:
    return str(square.delay(number).id)


@app.task
def waits(how: str) -> Any:
    """Waits for jobs inside of a job."""
    single, several = add.delay(1, 1), group(add.s(1, 1), add.s(2, 2)).delay()
    if how == "allowed":
        with allow_join_result():
            return [single.get(timeout=10), several.get(timeout=10)]
    refuse = how == "neither"
    return [each.get(timeout=10, disable_sync_subtasks=refuse) for each in (single, several)]
