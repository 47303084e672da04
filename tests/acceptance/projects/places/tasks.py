"""Tasks of workflows: what they are handed, what they see of their place, what they submit or put there instead."""

from __future__ import annotations

from typing import Any

from tqbroker import App
from tqbroker.call import Batch, Join, Nodes, Workflow
from tqbroker.codec import encode_call
from tqbroker.exceptions import Replaced
from tqbroker.ids import new_key, new_keys

app = App("tasks")


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task
def large(size: int, letter: str) -> str:
    return size * letter


@app.task(ignore_result=True)
def silent() -> int:
    return 1


@app.task
def sizes(values: list[str | None], *own: Any) -> list[Any]:
    return [*((value or "-")[0] + str(len(value or "")) for value in values), *own]


@app.task
async def sizes_async(values: list[str | None], *own: Any) -> list[Any]:
    return [*((value or "-")[0] + str(len(value or "")) for value in values), *own]


@app.task
def nothing() -> str:
    return "nothing was handed over"


@app.task(bind=True, max_retries=1)
def fail(self: Any, word: str, *, note: str = "") -> None:
    raise self.retry(exc=KeyError(word), countdown=0)


@app.task
def why(request: Any, exc: BaseException, traceback: str, own: str) -> list[Any]:
    told = [request.id, request.task, request.args[0], request.kwargs["note"], request.retries, repr(exc)]
    return [*told, "in fail" in traceback, own]


@app.task
def told(failed: str, own: str = "") -> list[str]:
    return [failed, own]


@app.task(bind=True)
def where(self: Any, *handed: Any) -> list[Any]:
    request = self.request
    place = [request.root_id, request.parent_id, request.group, request.group_index, request.chord]
    return [handed, place]


@app.task(bind=True)
def spawn(self: Any, count: int = 0) -> list[str]:
    add.apply_async((0, 0), add_to_parent=False)
    add.delay_many([(number, 1) for number in range(count)])
    where.delay()
    return [child.id for child in self.request.children]


@app.task(bind=True, max_retries=0)
def spawn_and_fail(self: Any) -> None:
    child = add.delay(1, 1)
    raise ValueError(child.id)


@app.task(bind=True, ignore_result=False)
def stand_in(self: Any, x: int) -> int:
    """`add(x, 1) | add(10)` takes its place."""
    workflow, first = new_keys(2)
    head = add.default_head()._replace(parent=self.request.id, root=self.request.root_id)
    before = Nodes(Batch(head, [first], [encode_call((x, 1), {})]), member_of=(1,))
    last = Nodes(Batch(head, [new_key()], [encode_call((10,), {})]), after=1, takes_over=True)
    app.transport.submit_workflow(Workflow(workflow, "in its place", [Join(1)], [before, last], held=True), 5)
    raise Replaced(workflow)
