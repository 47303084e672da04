"""Random workflows with the store and the worker killed between any two steps: none half-happens."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from tests.crash import workflow_course
from tests.crash.workflow_course import Course
from tests.proof.amount import numbers

from tqbroker_broker.records import State
from tqbroker_broker.storage.lmdb import counting
from tqbroker_broker.workflow_decisions import Turn, turn
from tqbroker_broker.workflows import On

SEEDS = numbers(60, 2000)

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


async def test_a_join_that_releases_too_early_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hasty(on: On, state: State, left: int, *, unneeded: bool = False) -> Turn:
        return turn(on, state, max(left - 1, 0), unneeded=unneeded)

    monkeypatch.setattr(counting, "turn", hasty)

    assert await _some_fault(tmp_path)


async def test_a_follower_that_is_forgotten_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(on: On, state: State, left: int, *, unneeded: bool = False) -> Turn:
        right = turn(on, state, left, unneeded=unneeded)
        return Turn.NOTHING if right is Turn.SPARE else right

    monkeypatch.setattr(counting, "turn", forgetful)
    monkeypatch.setattr(workflow_course, "STEPS", 300)

    assert await _some_fault(tmp_path)
