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


def test_callbacks_of_what_replaces_a_job_are_called_too(shop: Delivery) -> None:
    t, tag = shop.tasks, uuid4().hex
    replacing = t.seen.s("r")
    replacing.link(t.quiet.s(tag, of="the replacement"))
    job = t.grows.s(replacing)
    job.link(t.quiet.s(tag, of="the job"))
    failing = t.grows.s(t.breaks.s("it").on_error(t.quiet.si(tag, of="a failing replacement")))
    failing.link_error(t.quiet.si(tag, of="a failing job"))

    send(job)
    send(failing)

    of = until(lambda: calls(shop, tag, 4), "the callbacks")
    assert of == ["a failing job", "a failing replacement", "the job", "the replacement"]


def calls(shop: Delivery, tag: str, count: int) -> list[str]:
    found = sorted(line["of"] for line in shop.trace() if tag in line.get("values", ()))
    return found if len(found) >= count else []


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
