"""What the LMDB engine does with schedules at its limits: a damaged row, a full store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import lmdb
import pytest
from tests.contracts.harness import CONFIG, HEAD, EngineUnderTest

from tqbroker_broker.config import MIB
from tqbroker_broker.firings import new_job
from tqbroker_broker.records import NewJobs, text_key
from tqbroker_broker.schedules import Fire, Schedule, ScheduleState
from tqbroker_broker.storage import StoreFull


def state_of(engine: EngineUnderTest, name: str) -> ScheduleState:
    schedule = Schedule(name, every_ms=1000, head=HEAD, args=b"[]")
    return ScheduleState(schedule, "operator", engine.now.wall_ms, engine.now.wall_ms + 1000)


def fire_of(engine: EngineUnderTest, state: ScheduleState) -> Fire:
    moment = state.next_ms
    jobs = [new_job(state, moment, engine.now.wall_ms)]
    return Fire(state.schedule.name, state.born_ms, [moment], jobs, 0, moment, moment + 1000)


def damage(file: Path, name: bytes) -> None:
    """Changes the last byte of a row."""
    env = lmdb.open(str(file), subdir=False, max_dbs=64)
    with env.begin(write=True) as txn:
        db = env.open_db(b"schedules", txn=txn)
        row = txn.get(name, db=db)
        assert row is not None
        txn.put(name, row[:-1] + bytes([row[-1] ^ 1]), db=db)
    env.close()


async def test_a_damaged_schedule_is_told_of_and_the_others_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = EngineUnderTest("lmdb", tmp_path)
    await engine.open()
    good, bad = state_of(engine, "good"), state_of(engine, "bad")
    await engine.verbs.put_schedules([good, bad], [], engine.now)
    await engine.verbs.close()
    damage(tmp_path / "data" / "data.mdb", b"bad")

    engine = EngineUnderTest("lmdb", tmp_path)
    await engine.open()

    assert engine.verbs.schedules() == [good]
    assert "schedule bad does not match its checksum: put it again" in caplog.text
    answers = await engine.verbs.fire([fire_of(engine, bad), fire_of(engine, good)], engine.now)
    assert [answer.gone for answer in answers] == [True, False]
    await engine.verbs.put_schedules([bad], [], engine.now)
    assert (await engine.verbs.fire([fire_of(engine, bad)], engine.now))[0].fired == 1
    await engine.verbs.close()


async def fill(engine: EngineUnderTest) -> list[list[bytes]]:
    """Submits jobs until the store refuses. Returns the ids it took, by submit."""
    taken: list[list[bytes]] = []
    while True:
        ids = [text_key(f"job {len(taken)} {number}") for number in range(50)]
        engine.advance(1)
        try:
            await engine.verbs.enqueue([NewJobs(HEAD, ids, [b"x" * 900] * 50, [bytes(16)] * 50)], engine.now)
        except StoreFull:
            return taken
        taken.append(ids)


async def test_a_full_store_refuses_firings_whole_and_takes_them_when_there_is_room(tmp_path: Path) -> None:
    engine = EngineUnderTest("lmdb", tmp_path, replace(CONFIG, map_size=4 * MIB, max_result_size=1024))
    await engine.open()
    state = state_of(engine, "tick")
    await engine.verbs.put_schedules([state], [], engine.now)
    taken = await fill(engine)
    with pytest.raises(StoreFull):
        await engine.verbs.fire([fire_of(engine, state)], engine.now)
    assert engine.verbs.schedules() == [state]

    for ids in taken:
        await engine.verbs.cancel(ids, engine.now)
        await engine.verbs.forget(ids, engine.now)
    engine.advance(1)

    assert (await engine.verbs.fire([fire_of(engine, state)], engine.now))[0].fired == 1
    await engine.verbs.close()
