"""The lines of `make proof` say what was done, and nothing more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import pytest
from tests.proof.plugin import MUTANT, Line, total

SKIP = ("test_it.py", 1, "Skipped: needs root")


def report(
    when: Literal["setup", "call", "teardown"],
    outcome: Literal["passed", "failed", "skipped"] = "passed",
    counts: Sequence[tuple[str, object]] = (),
) -> pytest.TestReport:
    longrepr = SKIP if outcome == "skipped" else None
    return pytest.TestReport("test_it.py::test_it", SKIP, {}, outcome, longrepr, when, user_properties=list(counts))


def line(proof: str = "T1", *, ran: int = 0, skipped: int = 0, failed: int = 0, **counts: int) -> Line:
    """A test of so many cases, each of which has counted so much."""
    made = Line(proof, "it holds")
    for outcome in ["passed"] * ran + ["failed"] * failed:
        made.add(report("setup"))
        made.add(report("call", "passed" if outcome == "passed" else "failed"))
        made.add(report("teardown", counts=[("counts", {name.replace("_", " "): of for name, of in counts.items()})]))
    for _ in range(skipped):
        made.add(report("setup", "skipped"))
        made.add(report("teardown"))
    return made


def test_a_line_adds_what_its_cases_did() -> None:
    assert str(line(ran=3, kills=2)) == "T1     it holds: cases 3, kills 6, failures 0, 0.0 s"


def test_a_test_that_did_not_run_says_why() -> None:
    assert str(line(skipped=2)) == "T1     it holds: not run, needs root"


def test_a_skipped_case_hides_none_that_ran() -> None:
    shown = "T1     it holds: cases 2, images 8, not run 1 (needs root), failures 0, 0.0 s"
    assert str(line(ran=2, skipped=1, images=4)) == shown


def test_a_failed_case_is_told_beside_a_skipped_one() -> None:
    assert "not run 1 (needs root), failures 1" in str(line(failed=1, skipped=1))


@pytest.mark.parametrize(("planted", "caught"), [(line(MUTANT, ran=1), 1), (line(MUTANT, skipped=1), 0)])
def test_a_planted_bug_that_was_not_planted_is_not_caught(planted: Line, caught: int) -> None:
    assert f"planted bugs caught {caught}, cases not run {1 - caught}, failures 0" in total([planted], 1.0)


def test_a_planted_bug_that_nobody_noticed_is_not_caught() -> None:
    assert "planted bugs caught 0, cases not run 0, failures 1" in total([line(MUTANT, failed=1)], 1.0)


def test_the_total_adds_amounts_of_work_and_no_measures() -> None:
    lines = [line(ran=2, skipped=1, jobs=1000, MiB=7), line("T2", ran=1, jobs=500, seeds=1, ms_to_the_first_job=900)]
    wanted = "TOTAL  tests 2, cases 3, jobs 2,500, seeds 1, planted bugs caught 0, cases not run 1, failures 0, 2.0 min"
    assert total(lines, 2.0) == wanted
