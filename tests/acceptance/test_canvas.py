"""Workflows as Celery's users write them, with a real broker and worker."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from tests.acceptance.harness.delivery import Delivery, delivery
from tests.acceptance.harness.waiting import PATIENCE, until

from tqbroker import chain, chord, group, signature
from tqbroker.canvas import StampingVisitor
from tqbroker.exceptions import ChordError, OperationalError

Make = Callable[[Any], Any]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Delivery]:
    with delivery(tmp_path_factory.mktemp("canvas"), "canvas") as place:
        place.broker()
        place.worker("-Q", "default,mail")
        yield place


def said(place: Delivery, word: str, **which: Any) -> list[dict[str, Any]]:
    """What tasks have written down under a word."""
    lines = [line for line in place.trace() if line["word"] == word]
    return [line for line in lines if all(line[name] == value for name, value in which.items())]


FORMS: list[tuple[Make, Any]] = [
    (lambda t: t.add.s(2, 2), 4),
    (lambda t: t.add.s(2, 2) | t.add.s(4) | t.mul.s(8), 64),
    (lambda t: chain(t.add.s(2, 2), t.add.s(4)), 8),
    (lambda t: chain([t.add.s(2, 2)]), 4),
    (lambda t: chain(t.add.s(i, i) if not i else t.add.s(i) for i in range(10)), 45),
    (lambda t: t.add.s(2, 2) | t.add.si(16, 16), 32),
    (lambda t: group(t.add.s(2, 2), t.add.s(4, 4)), [4, 8]),
    (lambda t: group(t.add.s(i, i) for i in range(10)), [2 * i for i in range(10)]),
    (lambda t: group([t.add.s(2, 2)]), [4]),
    (lambda t: group([]), []),
    (lambda t: chord([t.add.s(i, i) for i in range(100)], t.total.s()), 9900),
    (lambda t: chord((t.add.s(i, i) for i in range(3)), t.total.s()), 6),
    (lambda t: chord([], t.total.s()), 0),
    (lambda t: chord([t.add.s(1, 1)], t.total.s()), 2),
    (lambda t: group(t.add.s(i, i) for i in range(10)) | t.total.s(), 90),
    (lambda t: chain(t.add.s(4, 4), group(t.mul.s(i) for i in range(5)), t.total.s()), 80),
    (lambda t: group(t.add.s(1, 1), t.add.s(2, 2)) | group(t.total.s(), t.total.s()) | t.total.s(), 12),
    (lambda t: group(t.add.s(2, 2) | t.mul.s(4), t.add.s(1, 1)) | t.total.s(), 18),
    (lambda t: group(t.add.s(1, 1) | group(t.add.s(1), t.add.s(2)), t.add.s(4, 4)) | t.total.s(), 15),
    (lambda t: chord([chord([t.add.s(1, 1), t.add.s(2, 2)], t.total.s()), t.add.s(3, 3)], t.total.s()), 12),
    (lambda t: chord([t.add.s(1, 1)], chord([t.total.s(), t.total.s()], t.total.s())), 4),
    (lambda t: t.add.s(1, 1) | chord([t.add.s(2), t.add.s(3)], t.total.s()) | t.add.s(4), 13),
    (lambda t: chord([t.add.s(1, 1), t.add.s(2, 2)], t.total.s() | t.add.s(5)) | t.add.s(6), 17),
    (lambda t: chain(group([t.add.s(1, 1)]), t.add.s(2)), 4),
    (lambda t: chain(t.add.s(1, 1), group([]), t.add.s(2)), 4),
    (lambda t: t.total.map([[1, 2], [3]]), [3, 3]),
    (lambda t: t.add.starmap([(2, 2), (4, 4)]), [4, 8]),
    (lambda t: t.add.chunks(zip(range(5), range(5), strict=True), 2), [[0, 2], [4, 6], [8]]),
    (lambda t: t.add.chunks([(1, 1), (2, 2)], 1).group(), [[2], [4]]),
]


@pytest.mark.parametrize(("make", "value"), FORMS)
def test_every_form_gives_its_value(shop: Delivery, make: Make, value: Any) -> None:
    assert make(shop.tasks).apply_async().get(timeout=PATIENCE) == value


@pytest.mark.parametrize(("make", "value"), [FORMS[1], FORMS[14], FORMS[18], FORMS[27]])
def test_what_came_as_json_runs_as_what_was_written(shop: Delivery, make: Make, value: Any) -> None:
    sig = signature(json.loads(json.dumps(make(shop.tasks))), app=shop.app)

    assert sig.delay().get(timeout=PATIENCE) == value


def test_ways_to_call(shop: Delivery) -> None:
    t = shop.tasks

    assert chord([t.add.s(1, 1), t.add.s(2, 2)])(t.total.s()).get(timeout=PATIENCE) == 6
    assert chain(t.add.s(4), t.mul.s(2))(4).get(timeout=PATIENCE) == 16
    assert group(t.add.s(1), t.add.s(2))(10).get(timeout=PATIENCE) == [11, 12]
    assert ~(t.add.s(1, 1) | t.add.s(2)) == 4
    assert t.add.s(2).delay(3).get(timeout=PATIENCE) == 5
    assert t.add.s(2).apply_async((3,), countdown=0).get(timeout=PATIENCE) == 5
    assert t.add.chunks([(1, 1)], 1)().get(timeout=PATIENCE) == [[2]]
    assert shop.app.signature("tasks.add", (1, 2)).delay().get(timeout=PATIENCE) == 3
    assert (t.add.s(1) | t.add.s(2)).apply_async((3,)).get(timeout=PATIENCE) == 6
    assert t.add.s(4)(3) == 7


def test_a_workflow_is_sent_from_a_running_loop(shop: Delivery) -> None:
    t = shop.tasks

    async def send() -> Any:
        last = await (t.add.s(1, 1) | t.add.s(2)).adelay()
        return await last, await (await t.add.s(1, 1).aapply_async())

    assert asyncio.run(send()) == (4, 2)
    asyncio.run(shop.app.aclose())


def test_results_lead_back_to_where_it_began(shop: Delivery) -> None:
    t = shop.tasks
    last = (t.add.s(1, 1) | group(t.add.s(1), t.add.s(2)) | t.total.s()).delay()

    assert last.get(timeout=PATIENCE) == 7
    assert last.parent.get(timeout=PATIENCE) == [3, 4]
    assert last.parent.parent.get(timeout=PATIENCE) == 2
    assert last.parent.parent.parent is None


def test_the_graph_of_results_can_be_drawn(shop: Delivery) -> None:
    t = shop.tasks
    last = (t.add.s(1, 1) | t.add.s(2)).delay()
    last.get(timeout=PATIENCE)
    drawing = io.StringIO()

    last.graph.to_dot(drawing)

    assert drawing.getvalue().startswith("digraph")
    assert last.id in drawing.getvalue()


def test_frozen_ids_are_those_it_runs_under(shop: Delivery) -> None:
    t = shop.tasks
    whole = t.add.s(1, 1) | group(t.add.s(1), t.add.s(2)) | t.total.s()

    frozen = whole.freeze()
    sent = whole.delay()

    assert frozen.id == sent.id
    assert frozen.get(timeout=PATIENCE) == 7
    assert frozen.parent.parent.id == whole.tasks[0].id


def test_a_frozen_workflow_that_is_sent_twice_runs_once(shop: Delivery) -> None:
    t, tag = shop.tasks, uuid4().hex
    whole = group(t.notes.si(tag, 1), t.notes.si(tag, 2)) | t.notes.si(tag, 3)
    whole.freeze()

    first, second = whole.delay(), whole.delay()

    assert first.id == second.id
    second.get(timeout=PATIENCE)
    assert len([line for line in said(shop, "note") if tag in line["values"]]) == 3


# -- callbacks --------------------------------------------------------------------------------------------------------


def test_what_is_linked_is_called_with_the_result(shop: Delivery) -> None:
    t, tag = shop.tasks, uuid4().hex
    t.add.apply_async((2, 2), link=t.notes.s(tag))
    sig = t.add.s(3, 3) | t.mul.s(2)
    sig.link(t.notes.s(tag))
    sig.link(t.notes.si("silent", tag))
    sig.delay()

    def noted() -> list[Any]:
        return sorted((line["values"][0] for line in said(shop, "note") if line["values"][-1] == tag), key=str)

    until(lambda: len(noted()) == 3, "the callbacks to run")
    assert noted() == [12, 4, "silent"]


def test_errors_are_told_of_once_in_the_way_that_is_asked_for(shop: Delivery) -> None:
    t, tag = shop.tasks, uuid4().hex
    failed = t.fails.apply_async((1,), link_error=[t.told.s(tag), t.knows.s(tag)])
    until(lambda: said(shop, "told", tag=tag) and said(shop, "knows", tag=tag), "the callbacks to run")

    assert said(shop, "told", tag=tag)[0]["failed"] == failed.id
    known = said(shop, "knows", tag=tag)[0]
    assert {name: known[name] for name in ("failed", "args", "error", "seen")} == {
        "failed": failed.id,
        "args": [1],
        "error": "KeyError('always')",
        "seen": True,
    }


def test_a_chain_that_breaks_raises_what_broke_it_and_tells_once(shop: Delivery) -> None:
    t, tag = shop.tasks, uuid4().hex
    last = (t.add.s(1, 1) | t.fails.s() | t.add.s(1) | t.notes.s(tag)).on_error(t.told.s(tag)).delay()

    with pytest.raises(KeyError, match="always"):
        last.get(timeout=PATIENCE)
    until(lambda: said(shop, "told", tag=tag), "the callback to run")
    assert [line["failed"] for line in said(shop, "told", tag=tag)] == [last.parent.parent.id]
    assert not [line for line in said(shop, "note") if tag in line["values"]]


def test_a_chord_that_breaks_names_the_member_and_tells_once(shop: Delivery) -> None:
    t, tag = shop.tasks, uuid4().hex
    header = group(t.add.s(1, 1), t.fails.s(), t.fails.s(), t.notes.s(tag))
    body = (header | t.total.s().on_error(t.told.s(tag))).delay()

    with pytest.raises(ChordError, match=r"Dependency .* raised KeyError: 'always'") as broken:
        body.get(timeout=PATIENCE)
    assert any(member.id in str(broken.value) for member in body.parent.results[1:3])
    until(lambda: said(shop, "told", tag=tag), "the callback to run")
    until(lambda: [line for line in said(shop, "note") if tag in line["values"]], "the other member to go on")
    assert [line["failed"] for line in said(shop, "told", tag=tag)] == [body.id]


# -- options and stamps -----------------------------------------------------------------------------------------------


def test_options_reach_the_parts_that_they_are_for(shop: Delivery) -> None:
    t = shop.tasks
    both = group(t.place.s(), t.place.s()).apply_async(queue="mail", priority=7)
    last: Any = chain(t.place.s(), t.place.s().set(priority=2)).apply_async(
        queue="mail", headers={"a": 1}, task_id="mine"
    )

    places = both.get(timeout=PATIENCE)
    assert [(each["queue"], each["priority"]) for each in places] == [("mail", 7)] * 2
    assert {each["group"] for each in places} == {both.id}
    first, second = last.parent.get(timeout=PATIENCE), last.get(timeout=PATIENCE)
    assert (first["queue"], first["headers"]) == ("mail", {"a": 1})
    assert (second["queue"], second["priority"], second["id"]) == ("default", 2, "mine")
    assert (second["root"], second["parent"]) == (first["id"], first["id"])


class ByTask(StampingVisitor):
    """Stamps each call with the name of its task."""

    def on_signature(self, sig: Any, **headers: Any) -> dict[str, Any]:
        return {"by": sig.task, "note": "seen", "stamped_headers": ["by"]}


def test_stamps_and_headers_are_seen_by_every_task(shop: Delivery) -> None:
    t = shop.tasks
    whole = chord([t.place.s(), t.place.s()], t.place.s())
    whole.stamp(ByTask())
    whole.stamp(run="7")

    body: Any = whole.delay()

    for each in (*body.parent.get(timeout=PATIENCE), body.get(timeout=PATIENCE)):
        assert each["stamps"] == {"by": ["tasks.place"], "run": ["7"]}
        assert each["headers"] == {"note": "seen"}


def test_a_skewed_group_starts_one_after_the_other(shop: Delivery) -> None:
    many = group(shop.tasks.add.s(i, i) for i in range(3)).skew(start=0, step=0.05)

    assert many.delay().get(timeout=PATIENCE) == [0, 2, 4]


def test_a_workflow_is_stored_as_a_whole_or_not_at_all(shop: Delivery) -> None:
    t = shop.tasks
    taken = t.add.apply_async((1, 1), task_id=str(uuid4()))

    with pytest.raises(OperationalError, match=r"nothing of workflow .* is stored") as refused:
        (t.add.s(2, 2) | t.add.s(3).set(task_id=taken.id)).delay()

    assert refused.value.rejected
    assert taken.get(timeout=PATIENCE) == 2
