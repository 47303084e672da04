"""Every engine answers as the reference does, whatever comes. TQ_WALK_SEEDS walks more ways than the usual few."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest
from tests.contracts.harness import ENGINES
from tests.contracts.walk import walk

SEEDS = int(os.environ.get("TQ_WALK_SEEDS", "8"))
STEPS = 300


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_engines_agree_on_every_answer(tmp_path: Path, seed: int) -> None:
    await walk(ENGINES, tmp_path, Random(seed), STEPS)
