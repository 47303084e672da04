"""Results of groups, and sets of results, as Celery's users read them, with a real broker and worker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from tests.acceptance.harness.delivery import Delivery, delivery
from tests.acceptance.harness.waiting import PATIENCE, until

from tqbroker import chain, chord, group
from tqbroker.exceptions import ResultNotFound, TaskRevokedError, TimeoutError  # noqa: A004
from tqbroker.result import (
    GroupResult,
    ResultSet,
    allow_join_result,
    denied_join_result,
)
from tqbroker.states import RevokeEffect


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Delivery]:
    with delivery(tmp_path_factory.mktemp("groups"), "canvas") as place:
        place.broker()
        place.worker("-c", "4")
        yield place


def send(sig: Any) -> Any:
    """Submits a signature. Its result is one of several kinds."""
    return sig.delay()


def waiting_group(shop: Delivery, *first: Any) -> tuple[Any, str]:
    """A group whose last member waits for a gate, the name of which comes along."""
    gate = uuid4().hex
    return send(group(*first, shop.tasks.gated.s(gate))), gate


# -- of a group -------------------------------------------------------------------------------------------------------


def test_a_group_says_how_far_it_is(shop: Delivery) -> None:
    t = shop.tasks
    result, gate = waiting_group(shop, t.add.s(1, 1), t.add.s(2, 2))
    until(lambda: result.completed_count() == 2, "two members to succeed")

    assert (result.waiting(), result.ready(), result.successful(), result.failed()) == (True, False, False, False)
    assert len(result) == len(result.results) == len(result.children) == 3
    with pytest.raises(TimeoutError):
        result.get(timeout=0.1)

    shop.open(gate)
    assert result.get(timeout=PATIENCE) == [2, 4, gate]
    assert (result.waiting(), result.ready(), result.successful(), result.failed()) == (False, True, True, False)
    assert result.completed_count() == 3
    assert [result[0].get(), *(each.get() for each in result)] == [2, 2, 4, gate]


def test_values_of_a_group_come_in_order_or_as_they_are_ready(shop: Delivery) -> None:
    t, gate = shop.tasks, uuid4().hex
    result = send(group(t.gated.s(gate), t.add.s(1, 1), t.add.s(2, 2)))
    heard: list[tuple[str, Any]] = []

    values = result.iterate(timeout=PATIENCE)
    early = [next(values), next(values)]
    metas = result.iter_native(timeout=PATIENCE)
    ready = [next(metas) for _ in range(2)]
    shop.open(gate)

    assert sorted(early) == [2, 4]
    assert list(values) == [gate]
    assert {name for name, _ in ready} == {result[1].id, result[2].id}
    assert {(meta["status"], meta["result"]) for _, meta in ready} == {("SUCCESS", 2), ("SUCCESS", 4)}
    assert result.join(timeout=PATIENCE) == result.join_native(timeout=PATIENCE) == [gate, 2, 4]
    assert result.join(timeout=PATIENCE, callback=lambda name, value: heard.append((name, value))) == []
    assert heard == [(each.id, value) for each, value in zip(result, [gate, 2, 4], strict=True)]


def test_a_group_raises_what_its_member_raised(shop: Delivery) -> None:
    t = shop.tasks
    result = send(group(t.add.s(1, 1), t.fails.s(), t.add.s(2, 2)))

    with pytest.raises(KeyError, match="always"):
        result.get(timeout=PATIENCE)
    first, error, last = result.join(timeout=PATIENCE, propagate=False)
    assert (first, repr(error), last) == (2, "KeyError('always')", 4)
    assert (result.failed(), result.successful(), result.completed_count()) == (True, False, 2)
    with pytest.raises(KeyError, match="always"):
        result.maybe_throw()


def test_a_group_is_saved_and_found_again(shop: Delivery) -> None:
    t = shop.tasks
    result = group(t.add.s(1, 1), t.add.s(2, 2)).apply_async()
    result.save()

    found = GroupResult.restore(result.id, app=shop.app)

    assert found is not None
    assert found == result
    assert found.get(timeout=PATIENCE) == [2, 4]
    assert shop.app.GroupResult.restore(result.id) == result
    own = shop.app.GroupResult(str(uuid4()), [t.add.delay(1, 1), t.add.delay(2, 3)])
    own.save()
    restored = shop.app.GroupResult.restore(own.id)
    assert restored is not None
    assert restored.get(timeout=PATIENCE) == [2, 5]
    own.delete()
    assert shop.app.GroupResult.restore(own.id) is None


def test_a_group_is_revoked_as_a_whole(shop: Delivery) -> None:
    t = shop.tasks
    result = send(group(t.add.s(i, i) for i in range(3)).set(countdown=3600))

    assert result.revoke() == [RevokeEffect.CANCELLED] * 3
    for each in result:
        with pytest.raises(TaskRevokedError):
            each.get(timeout=PATIENCE)
        assert each.state == "REVOKED"


def test_a_running_member_is_terminated_and_the_body_says_so(shop: Delivery) -> None:
    t, gate = shop.tasks, uuid4().hex
    body = send(chord([t.gated.s(gate), t.add.s(1, 1)], t.seen.s()))
    member = body.parent[0]
    until(lambda: member.state == "STARTED", "the member to run")

    member.revoke(terminate=True, signal="SIGKILL")

    with pytest.raises(TaskRevokedError):
        body.get(timeout=PATIENCE)
    assert body.state == "REVOKED"
    assert body.parent[1].get(timeout=PATIENCE) == 2


def test_a_revoked_part_takes_what_follows_with_it(shop: Delivery) -> None:
    t = shop.tasks
    last = send(chain(t.add.s(1, 1).set(countdown=3600), t.add.s(1), t.add.s(1)))

    last.parent.parent.revoke()

    with pytest.raises(TaskRevokedError):
        last.get(timeout=PATIENCE)
    assert [last.state, last.parent.state] == ["REVOKED", "REVOKED"]


def test_the_result_of_nested_groups_is_shaped_as_they_are(shop: Delivery) -> None:
    t = shop.tasks
    result = send(group(t.add.s(1, 1) | group(t.add.s(1), t.add.s(2)), t.add.s(4, 4)))

    assert result.get(timeout=PATIENCE) == [[3, 4], 8]
    assert isinstance(result[0], GroupResult)
    assert result.results[0].parent.get(timeout=PATIENCE) == 2
    assert result.completed_count() == 3
    assert group([]).delay().get(timeout=PATIENCE) == []


# -- any results as one -----------------------------------------------------------------------------------------------


def test_a_set_of_results_is_waited_for_as_one(shop: Delivery) -> None:
    t = shop.tasks
    one, two, three = (t.add.delay(i, i) for i in range(3))
    results = ResultSet([one])

    results.add(two)
    results.add(two)
    results.update([two, three])
    assert results.get(timeout=PATIENCE) == [0, 2, 4]
    results.remove(two)
    results.discard(two)
    results.discard(one.id)
    with pytest.raises(KeyError):
        results.remove(two)
    assert results.results == [three]
    assert (results.ready(), results.waiting(), results.completed_count()) == (True, False, 1)
    results.clear()
    assert (len(results), results.get(timeout=PATIENCE)) == (0, [])
    assert shop.app.ResultSet([one, two]).join(timeout=PATIENCE) == [0, 2]
    results.add(three)
    results.forget()
    with pytest.raises(ResultNotFound):
        three.get(timeout=PATIENCE)


def test_a_job_may_wait_for_others_only_if_it_says_so(shop: Delivery) -> None:
    waits = shop.tasks.waits

    assert waits.delay("allowed").get(timeout=PATIENCE) == [2, [2, 4]]
    assert waits.delay("asked for").get(timeout=PATIENCE) == [2, [2, 4]]
    with pytest.raises(RuntimeError, match="inside"):
        waits.delay("neither").get(timeout=PATIENCE)
    with denied_join_result(), pytest.raises(RuntimeError), allow_join_result(), denied_join_result():
        shop.tasks.add.delay(1, 1).get(timeout=PATIENCE)
