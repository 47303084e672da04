"""Results of workflows as Celery's users read them: parents, children, groups, trees, with a real broker and worker."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from tests.acceptance.harness.delivery import Delivery, delivery
from tests.acceptance.harness.waiting import PATIENCE, until

from tqbroker import group
from tqbroker.exceptions import IncompleteStream, ResultNotFound
from tqbroker.result import (
    AsyncResult,
    GroupResult,
    result_from_tuple,
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Delivery]:
    with delivery(tmp_path_factory.mktemp("results"), "canvas") as place:
        place.broker()
        place.worker("-c", "4")
        yield place


def send(sig: Any) -> Any:
    """Submits a signature. Its result is one of several kinds."""
    return sig.delay()


# -- one result -------------------------------------------------------------------------------------------------------


def test_a_result_has_the_one_before_it_as_parent(shop: Delivery) -> None:
    t = shop.tasks
    last = send(t.add.s(1, 1) | t.add.s(2) | group(t.add.s(3), t.add.s(4)) | t.total.s() | t.add.s(5))

    assert last.get(timeout=PATIENCE) == 20
    values, ids, result = [], [], last
    while result is not None:
        values.append(result.get(timeout=PATIENCE))
        ids.append(result.id)
        result = result.parent
    assert values == [20, 15, [7, 8], 4, 2]
    assert isinstance(last.parent.parent, GroupResult)
    assert last.as_list() == ids


def test_children_are_what_a_job_has_submitted_and_what_followed_on_it(shop: Delivery) -> None:
    t = shop.tasks
    last = (t.add.s(1, 1) | t.add.s(2)).delay()
    linked = t.add.apply_async((1, 1), link=t.seen.s("linked"))
    last.get(timeout=PATIENCE)
    linked.get(timeout=PATIENCE)

    assert last.parent.children == [last]
    assert last.children is None
    (child,) = linked.children
    assert child.get(timeout=PATIENCE) == [2, "linked"]
    forgets = t.forgets.delay(3)
    assert forgets.get(timeout=PATIENCE)
    assert forgets.children is None


def test_collect_gives_every_result_below_one(shop: Delivery) -> None:
    root = shop.tasks.many.delay(5)
    until(lambda: finished(root), "all jobs below it to end")

    found = list(root.collect(timeout=PATIENCE))

    assert [value for _, value in found if isinstance(value, int)] == [0, 1, 4, 9, 16]
    group_of_ones: Any = result_from_tuple(root.get(), app=shop.app)
    assert group_of_ones.results == root.children
    assert [result_from_tuple(each, app=shop.app).get() for each in group_of_ones.get()] == [0, 1, 4, 9, 16]
    assert found[0][0] == root
    assert root.get_leaf() == 16


def finished(root: AsyncResult[Any]) -> bool:
    try:
        return all(result.ready() for _, result in root.iterdeps())
    except IncompleteStream:
        return False


def test_iterdeps_goes_down_level_by_level_and_stops_at_what_is_not_ready(shop: Delivery) -> None:
    t, gate = shop.tasks, uuid4().hex
    last = (t.add.s(1, 1) | t.gated.si(gate) | t.seen.s()).delay()
    first, second = last.parent.parent, last.parent
    first.get(timeout=PATIENCE)

    with pytest.raises(IncompleteStream):
        list(first.iterdeps())
    assert list(first.iterdeps(intermediate=True)) == [(None, first), (first, second)]

    shop.open(gate)
    assert last.get(timeout=PATIENCE) == [gate]
    assert list(first.iterdeps()) == [(None, first), (first, second), (second, last)]


def test_a_graph_of_results_is_written_for_graphviz(shop: Delivery) -> None:
    t = shop.tasks
    last = (t.add.s(1, 1) | t.add.s(2) | t.add.s(3)).delay()
    last.get(timeout=PATIENCE)
    first = last.parent.parent

    text = io.StringIO()
    first.graph.to_dot(text)

    ids = [first.id, last.parent.id, last.id]
    assert all(f'"{each}"' in text.getvalue() for each in ids)
    assert text.getvalue().count("->") == 2
    assert text.getvalue().startswith("digraph")
    assert [each.id for each in first.graph.topsort()] == ids
    assert first.build_graph().edges() == [(first, last.parent), (last.parent, last)]


def test_a_tree_of_results_goes_through_json(shop: Delivery) -> None:
    t = shop.tasks
    last = send(t.add.s(1, 1) | group(t.add.s(1), t.add.s(2)) | t.total.s())

    back: Any = result_from_tuple(json.loads(json.dumps(last.as_tuple())), app=shop.app)

    assert back == last
    assert back.parent == last.parent
    assert back.parent.parent == last.parent.parent
    assert (back.get(timeout=PATIENCE), back.parent.get(), back.parent.parent.get()) == (7, [3, 4], 2)


def test_a_result_knows_how_its_job_was_run(shop: Delivery) -> None:
    t = shop.tasks
    last = (t.add.s(1, 1) | t.add.s(2)).delay()

    assert last.get(timeout=PATIENCE) == 4
    assert (last.name, last.queue, last.retries) == ("tasks.add", "default", 0)
    assert (last.worker, last.state, last.result) == ("worker@test", "SUCCESS", 4)
    assert last.date_done is not None
    assert last.exists()


def test_forgetting_a_result_forgets_its_parents(shop: Delivery) -> None:
    t = shop.tasks
    last = send(t.add.s(1, 1) | group(t.add.s(1), t.add.s(2)) | t.total.s())
    last.get(timeout=PATIENCE)

    last.forget()

    for each in (last, *last.parent.results, last.parent.parent):
        with pytest.raises(ResultNotFound):
            shop.app.AsyncResult(each.id).get(timeout=PATIENCE)
