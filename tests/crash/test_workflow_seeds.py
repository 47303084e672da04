"""Random workflows with the store and the worker killed between any two steps: none half-happens."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from tests.crash import workflow_course
from tests.crash.workflow_course import Course
from tests.mutants.catching import catches
from tests.mutants.registry import planted
from tests.proof.amount import numbers

SEEDS = numbers(60, 2000)

STRANGER = b"never submitted "

SHARES = 20
"""The seeds are run in so many tests, so that a failing one is found again quickly."""


@pytest.mark.proof("T23")
@pytest.mark.parametrize("share", range(SHARES))
async def test_a_workflow_happens_as_a_whole_whatever_is_killed(
    share: int, tmp_path: Path, counts: Counter[str]
) -> None:
    faults = {}
    for seed in SEEDS[share::SHARES]:
        folder = tmp_path / str(seed)
        folder.mkdir()
        course = Course(seed, folder)
        found = await course.run()
        counts["seeds"] += 1
        counts["kills"] += course.kills
        if found:
            faults[seed] = found

    assert faults == {}


async def test_a_body_that_runs_under_an_id_that_nobody_has_sent_is_seen(tmp_path: Path) -> None:
    course = Course(1, tmp_path)
    assert await course.run() == []

    course.runs[STRANGER] = []

    assert course.strangers() == [f"{STRANGER.hex()} ran and was never sent"]


async def _some_fault(tmp_path: Path) -> bool:
    """Whether any of a few seeds has a fault."""
    for seed in range(40):
        folder = tmp_path / str(seed)
        folder.mkdir()
        try:
            if await Course(seed, folder).run():
                return True
        except (AssertionError, ValueError):
            return True
    return False


@catches("counter_instead_of_set", "released_too_early", "follower_forgotten")
async def test_random_workflows_show_what_half_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mutant: str
) -> None:
    monkeypatch.setattr(workflow_course, "STEPS", 300)

    with planted(mutant):
        assert await _some_fault(tmp_path)
