"""Mistakes in workflows, as the one who made them reads of them: which call it is, what is wrong, what to write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.client.canvas_tools import Tasks

from tqbroker import chain, chord, group

T = Tasks()
add, total = T.add.s, T.total.s


def _any(value: object) -> Any:
    """A value that a type checker would refuse."""
    return value


HANDED = "is handed a result as its first argument, .si(...) takes none: "


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: chain(add(1, 1), add(1, 2)),
            f"add(1, 2) {HANDED}add(x: 'int', y: 'int') -> 'int': too many positional",
        ),
        (
            lambda: chain(add(1, 1), add()),
            f"add() {HANDED}add(x: 'int', y: 'int') -> 'int': missing a required argument: 'y'",
        ),
        (lambda: chord([add(1, 1)], total(3)), f"total(3) {HANDED}total(values: 'list[int]') -> 'int': too many"),
        (
            lambda: chain(add(1, 1), T.add.si(5)),
            "add(5): add(x: 'int', y: 'int') -> 'int': missing a required argument",
        ),
        (lambda: group(add(1, 1), add(1, object())), "add: argument 2 is a builtins.object, which cannot be sent"),
        (lambda: group(add(1, 1), add(1, 1).set(priority=12)), "add: priority=12 is not allowed: use an int from 0"),
        (lambda: chain(add(1, 1), add(1).set(coutdown=3)), "apply_async of add has no option coutdown: allowed are"),
    ],
)
def test_the_call_of_a_workflow_that_cannot_be_sent_is_named(make: Callable[[], Any], said: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        make().delay()
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    "whole", [add(1, 1), add(1, 1) | add(1), group(add(1, 1), add(2, 2)), chord([add(1, 1)], total())]
)
def test_a_task_in_place_of_its_signature_is_told_how_it_is_written(whole: Any) -> None:
    with pytest.raises(TypeError, match=r"a chain takes signatures, not <Task add>: write _?add\.s\(\.\.\.\)"):
        _ = whole | T.add
    with pytest.raises(TypeError, match="unsupported operand"):
        _ = whole | 3


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: T.total.map(_any(3)), "map takes an iterable of values, not 3: one is written [3]"),
        (lambda: T.add.starmap(_any([(1, 2), 3])), "starmap takes lists of arguments, not 3: one is written (3,)"),
        (lambda: T.add.chunks(_any([None]), 2), "chunks takes lists of arguments, not None: one is written (None,)"),
    ],
)
def test_a_map_over_what_is_no_list_is_refused_where_it_is_written(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(TypeError) as caught:
        make()
    assert str(caught.value) == said


def test_keyword_arguments_are_a_mapping() -> None:
    with pytest.raises(TypeError, match=r"add: kwargs must be a mapping of names to values, not \[1\]"):
        T.add.apply_async((), _any([1]))


def test_a_result_cannot_be_kept_for_no_time() -> None:
    with pytest.raises(ValueError, match=r"result_expires=0 is not allowed: give more than 0 seconds"):
        T.add.apply_async((1, 1), result_expires=0)
