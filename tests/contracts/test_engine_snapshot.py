"""What a copy of an engine's store must be: all of it, as of one moment."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.contracts.every_state import put_one_in_every_state
from tests.contracts.harness import EngineUnderTest

from tqbroker_broker.answers import Job, Snapshot
from tqbroker_broker.questions import Filter
from tqbroker_broker.storage import Unavailable


async def snapshot_of(engine: EngineUnderTest) -> Snapshot | None:
    """A copy, or None of an engine that has said in words that there can be none."""
    if engine.kind == "memory":
        with pytest.raises(Unavailable, match="in memory only"):
            await engine.verbs.snapshot(engine.now)
        return None
    return await engine.verbs.snapshot(engine.now)


@asynccontextmanager
async def opened(snapshot: Snapshot, folder: Path) -> AsyncIterator[EngineUnderTest]:
    """The copy as a store of its own."""
    (folder / "data").mkdir(parents=True, mode=0o700)
    with snapshot.file as file:
        (folder / "data" / "data.mdb").write_bytes(file.read())
    engine = EngineUnderTest("lmdb", folder)
    await engine.open()
    yield engine
    await engine.verbs.close()


async def all_jobs(engine: EngineUnderTest) -> list[Job]:
    """Every job with its arguments."""
    page = await engine.verbs.scan(Filter(), b"", 1000, with_args=True)
    assert not page.cursor
    return list(page.jobs)


async def test_a_snapshot_has_every_job_in_its_state(engine: EngineUnderTest, tmp_path: Path) -> None:
    await put_one_in_every_state(engine)
    for row in engine.verbs.workers():
        await engine.verbs.leave(row.name, row.instance, engine.now)
    before, stats = await all_jobs(engine), await engine.verbs.stats()

    snapshot = await snapshot_of(engine)
    if snapshot is None:
        return
    await engine.put("later")

    assert snapshot.queues == stats.queues
    assert snapshot.taken_ms == engine.now.wall_ms
    async with opened(snapshot, tmp_path / "restored") as restored:
        assert await all_jobs(restored) == before


async def test_running_jobs_are_queued_in_it(engine: EngineUnderTest, tmp_path: Path) -> None:
    await engine.join()
    await engine.put("a", "b")
    await engine.take(slots=1)

    snapshot = await snapshot_of(engine)
    if snapshot is None:
        return

    assert (snapshot.queues["default"].queued, snapshot.queues["default"].running) == (2, 0)
    async with opened(snapshot, tmp_path / "restored") as restored:
        await restored.join()
        assert list(await restored.take()) == ["a", "b"]
