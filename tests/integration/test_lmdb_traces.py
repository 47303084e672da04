"""What jobs leave behind in the LMDB store when they are gone: nothing."""

from __future__ import annotations

from pathlib import Path

import lmdb
from tests.contracts.harness import CONFIG, DEAD_TTL, DEDUP_WINDOW, FAILURE, EngineUnderTest

from tqbroker_broker.attempts import Progress, Verdict
from tqbroker_broker.records import Head
from tqbroker_broker.rules import Traits, Unique, UniqueConflict, UniqueUntil
from tqbroker_broker.storage.lmdb.keys import DATABASES

KEPT = {"meta", "names", "counts", "events"}
"""Databases that do not follow single jobs."""


def unique(until: UniqueUntil, for_ms: int = 0) -> Head:
    return Head("tasks.add", "default", 0, "json", traits=Traits(unique=Unique(until, UniqueConflict.REJECT, for_ms)))


def rows(directory: Path) -> dict[str, int]:
    """How many rows each database of a closed store has, those of single jobs only."""
    with lmdb.open(str(directory / "data" / "data.mdb"), subdir=False, max_dbs=64, readonly=True) as env:
        counts = {}
        for name in set(DATABASES) - KEPT:
            with env.begin(db=env.open_db(name.encode(), create=False)) as txn:
                counts[name] = txn.stat()["entries"]
    return {name: count for name, count in counts.items() if count}


async def test_nothing_is_left_of_jobs_whose_time_has_passed(tmp_path: Path) -> None:
    engine = EngineUnderTest("lmdb", tmp_path)
    await engine.open()
    await engine.join()
    await engine.put("plain")
    for until in UniqueUntil:
        await engine.put(until.name, head=unique(until, 1000), keys=[until.name])
    tokens = await engine.take()
    for token in tokens.values():
        await engine.annotate("w", token, progress=Progress("LOADING"), checkpoint=b"1")
        await engine.end("w", token, Verdict.RETRY, failure=FAILURE, args=b"other")
    tokens = await engine.take()
    await engine.succeed("w", [tokens["plain"]])
    await engine.end("w", tokens["TIME"], Verdict.REJECTED, failure=FAILURE)
    await engine.cancel("FINISHED", "STARTED", "QUEUED", terminate=True)
    for name in ("FINISHED", "STARTED", "QUEUED"):
        await engine.end("w", tokens[name], Verdict.LOST)
    await engine.leave()
    engine.advance(DEAD_TTL + DEDUP_WINDOW + CONFIG.event_ttl)

    await engine.expire_all(100)

    await engine.verbs.close()
    assert rows(tmp_path) == {}
