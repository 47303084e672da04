"""Groups by their id, parents, children, graphs, and results as tuples."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from tqbroker import App, context
from tqbroker.exceptions import ChordError, IncompleteStream
from tqbroker.request import Request
from tqbroker.result import AsyncResult, GroupResult, allow_join_result, denied_join_result, result_from_tuple
from tqbroker.v1 import job_pb2

GROUP = "11111111-1111-4111-8111-111111111111"


def jobs(app: App, count: int) -> list[AsyncResult[Any]]:
    return [app.send_task("t", (number,)) for number in range(count)]


@pytest.mark.parametrize("name", [GROUP, "my group"])
def test_a_group_is_saved_restored_and_deleted(wire: Any, app: App, name: str) -> None:
    group = app.GroupResult(name, jobs(app, 5))
    assert app.GroupResult.restore(name) is None
    group.save()
    restored = app.GroupResult.restore(name)

    assert restored == group
    assert GroupResult.restore(name, app=app) == group
    assert (group.children, bool(app.GroupResult(name)), str(group)) == (group.results, True, name)
    group.delete()
    assert app.GroupResult.restore(name) is None


def test_a_tree_of_results_comes_back_from_its_tuple(wire: Any, app: App) -> None:
    first, second, third, last = jobs(app, 4)
    second.parent = first
    group = GroupResult(GROUP, [second, third], parent=first, app=app)
    last.parent = group

    written = last.as_tuple()
    assert written == (
        (
            last.id,
            (
                (GROUP, ((first.id, None), None)),
                [((second.id, ((first.id, None), None)), None), ((third.id, None), None)],
            ),
        ),
        None,
    )
    for form in (written, json.loads(json.dumps(written))):
        back = result_from_tuple(form, app)
        assert isinstance(back, AsyncResult)
        assert (back, back.parent) == (last, group)
        assert back.parent is not None
        assert back.parent.parent == first
        assert back.as_tuple() == written
    assert last.as_list() == [last.id, GROUP, first.id]
    assert result_from_tuple(last) is last
    with pytest.raises(ValueError, match=r"is no result as a tuple: it is \(\(id, parent\), members or None\)"):
        result_from_tuple(8, app)


def test_a_long_chain_is_written_and_read_without_recursion(app: App) -> None:
    result = app.AsyncResult("0")
    for number in range(1, 5000):
        result = AsyncResult(str(number), app, parent=result)

    assert len(result.as_list()) == 5000
    assert result_from_tuple(result.as_tuple(), app) == result


def test_children_are_walked_level_by_level(wire: Any, app: App) -> None:
    root, left, right, leaf = jobs(app, 4)
    wire.beget(root.id, left.id, right.id)
    wire.beget(right.id, leaf.id)
    for number, each in enumerate((root, left, right, leaf)):
        wire.finish(each.id, number)

    assert (root.children, leaf.children) == ([left, right], None)
    assert list(root.iterdeps()) == [(None, root), (root, left), (root, right), (right, leaf)]
    assert [(node, value) for node, value in root.collect()] == [(root, 0), (left, 1), (right, 2), (leaf, 3)]
    assert root.get_leaf() == 3
    assert root.graph.edges() == [(root, left), (root, right), (right, leaf)]
    assert root.graph.topsort() == [root, left, right, leaf]
    assert (root.graph.valency_of(root), len(root.graph), leaf in root.graph) == (2, 4, True)


def test_the_graph_is_written_for_graphviz(wire: Any, app: App) -> None:
    root, leaf = jobs(app, 2)
    wire.beget(root.id, leaf.id)
    for each in (root, leaf):
        wire.finish(each.id, 1)
    text = io.StringIO()
    root.graph.to_dot(text)

    assert text.getvalue().splitlines()[-4:] == [
        f'  n0 [label="{root.id}"]',
        f'  n1 [label="{leaf.id}"]',
        "  n0 -> n1",
        "}",
    ]


def test_what_has_not_ended_has_no_known_children(wire: Any, app: App) -> None:
    root, leaf = jobs(app, 2)
    wire.beget(root.id, leaf.id)

    with pytest.raises(IncompleteStream, match=f"job {root.id} has not ended"):
        list(root.iterdeps())
    assert list(root.iterdeps(intermediate=True)) == [(None, root)]


def test_who_waited_for_a_failed_job_names_it_and_raises_with_its_error(wire: Any, app: App) -> None:
    member, body = jobs(app, 2)
    wire.fail(
        member.id,
        job_pb2.Failure(type="ValueError", module="builtins", message="boom", args=b'["boom"]', format="json"),
    )
    chord = job_pb2.Failure(type="ChordError", module="tqbroker.exceptions", message=f"Dependency {member.id} raised")
    wire.jobs[body._key].MergeFrom(job_pb2.JobStatus(workflow=b"w" * 16, cause=member.id))
    wire.fail(body.id, chord)

    with pytest.raises(ChordError, match=f"Dependency {member.id} raised") as caught:
        body.get(timeout=10)
    assert repr(caught.value.__cause__) == "ValueError('boom')"
    assert (body.cause, member.cause) == (member, None)
    with pytest.raises(ChordError) as caught:
        body.get(timeout=10, follow_parents=False)
    assert caught.value.__cause__ is None


def test_forgetting_takes_the_parents_along(wire: Any, app: App) -> None:
    first, second, last = jobs(app, 3)
    last.parent = GroupResult(GROUP, [second], parent=first, app=app)
    last.forget()

    assert [each.state for each in (first, second, last)] == ["UNKNOWN"] * 3


def test_waiting_inside_of_a_task_is_refused_unless_it_is_allowed(wire: Any, app: App) -> None:
    @app.task(name="t")
    def task() -> int:
        return 8

    result = task.delay()
    wire.finish(result.id, 8)
    token = context.push(task, Request("id", "t", (), {}))
    try:
        with pytest.raises(RuntimeError, match="wait for a job inside of a task"):
            result.get()
        with pytest.raises(RuntimeError, match="inside of a task"):
            app.ResultSet([result]).join()
        assert result.get(disable_sync_subtasks=False) == 8
        with allow_join_result():
            assert (result.get(), app.ResultSet([result]).get()) == (8, [8])
    finally:
        context.pop(token)
    with denied_join_result(), pytest.raises(RuntimeError):
        result.get()
    assert result.get() == 8
