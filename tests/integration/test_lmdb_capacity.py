"""Room for outcomes: beside one that does not fit, and while somebody reads for long."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from pathlib import Path

import lmdb
import pytest
from tests.contracts.harness import EngineUnderTest, head_with, new_jobs
from tests.integration.test_lmdb_limits import SMALL, jobs, lmdb_engine
from tests.mutants.catching import catches
from tests.mutants.registry import planted

from tqbroker_broker.config import MIB
from tqbroker_broker.questions import Move
from tqbroker_broker.records import Head, State, text_key
from tqbroker_broker.rules import Overflow, QueueRule
from tqbroker_broker.storage import StoreFull, Unavailable
from tqbroker_broker.storage.lmdb.fullness import Fullness
from tqbroker_broker.workflows import NewJoin, NewNodes, On, Part, Shape

HELD = 20
"""Jobs that are out before somebody begins to read."""


async def test_an_outcome_that_does_not_fit_keeps_no_other_from_being_stored(tmp_path: Path) -> None:
    engine = EngineUnderTest("lmdb", tmp_path, SMALL)
    await engine.open()
    await engine.join()
    await engine.put("large", "one", "two", "three")
    tokens = await engine.take()

    outcomes = [engine.succeed("w", [tokens["large"]], result=b"r" * 8 * MIB)]
    outcomes += [engine.succeed("w", [tokens[name]]) for name in ("one", "two", "three")]
    large, *others = await asyncio.gather(*outcomes, return_exceptions=True)

    assert isinstance(large, Unavailable)
    assert not any(isinstance(other, BaseException) or other.refused for other in others)
    assert [(await engine.job(name)).state for name in ("large", "three")] == [State.RUNNING, State.SUCCEEDED]
    assert not (await engine.succeed("w", [tokens["large"]])).refused
    await engine.verbs.close()


def chord(number: int, followers: int) -> Part:
    """One job, and many that wait for it."""
    first = number * 10_000
    waiting = NewNodes(jobs(first + 1, followers, 10), after=1)
    nodes = [NewNodes(jobs(first, 1, 10), member_of=(1,)), waiting]
    return Part(bytes([number]) * 16, 0, True, b"d" * 16, "chord", [NewJoin(1, On.SUCCESS, Shape.LIST)], nodes)


async def test_workflows_that_come_at_once_never_owe_so_much_that_nothing_is_handed_out(tmp_path: Path) -> None:
    engine = EngineUnderTest("lmdb", tmp_path, replace(SMALL, map_size=16 * MIB))
    await engine.open()
    await engine.join()
    await engine.put("simple")

    parts = [chord(number, followers=999) for number in range(1, 21)]
    answers = await asyncio.gather(*(engine.verbs.submit(part, engine.now) for part in parts), return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, StoreFull)]
    assert 0 < len(refused) < len(parts)

    ended = 0
    while got := await engine.take(slots=1000):
        assert not (await engine.succeed("w", got.values())).refused
        ended += len(got)
        engine.advance(0.3)
        engine.extend("w")
    assert ended == 1 + 1000 * (len(parts) - len(refused))
    await engine.verbs.close()


@pytest.mark.proof("T10")
@pytest.mark.parametrize("map_size", [8 * MIB, 16 * MIB])
async def test_while_somebody_reads_for_long_new_jobs_are_refused_before_outcomes_are(
    tmp_path: Path, counts: Counter[str], map_size: int
) -> None:
    taken = await read_for_long(tmp_path, map_size)

    counts["jobs"] += taken + HELD
    assert taken > HELD


@catches("old_reader_overlooked")
async def test_an_old_reader_shows_that_there_is_no_room_for_outcomes(tmp_path: Path, mutant: str) -> None:
    with planted(mutant), pytest.raises(Unavailable, match="no room for this change"):
        await read_for_long(tmp_path, 8 * MIB)


async def read_for_long(tmp_path: Path, map_size: int) -> int:
    """Somebody reads until new jobs are refused: every outcome must be taken, and all goes on later. How many were."""
    engine = EngineUnderTest("lmdb", tmp_path, replace(SMALL, map_size=map_size))
    await engine.open()
    await engine.join()
    await engine.verbs.enqueue([jobs(10**6, HELD, 900)], engine.now)
    held = await engine.take()
    reader = lmdb_engine(engine)._store.env.begin()

    taken = await churn(engine)
    for token in held.values():
        assert not (await engine.succeed("w", [token], result=b"r" * 1000)).refused
    reader.abort()
    assert await churn(engine, most=100) == 100
    await engine.verbs.close()
    return taken


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


@pytest.mark.parametrize(("moved", "refused"), [(True, 4), (False, 3)])
async def test_a_full_queue_drops_none_of_another_queue_after_a_commit_that_did_not_fit(
    tmp_path: Path, refused: int, *, moved: bool
) -> None:
    """The numbers of the lanes that it would have begun are given to others."""
    engine = EngineUnderTest("lmdb", tmp_path, SMALL)
    await engine.open()
    await engine.verbs.put_queue("full", QueueRule(max_length=2, overflow=Overflow.DROP_OLDEST), engine.now)
    await engine.verbs.enqueue([new_jobs([str(key)], keyed("full", key)) for key in range(3)], engine.now)
    await engine.put("job")

    await asyncio.gather(
        engine.put("alone"),  # in a commit of its own: the others gather meanwhile and share one
        engine.put(*(f"refused {number}" for number in range(refused)), head=keyed("other", 0)),
        engine.verbs.edit([text_key("job")], Move("full", None), engine.now)
        if moved
        else engine.put("new", head=keyed("full", 9)),
        engine.verbs.enqueue([jobs(0, 3000, 3000)], engine.now),
        return_exceptions=True,
    )
    others = [f"{turn} of {key}" for turn in ("first", "second") for key in range(6)]
    for number, name in enumerate(others):
        await engine.put(name, head=keyed("other", number % 6))
    for key in range(6):
        await engine.put(f"more {key}", head=keyed("full", key))

    assert {(await engine.job(name)).state for name in others} == {State.QUEUED}
    await engine.verbs.close()


def keyed(queue: str, key: int) -> Head:
    """Jobs of a lane of their own."""
    return head_with(queue=queue, ordering_key=f"key {key}")


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (lmdb.MapFullError("mdb_put: MDB_MAP_FULL: Environment mapsize limit reached"), True),
        (lmdb.DiskError("mdb_txn_commit: No space left on device"), True),
        (lmdb.DiskError("mdb_txn_commit: Disk quota exceeded"), True),
        (lmdb.DiskError("mdb_txn_commit: Input/output error"), False),
        (lmdb.PanicError("mdb_txn_begin: MDB_PANIC: Update of meta page failed"), False),
    ],
)
def test_an_io_error_on_a_disk_with_room_is_a_failed_disk(tmp_path: Path, error: lmdb.Error, full: bool) -> None:
    assert Fullness(tmp_path).is_full(error) == full
    assert list(tmp_path.iterdir()) == []


def test_one_io_error_after_a_full_disk_may_still_be_of_it(tmp_path: Path) -> None:
    fullness = Fullness(tmp_path)
    full, broken = lmdb.DiskError("No space left on device"), lmdb.DiskError("Input/output error")
    assert [fullness.is_full(error) for error in (full, broken, broken)] == [True, True, False]
