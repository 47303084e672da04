"""What running jobs do to their workflows: replace themselves, add to their chord; with a real broker and worker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from tests.acceptance.harness.delivery import Delivery, delivery
from tests.acceptance.harness.waiting import PATIENCE, until

from tqbroker import chain, chord, group
from tqbroker.exceptions import ChordError


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Delivery]:
    with delivery(tmp_path_factory.mktemp("inside"), "canvas") as place:
        place.broker()
        place.worker("-c", "4")
        yield place


def said(place: Delivery, word: str, **which: Any) -> list[dict[str, Any]]:
    """What tasks have written down under a word."""
    lines = [line for line in place.trace() if line["word"] == word]
    return [line for line in lines if all(line[name] == value for name, value in which.items())]


def send(sig: Any) -> Any:
    """Submits a signature. Its result is one of several kinds."""
    return sig.delay()


def forms(t: Any) -> dict[str, tuple[Any, Any]]:
    """What a job may be replaced by, and the value."""
    return {
        "a task": (t.seen.s("r"), ["r"]),
        "a chain": (t.seen.s("r") | t.seen.s("s"), [["r"], "s"]),
        "a group": (group(t.seen.s("r"), t.seen.s("s")), [["r"], ["s"]]),
        "an empty group": (group([]), []),
        "a chain that ends in a group": (
            t.seen.s("r") | group(t.seen.s("s"), t.seen.s("t")),
            [[["r"], "s"], [["r"], "t"]],
        ),
        "a chord": (chord([t.seen.s("r")], t.seen.s("s")), [[["r"]], "s"]),
        "chunks": (t.add.chunks([(1, 1), (2, 2)], 1), [[2], [4]]),
        "a job that is replaced": (t.grows.s(t.grows.s(t.seen.s("r"))), ["r"]),
    }


FORMS = [
    "a task", "a chain", "a group", "an empty group", "a chain that ends in a group", "a chord", "chunks",
    "a job that is replaced",
]  # fmt: skip


@pytest.mark.parametrize("what", FORMS)
def test_what_replaces_a_job_stands_where_that_stood(shop: Delivery, what: str) -> None:
    t = shop.tasks
    sig, value = forms(t)[what]
    becomes = t.grows.si(sig)
    wholes = [
        becomes,
        becomes | t.seen.s("z"),
        t.seen.s("a") | becomes,
        group(t.seen.s("a"), becomes),
        chord([becomes, t.seen.s("a")], t.seen.s("z")),
        chord([t.seen.s("a")], becomes),
    ]

    results = [send(whole) for whole in wholes]

    assert [each.get(timeout=PATIENCE) for each in results] == [
        value, [value, "z"], value, [["a"], value], [[value, ["a"]], "z"], value,
    ]  # fmt: skip


def test_a_replacement_that_fails_fails_the_chord_in_the_jobs_name(shop: Delivery) -> None:
    t = shop.tasks
    body = send(chord([t.grows.s(t.seen.s("r") | t.breaks.si("it")), t.seen.s()], t.seen.s()))

    with pytest.raises(ChordError, match=f"Dependency {body.parent[0].id} raised BrokenError"):
        body.get(timeout=PATIENCE)


def test_every_form_may_be_added_to_a_chord(shop: Delivery) -> None:
    t = shop.tasks
    added = [t.seen.s("a"), t.seen.s("b") | t.seen.s("c"), chord([t.seen.s("d")], t.seen.s("e"))]

    body = send(chord([t.joins.s(added), t.seen.s("own")], t.seen.s()))

    (values,) = body.get(timeout=PATIENCE)
    assert values == [1, ["own"], ["a"], [["b"], "c"], [[["d"]], "e"]]


def test_what_is_added_may_add_more_and_may_fail(shop: Delivery) -> None:
    t = shop.tasks
    deep = send(chord([t.joins.s([t.joins.s([t.seen.s("deep")])])], t.seen.s()))
    bad = send(chord([t.joins.s([t.breaks.s("it")])], t.seen.s()))

    assert deep.get(timeout=PATIENCE) == [[1, 1, ["deep"]]]
    with pytest.raises(ChordError, match="BrokenError"):
        bad.get(timeout=PATIENCE)


def test_only_a_member_of_a_chord_can_add_to_one(shop: Delivery) -> None:
    t = shop.tasks
    for sig in (t.joins.s([t.seen.s()]), group(t.joins.s([t.seen.s()]), t.seen.s())):
        with pytest.raises(ValueError, match="this job is not in the header of a chord"):
            send(sig).get(timeout=PATIENCE)


def test_in_place_the_same_happens(shop: Delivery) -> None:
    t = shop.tasks
    for sig, value in forms(t).values():
        assert chain(t.grows.s(sig), t.seen.s("z")).apply().get() == [value, "z"]
    assert chord([t.joins.s([t.seen.s("a")]), t.seen.s()], t.seen.s()).apply().get() == [[1, [], ["a"]]]


def test_a_job_has_the_workflows_that_it_sends_as_children(shop: Delivery) -> None:
    t = shop.tasks
    job = t.expand.delay(["a", "bcd"])

    body = shop.app.AsyncResult(job.get(timeout=PATIENCE))

    assert job.children == [body]
    assert body.get(timeout=PATIENCE) == 4


# -- of tasks that say by what they are replaced ---------------------------------------------------------------------


@pytest.mark.parametrize(("what", "value"), [("task", 3), ("chain", 6), ("group", [2, 4]), ("chord", 6)])
def test_what_replaces_a_job_gives_its_value(shop: Delivery, what: str, value: Any) -> None:
    t = shop.tasks
    alone, waited = t.becomes.delay(what), (t.becomes.s(what) | t.notes.s(what)).delay()

    assert alone.get(timeout=PATIENCE) == value
    assert waited.get(timeout=PATIENCE) is None
    assert [line["values"] for line in said(shop, "note", id=waited.id)] == [[value, what]]
    assert said(shop, "replaced")


def test_a_replacement_that_fails_fails_the_job(shop: Delivery) -> None:
    with pytest.raises(KeyError, match="always"):
        shop.tasks.becomes.delay("failing").get(timeout=PATIENCE)


def test_a_member_of_a_chord_may_be_replaced_by_any_form(shop: Delivery) -> None:
    t = shop.tasks
    header = group(t.becomes.s("task"), t.add.s(1, 1), t.becomes.s("chord"), t.becomes.s("chain"))

    body = (header | t.total.s()).delay()

    assert body.get(timeout=PATIENCE) == 3 + 2 + 6 + 6
    assert body.parent.get(timeout=PATIENCE) == [3, 2, 6, 6]


def test_what_replaces_a_job_may_be_replaced_and_keeps_its_id(shop: Delivery) -> None:
    t = shop.tasks
    job = t.counts_down.delay(3)
    last = (t.add.s(1, 1) | t.counts_down.si(2) | t.notes.s("down")).delay()

    assert job.get(timeout=PATIENCE) == job.id
    last.get(timeout=PATIENCE)
    assert said(shop, "note", id=last.id)[0]["values"] == [last.parent.id, "down"]


def test_callbacks_of_a_replaced_job_wait_for_what_replaces_it(shop: Delivery) -> None:
    t, tag = shop.tasks, uuid4().hex
    good = t.becomes.apply_async(("chain",), link=t.notes.s(tag), link_error=t.told.s(tag))
    bad = t.becomes.apply_async(("failing",), link=t.notes.s("never", tag), link_error=t.told.s(tag))

    until(lambda: said(shop, "told", tag=tag), "the error callback to run")
    until(lambda: [line for line in said(shop, "note") if tag in line["values"]], "the callback to run")
    assert good.get(timeout=PATIENCE) == 6
    assert [line["failed"] for line in said(shop, "told", tag=tag)] == [bad.id]
    assert [line["values"] for line in said(shop, "note") if tag in line["values"]] == [[6, tag]]


def test_what_replaces_a_job_has_callbacks_of_its_own(shop: Delivery) -> None:
    t = shop.tasks
    good, bad = t.becomes.delay("linked"), (t.becomes.s("errors") | t.add.s(1)).delay()

    assert good.get(timeout=PATIENCE) == 3
    with pytest.raises(KeyError, match="always"):
        bad.get(timeout=PATIENCE)
    until(lambda: [line for line in said(shop, "note") if line["values"] == [3, "inside"]], "the callback to run")
    until(lambda: said(shop, "told", tag="inside"), "the error callback to run")
    assert len(said(shop, "told", tag="inside")) == 1


def test_stamps_of_a_job_are_those_of_what_replaces_it(shop: Delivery) -> None:
    job = shop.tasks.becomes.apply_async(("stamped",), stamps={"run": 7})

    assert job.get(timeout=PATIENCE)["stamps"] == {"run": ["7"]}


@pytest.mark.parametrize("lazy", [False, True])
def test_what_is_added_to_a_chord_comes_last(shop: Delivery, lazy: bool) -> None:
    t = shop.tasks

    assert (group(t.adds.s(lazy), t.add.s(2, 2)) | t.total.s()).delay().get(timeout=PATIENCE) == 205
