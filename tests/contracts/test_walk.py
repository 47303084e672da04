"""Every engine answers as the reference does, whatever comes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

import pytest
from tests.contracts.harness import ENGINES
from tests.contracts.walk import walk
from tests.proof.amount import seeds

STEPS = 300


@pytest.mark.proof("T29")
@seeds(8, 100)
async def test_engines_agree_on_every_answer(tmp_path: Path, seed: int, counts: Counter[str]) -> None:
    counts["seeds"] += 1
    counts["steps"] += STEPS
    await walk(ENGINES, tmp_path, Random(seed), STEPS)
