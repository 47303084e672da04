"""Signatures as values: made, copied, changed, combined, written as JSON and read back."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.client.canvas_tools import Tasks, drawn

from tqbroker import App, Signature, chain, chord, chunks, group, maybe_signature, signature, subtask, xmap, xstarmap
from tqbroker.exceptions import NotRegistered

T = Tasks()
add, total, note = T.add.s, T.total.s, T.note.s


def test_a_signature_is_made_of_a_task_or_its_name() -> None:
    ways = [
        T.add.s(1, y=2),
        T.add.signature((1,), {"y": 2}),
        T.add.subtask((1,), {"y": 2}),
        signature("add", args=(1,), kwargs={"y": 2}),
        subtask(T.add, (1,), {"y": 2}),
        T.app.signature("add", (1,), {"y": 2}),
        Signature({"task": "add", "args": [1], "kwargs": {"y": 2}}),
    ]

    assert all(way == ways[0] for way in ways)
    assert dict(ways[0]) == {
        "task": "add",
        "args": (1,),
        "kwargs": {"y": 2},
        "options": {},
        "subtask_type": None,
        "immutable": False,
    }
    assert repr(ways[0]) == "add(1, y=2)"
    assert (ways[0].task, ways[0].name, ways[0].args, ways[0].kwargs) == ("add", "add", (1,), {"y": 2})
    assert ways[0].type is T.add
    assert ways[0].app is T.app


def test_options_stand_beside_the_arguments() -> None:
    sig = T.add.signature((2, 2), countdown=10, queue="mail").set(priority=3)

    assert sig.options == {"countdown": 10, "queue": "mail", "priority": 3}
    assert signature("add", (2, 2), options={"queue": "a"}, priority=1).options == {"queue": "a", "priority": 1}
    assert T.add.si(1).immutable
    assert T.add.s(1).set(immutable=True).immutable
    assert not T.add.signature((1,), immutable=False).immutable


def test_a_copy_gets_arguments_in_front_and_options_over_its_own() -> None:
    sig = T.add.signature((4,), {"debug": True}, countdown=1)

    partial = sig.clone((2,), {"debug": False}, queue="mail")

    assert (partial.args, partial.kwargs) == ((2, 4), {"debug": False})
    assert partial.options == {"countdown": 1, "queue": "mail"}
    assert (sig.args, sig.kwargs, sig.options) == ((4,), {"debug": True}, {"countdown": 1})
    assert T.add.si(1).partial((2,), {"y": 3}).args == (1,)
    assert sig.replace(args=(9,)).args == (9,)
    assert sig.replace(options={}).options == {}
    assert sig.replace(kwargs={}).kwargs == {}


def test_a_copy_shares_nothing_that_can_be_changed() -> None:
    whole = chain(add(1, 1), group(add(2), add(3)))
    other = whole.clone()

    other.tasks[0].set(queue="mail")
    other.options["link"] = [note()]
    grown = whole | add(4)
    grown.tasks[0].args = (9, 9)

    assert drawn(whole) == "add(1, 1) >1\n1 value> add(2) >2\n1 value> add(3) >2"
    assert whole.tasks[0].options == {}
    body = chord([add(1, 1)], total())
    body.clone().body.set(queue="mail")
    assert body.body.options == {}


def test_a_signature_is_called_as_its_task() -> None:
    assert T.add.s(4)(3) == 7
    assert T.add.s(1, 2)() == 3


def test_arguments_are_known_only_when_it_is_sent() -> None:
    with pytest.raises(TypeError, match="args must be a list or tuple"):
        signature("add", args=3)
    with pytest.raises(TypeError, match="a signature needs a task"):
        signature(lambda: None)
    with pytest.raises(NotRegistered, match="no task 'nowhere'"):
        _ = signature("nowhere", app=T.app).type


def test_links_are_kept_once_and_in_order() -> None:
    sig = add(1, 1)
    first = note("a")

    assert sig.link(first) is first
    sig.link(note("a"))
    sig.link(note("b"))
    assert sig.on_error(note("c")) is sig

    assert [each.args for each in sig.options["link"]] == [("a",), ("b",)]
    assert [each.args for each in sig.options["link_error"]] == [("c",)]
    assert sig.clone(link=note("d")).options["link"] == [note("a"), note("b"), note("d")]
    with pytest.raises(TypeError, match=r"link takes signatures, .*: write _add.s"):
        sig.link(T.add)


def test_links_of_links_are_flattened() -> None:
    sig, inner = add(1, 1), add(2)
    inner.link(add(3))
    sig.link(inner)
    sig.link(add(4))

    assert sig.flatten_links() == [sig, inner, add(3), add(4)]


def test_pipes_make_chains_and_chords() -> None:
    a, b, c = add(1, 1), add(2), add(3)

    assert isinstance(a | b, chain)
    assert (a | b | c).tasks == [a, b, c]
    assert (a | (b | c)).tasks == [a, b, c]
    assert chain(a, b, c) == chain([a, b, c]) == chain(each for each in (a, b, c)) == a | b | c
    assert isinstance(group(a, b) | total(), chord)
    assert isinstance(group(a, b) | group(b, c), chord)
    assert isinstance(chord([a], total()) | b, chord)
    assert isinstance(chord([a], total()) | group(b, c), chain)
    assert (group(a, b) | group()).tasks == [a, b]
    assert (a | group([b])).tasks == [a, b]
    assert (chain(a, b) | group()).tasks == [a, b]
    chained: Any = a
    chained |= b
    assert chained == a | b
    with pytest.raises(TypeError):
        _ = a | 3


def test_groups_and_chords_are_what_their_parts_say() -> None:
    many = group(add(i, i) for i in range(3))

    assert len(many) == 3
    assert len(group()) == 0
    assert group(many).tasks == many.tasks
    assert chord(many)["kwargs"]["body"] is None
    assert chord(many, total()).tasks == many.tasks
    assert chord(many, total()).body == total()
    assert repr(group(add(1, 1))) == "group([add(1, 1)])"
    assert repr(chord([add(1, 1)], total())) == "chord([add(1, 1)], total())"
    assert repr(add(1, 1) | add(2)) == "add(1, 1) | add(2)"
    assert (repr(group()), repr(chain())) == ("group(<empty>)", "chain(<empty>)")


@pytest.mark.parametrize(
    ("skew", "countdowns"),
    [((), [1, 2, 3]), ((0, None, 2), [0, 2, 4]), ((1, 2), [1, 2, 2])],
)
def test_a_skewed_group_starts_one_after_the_other(skew: tuple[Any, ...], countdowns: list[float]) -> None:
    many = group(add(i, i) for i in range(3))

    assert many.skew(*skew) is many
    assert [task.options["countdown"] for task in many.tasks] == countdowns


def test_immutable_parts_are_those_that_are_handed_something() -> None:
    many, whole = group(add(1, 1), add(2, 2)), chord([add(1, 1)], total())
    many.set_immutable(True)
    whole.set(immutable=True)

    assert all(task.immutable for task in many.tasks)
    assert whole.tasks[0].immutable
    assert not whole.body.immutable


def test_maps_hold_a_task_and_what_to_call_it_with() -> None:
    mapped, starred, parts = T.add.map([1, 2]), T.add.starmap([(1, 2)]), T.add.chunks([(1, 2)] * 5, 2)

    assert (type(mapped), type(starred), type(parts)) == (xmap, xstarmap, chunks)
    assert (mapped.task, starred.task) == ("tqbroker.map", "tqbroker.starmap")
    assert mapped.kwargs == {"task": add(), "it": [1, 2]}
    assert [each.kwargs["it"] for each in parts.group().tasks] == [[(1, 2)] * 2, [(1, 2)] * 2, [(1, 2)]]
    assert repr(mapped) == "[add(x) for x in [1, 2]]"
    assert xmap(T.add, iter([1])).kwargs["it"] == [1]
    with pytest.raises(ValueError, match="an int from 1 up"):
        T.add.chunks([], 0)


FORMS: list[Callable[[], Signature[Any]]] = [
    lambda: T.add.signature((1, {"a": [1, None]}), {"x": 1.5}, queue="mail", countdown=3),
    lambda: T.add.si(1).on_error(note("e")),
    lambda: add(1, 1) | add(2) | group(add(3), add(4)) | total(),
    lambda: chain(),
    lambda: group(add(1, 1), chain(add(1), add(2)).set(link=[note()])),
    lambda: chord([add(1, 1), chord([add(2, 2)], total())], total() | add(3)).set(queue="mail"),
    lambda: T.add.map([1, 2]),
    lambda: T.add.starmap([[1, 2]]),
    lambda: T.add.chunks([[1, 2], [3, 4]], 1),
    lambda: (add(1, 1) | add(2)).clone((5,), {"k": 1}),
]


@pytest.mark.parametrize("make", FORMS)
@pytest.mark.parametrize(
    "copied", [copy.deepcopy, copy.copy, lambda sig: pickle.loads(pickle.dumps(sig)), Signature.clone]
)
def test_every_form_can_be_copied(make: Callable[[], Signature[Any]], copied: Callable[[Any], Any]) -> None:
    sig = make()

    assert copied(sig) == sig
    assert type(copied(sig)) is type(sig)


@pytest.mark.parametrize("make", FORMS)
def test_every_form_can_be_written_as_json_and_read_back(make: Callable[[], Signature[Any]]) -> None:
    sig = make()

    back = signature(json.loads(json.dumps(sig)), app=T.app)

    assert back == sig
    assert type(back) is type(sig)
    assert repr(back) == repr(sig)
    if sig != chain():
        assert drawn(back) == drawn(sig)


def _sigs() -> st.SearchStrategy[Signature[Any]]:
    values = st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab", max_size=2)
    calls = st.builds(
        lambda args, kwargs, options, immutable: T.note.signature(args, kwargs, immutable=immutable, **options),
        st.lists(values, max_size=2),
        st.dictionaries(st.sampled_from(["x", "y"]), values, max_size=2),
        st.dictionaries(st.sampled_from(["queue", "countdown", "priority"]), st.integers(0, 3), max_size=2),
        st.booleans(),
    )
    return st.recursive(calls, _wholes, max_leaves=12)


def _wholes(parts: st.SearchStrategy[Signature[Any]]) -> st.SearchStrategy[Signature[Any]]:
    lists = st.lists(parts, min_size=1, max_size=3)
    linked = st.builds(lambda sig, link: sig.clone(link_error=link), lists.map(chain), parts)
    return lists.map(chain) | lists.map(group) | st.builds(chord, lists, parts) | linked


@given(_sigs())
def test_any_signature_survives_json_and_means_the_same(sig: Signature[Any]) -> None:
    back = signature(json.loads(json.dumps(sig)), app=T.app)

    assert back == sig
    assert drawn(back) == drawn(sig)


@given(_sigs(), _sigs())
def test_pipes_change_none_of_their_sides(first: Signature[Any], second: Signature[Any]) -> None:
    before = json.dumps([first, second])

    _ = first | second

    assert json.dumps([first, second]) == before


def test_what_is_no_signature_is_said() -> None:
    with pytest.raises(TypeError, match="is no signature"):
        signature({"args": []})
    with pytest.raises(ValueError, match="subtask_type='web' is none"):
        signature({"task": "x", "subtask_type": "web"})
    assert maybe_signature(None) is None
    sig = add(1, 1)
    assert maybe_signature(sig) is sig
    assert maybe_signature(sig, clone=True) is not sig
    other = App(set_as_current=False)
    found = maybe_signature(dict(sig), app=other)
    assert found is not None
    assert found.app is other


def test_callbacks_that_came_as_mappings_are_signatures_again() -> None:
    sig = signature(json.loads(json.dumps(add(1, 1).on_error(note("e")))))

    assert isinstance(sig.options["link_error"][0], Signature)
