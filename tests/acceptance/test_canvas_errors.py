"""Callbacks and errors of workflows as Celery's users write them, with a real broker and worker."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from tests.acceptance.harness.delivery import Delivery, delivery
from tests.acceptance.harness.waiting import PATIENCE, until

from tqbroker import AsyncResult, chain, chord, group, signature
from tqbroker.exceptions import ChordError, TaskRevokedError

Make = Callable[[Any], Any]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Delivery]:
    with delivery(tmp_path_factory.mktemp("errors"), "canvas") as place, pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "tasks", place.tasks)  # as in a program that imports it
        place.broker()
        place.worker("-c", "4")
        yield place


def send(sig: Any) -> Any:
    """Submits a signature. Its result is one of several kinds."""
    return sig.delay()


def said(place: Delivery, tag: str, count: int = 1) -> list[dict[str, Any]]:
    """What callbacks with this tag have written down, once there are so many."""

    def look() -> list[dict[str, Any]]:
        return [line for line in place.trace() if tag in (line.get("tag"), *line.get("values", ()))]

    until(lambda: len(look()) >= count, f"{count} callbacks")
    return look()


def ended(*results: Any) -> None:
    for each in results:
        until(each.ready, f"{each.id} to end")


# -- errors reach the caller ------------------------------------------------------------------------------------------

FAILING: dict[str, Make] = {
    "a task": lambda t: t.breaks.s("it"),
    "the first of a chain": lambda t: t.breaks.s("it") | t.seen.s(),
    "the last of a chain": lambda t: t.seen.s() | t.breaks.si("it"),
    "a part of a chain before a group": lambda t: t.breaks.s("it") | group(t.seen.s(), t.seen.s()),
    "a member of a group": lambda t: group(t.seen.s(), t.breaks.s("it")),
    "a body": lambda t: chord([t.seen.s(), t.seen.s()], t.breaks.si("it")),
    "a chain in a group": lambda t: group(t.seen.s(), t.breaks.s("it") | t.seen.s()),
    "what replaced a job": lambda t: t.grows.s(t.breaks.s("it")),
    "what came as JSON": lambda t: signature(dict(t.seen.s() | t.breaks.si("it")), app=t.app),
}


@pytest.mark.parametrize("where", FAILING)
def test_an_error_has_its_own_class_wherever_it_was_raised(shop: Delivery, where: str) -> None:
    result = FAILING[where](shop.tasks).delay()

    with pytest.raises(shop.tasks.BrokenError) as broken:
        result.get(timeout=PATIENCE)
    assert broken.value.args == ("it", 7)


BROKEN_CHORDS: dict[str, Make] = {
    "a member": lambda t: chord([t.seen.s(), t.breaks.s("it")], t.seen.s()),
    "a group that was piped": lambda t: group(t.breaks.s("it"), t.seen.s()) | t.seen.s(),
    "a member of one": lambda t: chord([t.breaks.s("it")], t.seen.s()),
    "a chain in the header": lambda t: chord([t.seen.s() | t.breaks.si("it"), t.seen.s()], t.seen.s()),
    "a chain behind another part": lambda t: t.seen.s() | group(t.breaks.si("it"), t.seen.s()) | t.seen.s(),
}


@pytest.mark.parametrize("where", BROKEN_CHORDS)
def test_a_chord_fails_once_and_names_its_member(shop: Delivery, where: str) -> None:
    tag = uuid4().hex
    body = BROKEN_CHORDS[where](shop.tasks).on_error(shop.tasks.told.s(tag)).delay()

    with pytest.raises(ChordError, match=r"Dependency .* raised BrokenError") as broken:
        body.get(timeout=PATIENCE)
    failed = [each for each in body.parent if each.state == "FAILURE"]
    assert [each.id for each in failed if each.id in str(broken.value)] == [failed[0].id]
    assert isinstance(broken.value.__cause__, shop.tasks.BrokenError)
    assert body.cause.id in str(broken.value)
    ended(*body.parent)
    assert len(said(shop, tag)) == 1


def test_chords_in_chords_fail_one_after_the_other(shop: Delivery) -> None:
    t, inner, outer = shop.tasks, uuid4().hex, uuid4().hex
    nested = chord([t.breaks.s("it"), t.seen.s()], t.seen.s()).on_error(t.told.s(inner))
    body = send(chord([nested, t.seen.s()], t.seen.s()).on_error(t.told.s(outer)))  # is the nested one's too

    with pytest.raises(ChordError, match=rf"Dependency {body.parent[0].id} raised ChordError"):
        body.get(timeout=PATIENCE)
    assert body.parent[1].get(timeout=PATIENCE) == []
    assert [line["failed"] for line in said(shop, inner)] == [body.parent[0].id]
    assert {line["failed"] for line in said(shop, outer, 2)} == {body.parent[0].id, body.id}


def test_a_member_that_was_tried_again_counts_once(shop: Delivery) -> None:
    t = shop.tasks
    body = send(chord([t.stumbles.s(1), t.stumbles.s(2), t.silent.s(3)], t.seen.s()))

    assert body.get(timeout=PATIENCE) == [[1, 2, None]]
    assert [each.retries for each in body.parent] == [2, 2, 0]


def test_the_other_members_go_on_when_one_has_failed(shop: Delivery) -> None:
    t, gate = shop.tasks, uuid4().hex
    body = send(chord([t.breaks.s("it"), t.gated.s(gate) | t.seen.s()], t.seen.s()))

    with pytest.raises(ChordError):
        body.get(timeout=PATIENCE)
    assert not body.parent[1].ready()
    shop.open(gate)
    assert body.parent[1].get(timeout=PATIENCE) == [gate]


# -- link -------------------------------------------------------------------------------------------------------------


def test_callbacks_get_the_result_and_may_be_whole_workflows(shop: Delivery) -> None:
    t, tag = shop.tasks, uuid4().hex
    sig = t.add.s(1, 1)
    assert sig.link(t.quiet.s(tag, kind="mutable")).task == "tasks.quiet"
    sig.link(t.quiet.si(tag, kind="immutable"))
    sig.link(t.add.s(1) | t.quiet.s(tag, kind="chain"))
    sig.link(group(t.quiet.s(tag, kind="group"), t.quiet.s(tag, kind="group")))
    sig.link(chord([t.add.s(1), t.add.s(2)], t.quiet.s(tag, kind="chord")))

    assert sig.delay().get(timeout=PATIENCE) == 2
    heard = sorted((line["kind"], line["values"][0]) for line in said(shop, tag, 6))
    assert heard == [
        ("chain", "3"), ("chord", "[3, 4]"), ("group", "2"), ("group", "2"), ("immutable", tag), ("mutable", "2"),
    ]  # fmt: skip


LINKED: dict[str, tuple[Make, list[str]]] = {
    "a chain": (lambda t: t.add.s(1, 1) | t.add.s(2), ["4"]),
    "a chain that ends in a group": (lambda t: t.add.s(1, 1) | group(t.add.s(1), t.add.s(2)), ["[3, 4]"]),
    "a chord": (lambda t: chord([t.add.s(1, 1)], t.total.s()), ["2"]),
    "a callback": (lambda t: t.add.s(1, 1), ["2"]),
}


@pytest.mark.parametrize("what", LINKED)
def test_what_is_linked_to_the_whole_is_called_with_its_result(shop: Delivery, what: str) -> None:
    make, values = LINKED[what]
    by_method, by_option = uuid4().hex, uuid4().hex
    sig = make(shop.tasks)
    sig.link(shop.tasks.quiet.s(by_method))
    sig.apply_async(link=[shop.tasks.quiet.s(by_option)])

    for tag in (by_method, by_option):
        assert [line["values"][0] for line in said(shop, tag)] == values


def test_a_callback_has_callbacks(shop: Delivery) -> None:
    t, tag = shop.tasks, uuid4().hex
    callback = t.add.s(10)
    callback.link(t.quiet.s(tag))
    failing = t.breaks.s("it").on_error(t.told.s(tag))

    t.add.apply_async((1, 1), link=[callback, failing])

    assert {line["word"] for line in said(shop, tag, 2)} == {"quiet", "told"}


def test_nothing_is_called_that_was_linked_to_the_other_end(shop: Delivery) -> None:
    t, tag, spared = shop.tasks, uuid4().hex, [str(uuid4()), str(uuid4())]
    ifs = [t.quiet.si(tag, end="good"), t.quiet.si(tag, end="bad")]
    good = t.add.apply_async((1, 1), link=ifs[0], link_error=ifs[1].clone(task_id=spared[0]))
    bad = t.breaks.apply_async(("it",), link=ifs[0].clone(task_id=spared[1]), link_error=ifs[1])

    ended(good, bad)
    assert sorted(line["end"] for line in said(shop, tag, 2)) == ["bad", "good"]
    callbacks = [shop.app.AsyncResult(each) for each in spared]
    ended(*callbacks)
    assert [each.state for each in callbacks] == ["REVOKED", "FAILURE"]


# -- link_error -------------------------------------------------------------------------------------------------------


def test_error_callbacks_are_called_in_the_style_that_they_are_written_in(shop: Delivery) -> None:
    t, old, new, fixed = shop.tasks, uuid4().hex, uuid4().hex, uuid4().hex
    sig = t.breaks.s("it", "own").on_error(t.told.s(old)).on_error(t.knows.s(new)).on_error(t.quiet.si(fixed))

    failed = sig.delay()

    assert said(shop, old)[0]["failed"] == failed.id
    known = said(shop, new)[0]
    assert (known["failed"], known["args"]) == (failed.id, ["it", "own"])
    assert (known["error"], known["seen"]) == ("BrokenError('it', 7)", True)
    assert said(shop, fixed)[0]["values"] == [fixed]


def test_an_error_callback_of_a_chain_is_called_once(shop: Delivery) -> None:
    t, tag, each = shop.tasks, uuid4().hex, uuid4().hex
    whole = t.seen.s() | t.breaks.si("it") | t.seen.s() | group(t.seen.s(), t.seen.s())
    last: Any = whole.on_error(t.told.s(tag)).delay()
    by_part = send(chain(*(part.on_error(t.told.s(each)) for part in (t.breaks.s("it"), t.seen.s(), t.seen.s()))))

    ended(last, by_part)
    assert [line["failed"] for line in said(shop, tag)] == [last.parent.parent.id]
    assert [line["failed"] for line in said(shop, each)] == [by_part.parent.parent.id]


def test_each_member_of_a_group_that_fails_is_told_of(shop: Delivery) -> None:
    t, tag = shop.tasks, uuid4().hex
    many = group(t.breaks.s("one"), t.seen.s(), t.breaks.s("two"))
    many.link_error(t.told.s(tag))
    result = send(many)

    ended(result)
    assert {line["failed"] for line in said(shop, tag, 2)} == {result[0].id, result[2].id}


@pytest.mark.parametrize("everywhere", [False, True])
def test_error_callbacks_of_a_chord_are_those_of_its_header_too_if_the_setting_says_so(
    shop: Delivery, everywhere: bool
) -> None:
    t, tag = shop.tasks, uuid4().hex
    shop.app.conf.task_allow_error_cb_on_chord_header = everywhere
    try:
        sig = chord([t.breaks.s("one"), t.seen.s(), t.breaks.s("two")], t.seen.s())
        sig.link_error(t.quiet.s(tag))
        body = send(sig)
    finally:
        shop.app.conf.task_allow_error_cb_on_chord_header = False

    ended(body, *body.parent)
    assert len(said(shop, tag, 3 if everywhere else 1)) == (3 if everywhere else 1)


def test_callbacks_are_told_of_what_expired_and_not_of_what_was_cancelled(shop: Delivery) -> None:
    t, tag = shop.tasks, uuid4().hex
    late = t.add.s(1, 1).set(countdown=30, expires=0.2).on_error(t.told.s(tag)).delay()
    gone = t.add.s(1, 1).set(countdown=3600).on_error(t.told.s(tag)).delay()
    gone.revoke()

    with pytest.raises(TaskRevokedError):
        late.get(timeout=PATIENCE)
    ended(gone)
    assert [line["failed"] for line in said(shop, tag)] == [late.id]


def test_an_error_callback_that_fails_is_a_job_that_failed(shop: Delivery) -> None:
    t, tag = shop.tasks, uuid4().hex
    t.breaks.s("it").on_error(t.fails.si().on_error(t.told.s(tag))).delay()

    (line,) = said(shop, tag)
    errback: AsyncResult[Any] = shop.app.AsyncResult(line["failed"])
    assert (errback.name, errback.state) == ("tasks.fails", "FAILURE")
