"""Workflows on their way to a broker: signals around them, refusals of them, and jobs that remember them."""

from __future__ import annotations

from typing import Any

import pytest

from tqbroker import App, Task, chain, chord, group
from tqbroker.context import pop, push
from tqbroker.exceptions import OperationalError, QueueFull
from tqbroker.ids import new_key, text_of
from tqbroker.messages import unpack_ids
from tqbroker.request import Request
from tqbroker.signals import after_task_publish, before_task_publish


@pytest.fixture
def add(app: App) -> Task[..., int]:
    def add(x: int, y: int) -> int:
        return x + y

    task: Task[..., int] = app.task(name="tasks.add")(add)
    return task


async def test_signals_come_around_each_job_of_a_workflow_in_its_order(
    wire: Any, app: App, add: Task[..., int]
) -> None:
    seen: list[tuple[str, str]] = []

    @before_task_publish.connect
    def tell_before(headers: Any, **_: Any) -> None:
        headers["trace"] = headers["id"]
        seen.append(("before", headers["id"]))

    @after_task_publish.connect
    def tell_after(headers: Any, **_: Any) -> None:
        assert headers["trace"] == headers["id"]
        seen.append(("after", headers["id"]))

    result = group(add.s(i, i) for i in range(3)).delay()
    await chain(add.s(1, 1), add.s(1)).adelay()

    ids = [each.id for each in result.results]
    assert [job for what, job in seen[:3] if what == "before"] == ids
    assert [what for what, _ in seen].count("after") == 5
    assert [text_of(key) for nodes in wire.parts[0].nodes for key in unpack_ids(nodes.jobs.ids)] == ids
    await app.aclose()


@pytest.mark.parametrize(("reason", "error"), [("INVALID", OperationalError), ("QUEUE_FULL", QueueFull)])
def test_a_refused_workflow_names_what_it_was_refused_for(
    wire: Any, app: App, add: Task[..., int], reason: str, error: type[Exception]
) -> None:
    told: list[Any] = []
    after_task_publish.connect(lambda **_: told.append(1), weak=False)
    app.conf.update({"submit_timeout": 0.2})
    wire.part_fault = lambda part: reason

    with pytest.raises(error, match=r"workflow") as refused:
        (add.s(1, 1) | add.s(1)).delay()

    assert getattr(refused.value, "reason", "") == reason
    assert told == []


def test_a_workflow_is_sent_at_once_also_inside_of_a_batch(wire: Any, app: App, add: Task[..., int]) -> None:
    with app.batch():
        (add.s(1, 1) | add.s(1)).delay()
        assert len(wire.parts) == 1
        add.delay(1, 1)
        assert len(wire.requests) == 0


def test_what_is_linked_to_a_call_goes_with_it(wire: Any, app: App, add: Task[..., int]) -> None:
    add.apply_async((1, 1), link=add.s(1), link_error=None)
    app.send_task("elsewhere", (1,), link=[add.s(1)])
    add.apply_async((1, 1), link=[], link_error=None)

    assert [part.name for part in wire.parts] == ["tasks.add", "elsewhere"]
    assert [[nodes.after for nodes in part.nodes] for part in wire.parts] == [[0, 1], [0, 1]]
    assert len(wire.requests) == 1


def test_nothing_is_sent_of_an_empty_group(wire: Any, app: App) -> None:
    assert group([], app=app).delay().get() == []
    assert wire.parts == []


def test_a_running_job_is_the_parent_of_what_it_sends_and_remembers_it(
    wire: Any, app: App, add: Task[..., int]
) -> None:
    request = Request(new_key(), "tasks.add")
    token = push(add, request)
    try:
        body = chord([add.s(1, 1), add.s(2, 2)], add.s(1)).delay()
        many = group(add.s(1, 1), add.s(2, 2)).delay()
        (add.s(1, 1) | add.s(1)).apply_async(add_to_parent=False)
    finally:
        pop(token)

    assert [each.id for each in request.children] == [body.id, *(each.id for each in many.results)]
    assert {nodes.jobs.parent for part in wire.parts for nodes in part.nodes} == {request.id}
    assert {nodes.jobs.root for part in wire.parts for nodes in part.nodes} == {request.id}


def test_what_replaces_a_running_job_is_held_and_no_child_of_itself(wire: Any, app: App, add: Task[..., int]) -> None:
    from tqbroker.exceptions import Replaced

    request = Request(new_key(), "tasks.add", fence=7)
    token = push(add, request)
    try:
        with pytest.raises(Replaced) as replaced:
            add.replace(add.s(1, 1) | add.s(1))
    finally:
        pop(token)

    [part] = wire.parts
    assert part.held
    assert replaced.value.workflow == part.workflow
    assert [nodes.takes_over for nodes in part.nodes] == [False, True]
    assert [nodes.jobs.parent for nodes in part.nodes] == [request.id, ""]
    assert request.children == []
