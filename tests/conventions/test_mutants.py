"""Every planted bug is found by some harness, and says what it breaks."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.mutants.registry import load

TESTS = Path(__file__).resolve().parents[1]


def caught() -> Iterator[str]:
    """Names in every `@catches(...)` of the tests."""
    for path in TESTS.rglob("test_*.py"):
        source = path.read_text()
        for node in ast.walk(ast.parse(source)) if "@catches(" in source else ():
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "catches":
                yield from (str(ast.literal_eval(argument)) for argument in node.args)


def test_every_mutant_is_caught_by_a_test_and_every_test_names_mutants_that_exist() -> None:
    assert set(caught()) == set(load())


@pytest.mark.parametrize("name", sorted(load()))
def test_a_mutant_says_which_promise_it_breaks(name: str) -> None:
    mutant = load()[name]

    assert mutant.what
    assert mutant.breaks[0] in "PI"
    assert mutant.breaks[1:].isdigit()
