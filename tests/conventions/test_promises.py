"""docs/durability.md shows what it promises: each promise names its tests, each measured system has its row."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.benchmarks.tqbench.losses.cases import CASES

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "durability.md").read_text()
PROMISES = [f"P{number}" for number in range(1, 16)]
"""P16 is what is not promised."""


def rows(heading: str) -> list[list[str]]:
    """The cells of the tables between this heading and the next."""
    text = DOCUMENT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")][1:]


@pytest.mark.parametrize("promise", PROMISES)
def test_each_promise_names_tests_that_are_there(promise: str) -> None:
    (row,) = [row for row in rows("The promises") if row[0] == promise]

    named = re.findall(r"`([^`]+\.py)`", row[-1])
    assert named, f"{promise} is shown by nothing"
    assert [name for name in named if not (ROOT / "tests" / name).exists()] == []


def test_each_system_whose_losses_can_be_measured_has_its_figures() -> None:
    measured = rows("What OK means elsewhere")

    assert [row[0] for row in measured] == [case.title for case in CASES.values()]
    assert all(re.match(r"all|\d", figure) for row in measured for figure in row[2:]), "lost at kill -9, at a power cut"
