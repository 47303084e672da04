"""docs/proof.md and the tests speak of the same faults."""

from __future__ import annotations

import re
from pathlib import Path

from tests.acceptance.harness import checker

ROOT = Path(__file__).resolve().parents[2]
MARK = re.compile(r'mark\.proof\("(T\d+)"\)')
ROW = re.compile(r"^\| (T\d+) \|", re.MULTILINE)
INVARIANT = re.compile(r"^(?:\|| {4})\s?(I\d+)\b[ |]+(.*?)(?: \||$)", re.MULTILINE)


def marked() -> set[str]:
    """Every fault that a test names."""
    tests = [path for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__)]
    return {fault for path in tests for fault in MARK.findall(path.read_text())}


def test_every_fault_of_the_document_has_a_test_and_every_test_its_row() -> None:
    assert marked() == set(ROW.findall((ROOT / "docs/proof.md").read_text()))


def test_the_judge_and_the_document_say_the_same_of_each_invariant() -> None:
    said = dict(INVARIANT.findall((ROOT / "docs/proof.md").read_text()))
    held = dict(INVARIANT.findall(checker.__doc__ or ""))

    assert len(held) == 10
    assert {name: text.partition(":")[0] for name, text in said.items()} == held
