"""The store of a broker that has run for a week is no larger than after two days, and when all has aged it is empty."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from tests.acceptance.harness.footprint import MIB
from tests.crash.churn import DAY, FOR_GOOD, Churn, Day
from tests.mutants.catching import catches
from tests.mutants.registry import planted
from tests.proof.amount import PROOF, amount, seeds

DAYS = 7
GROWTH = 1.15 if PROOF else 1.3
"""How much larger the file of the last days may be than that of the first: of few jobs one large one is much."""
ROOM = 16 * MIB
"""Bytes by which the process may grow meanwhile: what its allocator keeps."""

pytestmark = [pytest.mark.crash, pytest.mark.proof("T31"), pytest.mark.timeout(600)]


async def lived(folder: Path, seed: int, days: int, counts: Counter[str]) -> tuple[list[Day], dict[str, int]]:
    """The ends of so many days, and what is left after some without work."""
    churn = Churn(folder, Random(seed), amount(4, 12), DAY // amount(6, 36), counts)
    await churn.begin()
    seen = [await churn.day(os.getpid()) for _ in range(days)]
    left = await churn.quiet()
    await churn.engine.verbs.close()
    return seen, {name: rows for name, rows in left.items() if name not in FOR_GOOD}


@seeds(1, 2)
async def test_a_week_of_work_leaves_the_store_as_large_as_two_days_of_it(
    tmp_path: Path, seed: int, counts: Counter[str]
) -> None:
    days, left = await lived(tmp_path, seed, DAYS, counts)

    assert growth(days) <= GROWTH, [day.file for day in days]
    grown = [day.taken.anonymous - days[2].taken.anonymous for day in days]
    assert max(grown[3:]) < ROOM, grown
    assert days[-1].taken.descriptors == days[0].taken.descriptors
    assert days[-1].taken.threads == days[0].taken.threads
    assert left == {}
    counts["MiB"] = max(counts["MiB"], days[-1].file // MIB)


def growth(days: list[Day]) -> float:
    """How much larger the file of the last days is than that of the first."""
    return max(day.file for day in days[3:]) / max(day.file for day in days[1:3])


@catches("reader_left_open")
async def test_a_store_that_uses_no_page_again_is_found(tmp_path: Path, mutant: str, counts: Counter[str]) -> None:
    with planted(mutant):
        days, _ = await lived(tmp_path, 1, DAYS, counts)

    assert growth(days) > GROWTH, [day.file for day in days]


@catches("retention_forgets_rows")
async def test_rows_that_a_dropped_job_leaves_behind_are_found(
    tmp_path: Path, mutant: str, counts: Counter[str]
) -> None:
    with planted(mutant):
        _, left = await lived(tmp_path, 1, 1, counts)

    assert left.keys() == {"attempts", "progress"}
