"""Results of workflows as an application holds them, with a real broker and worker."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.acceptance.harness.delivery import Delivery, delivery
from tests.acceptance.harness.waiting import PATIENCE, until

from tqbroker import chain, chord, group
from tqbroker.exceptions import ChordError, IncompleteStream, TaskRevokedError
from tqbroker.exceptions import TimeoutError as JobTimeoutError
from tqbroker.result import AsyncResult, GroupResult, result_from_tuple
from tqbroker.workflow_info import WorkflowOrder


@pytest.fixture
def shop(tmp_path: Any) -> Iterator[Delivery]:
    with delivery(tmp_path, "results") as place:
        place.broker()
        place.worker()
        yield place


def test_a_group_is_counted_waited_for_and_found_again_by_its_id(shop: Delivery) -> None:
    tasks = shop.tasks
    results = group([tasks.add.s(1, 1), tasks.waits.s(5), tasks.add.s(2, 2)])()
    assert isinstance(results, GroupResult)
    until(lambda: results.completed_count() == 2, "two of three to end")

    assert (results.ready(), results.waiting(), results.successful(), results.failed()) == (False, True, False, False)
    with pytest.raises(JobTimeoutError, match="1 of 3 jobs have not ended"):
        results.get(timeout=0.2)
    came = [meta["result"] for _, meta in zip(range(2), (meta for _, meta in results.iter_native()), strict=False)]
    assert sorted(came) == [2, 4]
    shop.open("gate")
    assert results.get(timeout=PATIENCE) == [2, 5, 4]
    restored = shop.app.GroupResult.restore(results.id)
    assert restored == results
    assert restored is not None
    assert (restored.join(), restored[1].group_id) == ([2, 5, 4], results.id)
    assert shop.app.GroupResult.restore("0198c0de-0000-7000-8000-000000000000") is None


def test_jobs_of_any_kind_are_saved_as_a_group_of_their_own(shop: Delivery) -> None:
    add, named = shop.tasks.add, shop.tasks.add.apply_async
    jobs = [named((0, 0), task_id="b"), add.delay(1, 1), named((2, 2), task_id="a"), add.delay(3, 3)]
    mine = shop.app.GroupResult("0198c0de-1111-4000-8000-000000000000", jobs)
    mine.save()

    restored = shop.app.GroupResult.restore(mine.id)
    assert restored is not None
    assert restored.get(timeout=PATIENCE) == [0, 2, 4, 6]
    mine.delete()
    assert shop.app.GroupResult.restore(mine.id) is None


def test_a_chain_leads_to_its_parents_and_through_a_tuple(shop: Delivery) -> None:
    tasks = shop.tasks
    last = chain(tasks.add.s(1, 1), group(tasks.add.s(1), tasks.add.s(2)), tasks.total.s())()
    assert last.get(timeout=PATIENCE) == 7

    members = last.parent
    assert isinstance(members, GroupResult)
    assert isinstance(members.parent, AsyncResult)
    assert (members.get(), members.parent.get()) == ([3, 4], 2)
    again = result_from_tuple(json.loads(json.dumps(last.as_tuple())), shop.app)
    assert isinstance(again, AsyncResult)
    assert again.parent is not None
    assert (again, again.parent, again.get(), again.parent.get()) == (last, members, 7, [3, 4])


def test_what_a_body_submits_and_what_follows_are_children(shop: Delivery) -> None:
    tasks = shop.tasks
    last = chain(tasks.submits.s(2), tasks.add.s(10))()
    assert last.get(timeout=PATIENCE) == 12
    first = last.parent

    assert isinstance(first, AsyncResult)
    children = first.children
    assert children is not None
    assert (len(children), children[-1]) == (3, last)
    assert sorted(value for _, value in first.collect(timeout=PATIENCE)) == [0, 2, 2, 12]
    assert first.get_leaf() == 12
    text = io.StringIO()
    first.graph.to_dot(text)
    assert text.getvalue().count(" -> ") == 3
    with pytest.raises(IncompleteStream):
        list(tasks.waits.delay(1).iterdeps())
    shop.open("gate")


def test_a_failure_keeps_its_class_and_names_who_is_at_fault(shop: Delivery) -> None:
    tasks = shop.tasks
    follower = chain(tasks.mends.s(3), tasks.add.s(1))()
    with pytest.raises(ArithmeticError, match="3 is broken"):
        follower.get(timeout=PATIENCE)
    assert follower.cause == follower.parent

    body = chord([tasks.mends.s(4), tasks.add.s(1, 1)])(tasks.total.s())
    with pytest.raises(ChordError, match="ArithmeticError: 4 is broken") as caught:
        body.get(timeout=PATIENCE)
    assert isinstance(caught.value.__cause__, ArithmeticError)
    assert isinstance(body.parent, GroupResult)
    assert body.cause == body.parent[0]
    with pytest.raises(ArithmeticError, match="4 is broken") as of_member:
        body.parent.get(timeout=PATIENCE)
    assert body.parent[0].id in of_member.value.__notes__[0]


def test_a_failed_workflow_is_mended_and_its_results_change(shop: Delivery) -> None:
    tasks = shop.tasks
    body = chord([tasks.mends.s(4), tasks.add.s(1, 1)])(tasks.total.s())
    with pytest.raises(ChordError):
        body.get(timeout=PATIENCE)
    assert body.workflow_id is not None
    shop.open("mended")
    (view,) = shop.app.operator.workflows()
    assert shop.app.operator.edit_workflow(view.id, WorkflowOrder.RETRY) == 1

    assert body.get(timeout=PATIENCE) == 6
    assert (body.state, body.parent.successful()) == ("SUCCESS", True)


def test_a_cancelled_group_says_so_of_each(shop: Delivery) -> None:
    results = group(shop.tasks.add.s(n, n).set(countdown=600) for n in range(3))()
    assert [str(effect) for effect in results.revoke()] == ["cancelled"] * 3

    with pytest.raises(TaskRevokedError, match="was cancelled"):
        results.get(timeout=PATIENCE)
    assert [each.state for each in results] == ["REVOKED"] * 3


async def test_groups_and_chords_are_awaited(shop: Delivery) -> None:
    tasks = shop.tasks
    assert await group(tasks.add.s(n, n) for n in range(3))() == [0, 2, 4]
    assert await chord([tasks.add.s(n, n) for n in range(3)])(tasks.total.s()) == 6
    with pytest.raises(ChordError) as caught:
        await chord([tasks.mends.s(1)])(tasks.total.s())
    assert isinstance(caught.value.__cause__, ArithmeticError)
    await shop.app.aclose()


def test_waiting_inside_of_a_task_is_refused_with_what_to_do(shop: Delivery) -> None:
    assert "Let a chain or a chord hand the value on" in shop.tasks.asks.delay().get(timeout=PATIENCE)


def test_a_group_of_ten_thousand_is_waited_for_at_once(shop: Delivery) -> None:
    results = group(shop.tasks.add.s(n, n) for n in range(10_000))()
    start = time.perf_counter()
    assert sum(results.get(timeout=PATIENCE * 4)) == 99_990_000
    print(f"waited {time.perf_counter() - start:.2f} s")
    again = shop.app.GroupResult.restore(results.id)
    assert again is not None
    start = time.perf_counter()
    assert (again.completed_count(), again.ready()) == (10_000, True)
    assert sum(again.join()) == 99_990_000
    print(f"asked anew {time.perf_counter() - start:.2f} s")
