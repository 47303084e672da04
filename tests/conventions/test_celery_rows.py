"""Every row of docs/migrating.md that works or is adapted is shown by a test, and that test is there; and what
Celery has of workflows, results and schedules has a row.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from tests.conventions.celery_names import NAMES
from tests.conventions.celery_rows import ROWS
from tests.conventions.test_migrating import THERE, table

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("title", ROWS)
def test_every_row_that_works_names_a_test_and_nothing_else_does(title: str) -> None:
    assert ROWS[title].keys() == {name for name, verdict in table(title).items() if verdict in THERE}


@pytest.mark.parametrize("title", NAMES)
def test_no_name_of_celerys_is_missing(title: str) -> None:
    assert NAMES[title] - table(title).keys() == set()


def test_every_named_test_is_there() -> None:
    named = {test for rows in ROWS.values() for test in rows.values()}
    there = {f"{path}::{name}" for path in {test.partition("::")[0] for test in named} for name in functions(path)}

    assert named - there == set()


def functions(path: str) -> set[str]:
    """The test functions in this file."""
    tree = ast.parse((ROOT / path).read_text())
    found = {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
    return {name for name in found if name.startswith("test_")}
