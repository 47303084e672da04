"""Tasks as workflows are written with in Celery's documentation. What they have to say stands in the file `trace`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tqbroker import App, Signature, Task, chain, chord, group

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
        "stamps": request.stamps,
        "headers": dict(request.headers),
        "queue": request.queue,
        "priority": request.priority,
    }


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
