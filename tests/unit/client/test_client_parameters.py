"""The check before sending says what a call would say, whatever the function looks like."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from tqbroker.parameters import Parameters

FUNCTIONS: list[Callable[..., Any]] = [
    lambda: None,
    lambda x: None,
    lambda x, y=1: None,
    lambda x, /, y: None,
    lambda x, /, y=1, *, z=2: None,
    lambda x, *, z: None,
    lambda *, z=2: None,
    lambda *args: None,
    lambda x, *args, z=1: None,
    lambda **rest: None,
    lambda x, y=1, **rest: None,
    lambda x=1, y=2, *args, z, **rest: None,
    functools.partial(lambda x, y: None, 1),
    functools.wraps(lambda x, y: None)(lambda *args, **kwargs: None),
]

CALLS = [
    (tuple(range(count)), dict.fromkeys(names, 0))
    for count, names in product(range(4), [(), ("x",), ("y",), ("z",), ("x", "y"), ("y", "z"), ("q",), ("x", "z")])
]


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("skip", [0, 1])
def test_it_agrees_with_python(function: Callable[..., Any], skip: int) -> None:
    parameters = Parameters(function, skip)
    for args, kwargs in CALLS:
        assert _accepts(parameters, args, kwargs) == _binds(function, (0,) * skip + args, kwargs), (args, kwargs)


def _accepts(parameters: Parameters, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    try:
        parameters.check(args, kwargs, "task")
    except TypeError:
        return False
    return True


def _binds(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    try:
        inspect.signature(function).bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def test_the_error_names_the_task_its_parameters_and_what_is_missing() -> None:
    def add(self: object, x: int, y: int = 2) -> None: ...

    with pytest.raises(TypeError, match=r"^tasks.add\(x: .*y: .*\).*: missing a required argument: 'x'$"):
        Parameters(add, skip=1).check((), {}, "tasks.add")


def test_a_builtin_that_tells_nothing_is_left_to_the_worker() -> None:
    Parameters(max).check((), {}, "max")
