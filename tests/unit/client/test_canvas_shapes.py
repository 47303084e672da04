"""What each form of a workflow becomes: which call waits for which, and what it is handed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.client.canvas_tools import Tasks, drawn, drawn_graph

from tqbroker import chain, chord, group
from tqbroker.canvas import Signature
from tqbroker.graph import TAKES_OVER
from tqbroker.growing import grow

T = Tasks()
add, total, note = T.add.s, T.total.s, T.note.s

CHORD = """
add(1, 1) >1
add(2, 2) >1
1 list> total()"""

SHAPES: list[tuple[Callable[[], Signature[Any]], str]] = [
    (lambda: chain(add(1, 2)), "add(1, 2)"),
    (lambda: add(1, 2) | add(3) | add(4), "add(1, 2) >1\n1 value> add(3) >2\n2 value> add(4)"),
    (lambda: chain([add(1, 2), add(3)]), "add(1, 2) >1\n1 value> add(3)"),
    (lambda: chain(add(i) for i in (1, 2)), "add(1) >1\n1 value> add(2)"),
    (lambda: add(1, 2) | T.add.si(3, 4), "add(1, 2) >1\n1 silent> add(3, 4)"),
    (
        lambda: chain(add(1, 2) | add(3), chain(add(4), add(5))),
        "add(1, 2) >1\n1 value> add(3) >2\n2 value> add(4) >3\n3 value> add(5)",
    ),
    (lambda: group(add(1, 1), add(2, 2)), "add(1, 1) >1\nadd(2, 2) >1"),
    (lambda: group(add(i, i) for i in (1, 2)), "add(1, 1) >1\nadd(2, 2) >1"),
    (lambda: group([add(1, 1), group(add(2, 2), group(add(3, 3)))]), "add(1, 1) >1\nadd(2, 2) >1\nadd(3, 3) >1"),
    (lambda: group([add(1, 1), chain(), group()]), "add(1, 1) >1"),
    (lambda: chord([add(1, 1), add(2, 2)], total()), CHORD),
    (lambda: group(add(1, 1), add(2, 2)) | total(), CHORD),
    (lambda: chord(chain(add(1, 1), add(2, 2)), total()), CHORD),
    (lambda: chord((add(i, i) for i in (1, 2)), total()), CHORD),
    (lambda: chain(group(add(1, 1), add(2, 2)), total()), CHORD),
    (lambda: chord(add(1, 1), total()), "add(1, 1) >1\n1 list> total()"),
    (lambda: chord([], total()), "total([])"),
    (lambda: add(1, 1) | chord([], total()), "add(1, 1) >1\n1 silent> total([])"),
    (lambda: chain(add(1, 1), group([]), add(2)), "add(1, 1) >1\n1 value> add(2)"),
    (lambda: group([add(1, 1)]) | total(), "add(1, 1) >1\n1 list> total()"),
    (lambda: chain(group([add(1, 1)]), add(2)), "add(1, 1) >1\n1 value> add(2)"),
    (
        lambda: add(1, 1) | group(add(2), add(3)) | total() | add(4),
        "add(1, 1) >1\n1 value> add(2) >2\n1 value> add(3) >2\n2 list> total() >3\n3 value> add(4)",
    ),
    (
        lambda: group(add(1, 1), add(2, 2)) | group(total(), total()) | total(),
        "add(1, 1) >1\nadd(2, 2) >1\n1 list> total() >2\n1 list> total() >2\n2 list> total()",
    ),
    (
        lambda: group(add(1, 1) | add(2), add(3, 3)) | total(),
        "add(1, 1) >2\n2 value> add(2) >1\nadd(3, 3) >1\n1 list> total()",
    ),
    (
        lambda: group(add(1, 1) | group(add(2), add(3)), add(4, 4)) | total(),
        "add(1, 1) >2\n2 value> add(2) >3 >1\n2 value> add(3) >3 >1\nadd(4, 4) >1\n1 list> total()",
    ),
    (
        lambda: chord([chord([add(1, 1), add(2, 2)], total()), add(3, 3)], total()),
        "add(1, 1) >2\nadd(2, 2) >2\n2 list> total() >1\nadd(3, 3) >1\n1 list> total()",
    ),
    (
        lambda: chord([add(1, 1), add(2, 2)], chord([total(), total()], total())),
        "add(1, 1) >1\nadd(2, 2) >1\n1 list> total() >2\n1 list> total() >2\n2 list> total()",
    ),
    (
        lambda: chord([add(1, 1), add(2, 2)], total() | add(5)) | add(6),
        "add(1, 1) >1\nadd(2, 2) >1\n1 list> total() >2\n2 value> add(5) >3\n3 value> add(6)",
    ),
    (
        lambda: add(1, 1) | chord([add(2), add(3)], total()) | add(4),
        "add(1, 1) >1\n1 value> add(2) >3\n1 value> add(3) >3\n3 list> total() >2\n2 value> add(4)",
    ),
    (
        lambda: chord([add(1, 1), add(2, 2)], total()) | group(add(3), add(4)),
        "add(1, 1) >2\nadd(2, 2) >2\n2 list> total() >1\n1 value> add(3) >3\n1 value> add(4) >3",
    ),
    (
        lambda: T.add.chunks([(1, 1), (2, 2), (3, 3)], 2),
        "tqbroker.starmap(task=add(), it=[(1, 1), (2, 2)]) >1\ntqbroker.starmap(task=add(), it=[(3, 3)]) >1",
    ),
    (lambda: add(1, 1) | T.add.map([1]), "add(1, 1) >1\n1 silent> tqbroker.map(task=add(), it=[1])"),
]


@pytest.mark.parametrize(("make", "lines"), SHAPES)
def test_what_a_workflow_becomes(make: Callable[[], Signature[Any]], lines: str) -> None:
    assert drawn(make()) == lines.strip()


LINKS: list[tuple[Callable[[], Signature[Any]], str]] = [
    (lambda: _linked(add(1, 1), link=note()), "add(1, 1) >1\n1 value> note()"),
    (lambda: _linked(add(1, 1), link_error=note()), "add(1, 1) >1\n1 error> note()"),
    (lambda: _linked(add(1, 1), link=note() | add(2)), "add(1, 1) >1\n1 value> note() >2\n2 value> add(2)"),
    (lambda: _linked(add(1, 1), link=T.note.si()), "add(1, 1) >1\n1 silent> note()"),
    (
        lambda: _linked(add(1, 1) | add(2), link=note(), link_error=note("e")),
        "add(1, 1) >3 >1\n3 value> add(2) >2 >1\n2 value> note()\n1 error> note('e')",
    ),
    (
        lambda: add(1, 1).on_error(note("e")) | add(2).on_error(note("e")),
        "add(1, 1) >2 >1\n2 value> add(2) >1\n1 error> note('e')",
    ),
    (
        lambda: _linked(add(1, 1) | add(2).on_error(note("e")), link_error=note("e")),
        "add(1, 1) >2 >1\n2 value> add(2) >1\n1 error> note('e')",
    ),
    (
        lambda: add(1, 1).on_error(note("a")) | add(2).on_error(note("b")),
        "add(1, 1) >1 >2\n2 error> note('a')\n1 value> add(2) >3\n3 error> note('b')",
    ),
    (
        lambda: _linked(add(1, 1) | add(2), link_error=note("e")) | add(3),
        "add(1, 1) >3 >2\n3 value> add(2) >1 >2\n2 error> note('e')\n1 value> add(3)",
    ),
    (
        lambda: _linked(chord([add(1, 1), add(2, 2)], total()), link=note(), link_error=note("e")),
        "add(1, 1) >1\nadd(2, 2) >1\n1 list> total() >2 >3\n2 value> note()\n3 error> note('e')",
    ),
    (
        lambda: _linked(add(1, 1) | group(add(2), add(3)), link=total()),
        "add(1, 1) >2\n2 value> add(2) >1\n2 value> add(3) >1\n1 list> total()",
    ),
    (
        lambda: _linked(add(0, 0) | chord([add(1, 1), add(2, 2)], total()), link_error=note("e")),
        "add(0, 0) >2 >1\n2 value> add(1, 1) >3\n2 value> add(2, 2) >3\n3 list> total() >1\n1 error> note('e')",
    ),
]


def _linked(sig: Any, link: Any = None, link_error: Any = None) -> Any:
    if link is not None:
        assert sig.link(link) is link
    if link_error is not None:
        assert sig.link_error(link_error) is link_error
    return sig


@pytest.mark.parametrize(("make", "lines"), LINKS)
def test_what_is_linked_follows_on_what_it_is_linked_to(make: Callable[[], Signature[Any]], lines: str) -> None:
    assert drawn(make()) == lines


def test_a_group_links_its_first_member_and_errors_of_all() -> None:
    many = group(add(1, 1), add(2, 2))
    many.link(note("first"))
    many.link_error(note("e"))

    assert drawn(many) == (
        "add(1, 1) >1 >2 >3\n2 silent> note('first')\n3 error> note('e')\nadd(2, 2) >1 >4\n4 error> note('e')"
    )


def test_error_callbacks_of_a_chord_are_those_of_its_header_too_if_the_setting_says_so() -> None:
    tasks = Tasks(task_allow_error_cb_on_chord_header=True)
    whole = chord([tasks.add.s(1, 1), tasks.add.s(2, 2)], tasks.total.s())
    whole.link_error(tasks.note.s())

    assert drawn(whole).count("error> note()") == 3
    nodes = grow(whole).nodes
    assert [node.silent for node in nodes if node.sig.task == "note"] == [True, True, False]


def test_a_group_has_an_id_and_its_body_one_made_of_it() -> None:
    whole = chord([add(1, 1), add(2, 2)], total())
    whole.tasks = group(whole.tasks).set(task_id="01890a5d-ac96-774b-bcce-b302099a8057")

    first, second = grow(whole), grow(whole)

    assert first.joins[0].id == second.joins[0].id != b""
    assert first.nodes[2].key == second.nodes[2].key
    assert first.nodes[0].key != second.nodes[0].key


def test_the_result_is_the_last_and_knows_what_was_before() -> None:
    graph = grow(add(1, 1) | group(add(2), add(3)) | total())

    assert [(each.node, each.members, each.parent) for each in graph.outcomes] == [
        (0, (), -1),
        (1, (), 0),
        (2, (), 0),
        (-1, (1, 2), 0),
        (3, (), 3),
    ]
    assert graph.result == 4


def test_what_takes_over_is_the_last_call() -> None:
    graph = grow(add(1, 1) | add(2), key=TAKES_OVER)

    assert [node.key == TAKES_OVER for node in graph.nodes] == [False, True]
    with pytest.raises(ValueError, match="leave task_id out"):
        grow(add(1, 1).set(task_id="mine"), key=TAKES_OVER)


def test_what_is_added_beside_is_what_ends() -> None:
    graph = grow(add(1, 1) | group(add(2), add(3)), beside=True)

    assert [node.beside for node in graph.nodes] == [False, True, True]


def test_what_cannot_be_a_workflow_is_an_error_that_says_why() -> None:
    with pytest.raises(ValueError, match="no parts"):
        grow(chain())
    with pytest.raises(TypeError, match="has no body"):
        grow(chord([add(1, 1)]))
    with pytest.raises(ValueError, match="id of a group is a UUID"):
        grow(group(add(1, 1)).set(task_id="mine"))
    for wrong in (lambda: chain(T.add), lambda: group([T.add, add(1)]), lambda: chord([1], total())):
        with pytest.raises(TypeError, match="takes signatures, not"):
            wrong()


def test_long_chains_and_deep_nests_need_no_stack() -> None:
    long = functools.reduce(lambda whole, part: whole | part, (add(i) for i in range(10_000)), chain(add(1, 1)))
    deep: Any = add(1, 1)
    for _ in range(3_000):
        deep = chord([deep, add(1, 1)], total())

    assert len(grow(long).nodes) == 10_001
    assert len(grow(deep).nodes) == 6_001
    assert deep.app is T.app
    assert len(grow(deep.clone()).nodes) == 6_001
    deep.stamp(run=1)
    assert deep.freeze().id == deep.id
    assert drawn_graph(grow(long)).count("value>") == 10_000
