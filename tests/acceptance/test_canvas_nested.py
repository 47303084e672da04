"""Every form of a workflow inside of every other, run as written and as it comes back from JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.acceptance.harness.delivery import Delivery, delivery
from tests.acceptance.harness.waiting import PATIENCE

from tqbroker import Signature, chain, chord, group, signature

Make = Callable[[Any], Any]
Wrap = Callable[[Any, Any], Any]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Delivery]:
    with delivery(tmp_path_factory.mktemp("nested"), "canvas") as place:
        place.broker()
        place.worker()
        yield place


# Each call is one of `seen`, which returns the list of its arguments: so the value of a workflow tells what was handed
# from where to where. What it must be is worked out below from the signatures, by the words of the documentation.

INNER: dict[str, Make] = {
    "a task": lambda s: s("p"),
    "an immutable task": lambda s: s("p").set(immutable=True),
    "a chain": lambda s: s("p") | s("q"),
    "a group": lambda s: group(s("p"), s("q")),
    "a group of one": lambda s: group([s("p")]),
    "a chord": lambda s: chord([s("p"), s("q")], s("r")),
    "a chord of one": lambda s: chord([s("p")], s("r")),
    "a chord of none": lambda s: chord([], s("r")),
    "group | group": lambda s: group(s("p"), s("q")) | group(s("r"), s("t")),
    "a group of chains": lambda s: group(s("p") | s("q"), s("r")),
    "a chain that ends in a group": lambda s: s("p") | group(s("q"), s("r")),
    "a chord whose body is a chain": lambda s: chord([s("p"), s("q")], s("r") | s("t")),
    "a chord whose body is a chord": lambda s: chord([s("p")], chord([s("q"), s("r")], s("t"))),
}

OUTER: dict[str, Wrap] = {
    "alone": lambda s, part: part,
    "first of a chain": lambda s, part: chain(part, s("z")),
    "in the middle of a chain": lambda s, part: chain(s("a"), part, s("z")),
    "last of a chain": lambda s, part: s("a") | part,
    "in a group": lambda s, part: group(s("a"), part, s("z")),
    "in a header": lambda s, part: chord([s("a"), part], s("z")),
    "as a header": lambda s, part: chord(group([part]), s("z")),
    "as a body": lambda s, part: chord([s("a"), s("b")], part),
    "before a group": lambda s, part: part | group(s("y"), s("z")),
    "after a group": lambda s, part: group(s("a"), s("b")) | part,
}


@pytest.mark.parametrize("outer", OUTER)
@pytest.mark.parametrize("inner", INNER)
def test_every_form_in_every_other(shop: Delivery, inner: str, outer: str) -> None:
    seen = shop.tasks.seen.s
    sig = OUTER[outer](seen, INNER[inner](seen))

    assert sig.delay().get(timeout=PATIENCE) == value(sig, ())


@pytest.mark.parametrize("outer", OUTER)
def test_every_form_in_every_other_in_every_other(shop: Delivery, outer: str) -> None:
    seen = shop.tasks.seen.s
    sigs = [OUTER[outer](seen, wrap(seen, make(seen))) for wrap in OUTER.values() for make in INNER.values()]

    results = [again(shop, sig).delay("first") for sig in sigs]

    assert [each.get(timeout=PATIENCE) for each in results] == [value(sig, ("first",)) for sig in sigs]


@pytest.mark.parametrize("outer", OUTER)
def test_every_form_gives_the_same_in_place(shop: Delivery, outer: str) -> None:
    seen = shop.tasks.seen.s
    for make in INNER.values():
        sig = OUTER[outer](seen, make(seen))

        assert sig.apply(("first",)).get() == value(sig, ("first",))


def again(shop: Delivery, sig: Signature[Any]) -> Signature[Any]:
    """The signature after a way through JSON."""
    return signature(json.loads(json.dumps(sig)), app=shop.app)


# -- what must come out -----------------------------------------------------------------------------------------------


def value(sig: Any, handed: tuple[Any, ...]) -> Any:
    """What `get()` of its result returns."""
    kind, parts = sig["subtask_type"], sig["kwargs"]
    if kind == "chain":
        *before, last = steps(parts["tasks"])
        for part in before:
            handed = (onwards(part, handed),)
        return value(last, handed)
    if kind == "group":
        return [value(member, handed) for member in members(sig)]
    if kind == "chord":
        return value(parts["body"], (collected(parts["header"], handed),))
    return [*sig["args"]] if sig["immutable"] else [*handed, *sig["args"]]


def onwards(sig: Any, handed: tuple[Any, ...]) -> Any:
    """What the next part of a chain is handed: a value, or one flat list after what ends with a group."""
    return collected(sig, handed) if ends_with_many(sig) else value(sig, handed)


def collected(sig: Any, handed: tuple[Any, ...]) -> list[Any]:
    """The values of all calls that it ends with."""
    kind, parts = sig["subtask_type"], sig["kwargs"]
    if kind == "group":
        return [each for member in members(sig) for each in collected(member, handed)]
    if kind == "chord":
        return collected(parts["body"], (collected(parts["header"], handed),))
    if kind == "chain":
        *before, last = steps(parts["tasks"])
        for part in before:
            handed = (onwards(part, handed),)
        return collected(last, handed)
    return [value(sig, handed)]


def ends_with_many(sig: Any) -> bool:
    kind, parts = sig["subtask_type"], sig["kwargs"]
    if kind == "chain":
        return ends_with_many(steps(parts["tasks"])[-1])
    return kind == "group" or (kind == "chord" and ends_with_many(parts["body"]))


def members(sig: Any) -> list[Any]:
    """The members of a group; a group among them is part of it."""
    found = []
    for member in sig["kwargs"]["tasks"]:
        found += members(member) if member["subtask_type"] == "group" else [member]
    return found


def steps(tasks: list[Any]) -> list[Any]:
    """The parts of a chain: a group of one is its member."""
    return [step["kwargs"]["tasks"][0] if is_one(step) else step for step in tasks]


def is_one(sig: Any) -> bool:
    return sig["subtask_type"] == "group" and len(sig["kwargs"]["tasks"]) == 1
