"""Room for outcomes while somebody reads for long."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from tests.contracts.harness import EngineUnderTest
from tests.integration.test_lmdb_limits import SMALL, jobs, lmdb_engine

from tqbroker_broker.config import MIB
from tqbroker_broker.storage import StoreFull

HELD = 20
"""Jobs that are out before somebody begins to read."""


@pytest.mark.proof("T10")
@pytest.mark.parametrize("map_size", [8 * MIB, 16 * MIB])
async def test_while_somebody_reads_for_long_new_jobs_are_refused_before_outcomes_are(
    tmp_path: Path, counts: Counter[str], map_size: int
) -> None:
    engine = EngineUnderTest("lmdb", tmp_path, replace(SMALL, map_size=map_size))
    await engine.open()
    await engine.join()
    await engine.verbs.enqueue([jobs(10**6, HELD, 900)], engine.now)
    held = await engine.take()
    reader = lmdb_engine(engine)._store.env.begin()

    taken = await churn(engine)
    for token in held.values():
        assert not (await engine.succeed("w", [token], result=b"r" * 1000)).refused
    counts["jobs"] += taken + HELD
    assert taken > HELD

    reader.abort()
    assert await churn(engine, most=100) == 100
    await engine.verbs.close()


async def churn(engine: EngineUnderTest, most: int = 100_000) -> int:
    """Submits jobs and ends them, until new ones are refused: every outcome must be taken. How many were."""
    taken = 0
    while taken < most:
        engine.advance(0.3)
        engine.extend("w")
        try:
            await engine.verbs.enqueue([jobs(taken + engine.now.wall_ms, 5, 900)], engine.now)
        except StoreFull:
            return taken
        taken += 5
        got = await engine.take(slots=5)
        assert not (await engine.succeed("w", got.values(), result=b"r" * 100)).refused
    return taken
