"""What the LMDB engine does at its limits: a full store, a damaged record, a long backlog, a worn-out token counter."""

from __future__ import annotations

import contextlib
import gc
import tracemalloc
from dataclasses import replace
from pathlib import Path

import lmdb
import pytest
from tests.contracts.harness import CONFIG, EngineUnderTest

from tqbroker_broker.attempts import Progress, Verdict
from tqbroker_broker.config import MIB
from tqbroker_broker.lifecycle import COUNTER_BITS
from tqbroker_broker.questions import EventKind, Filter
from tqbroker_broker.records import Head, NewJobs, State, key_text, text_key
from tqbroker_broker.storage import StoreFull, Unavailable
from tqbroker_broker.storage.lmdb.engine import LmdbEngine

SMALL = replace(CONFIG, map_size=4 * MIB, max_result_size=1024)
HEAD = Head("tasks.add", "default", 0, "json")


def lmdb_engine(engine: EngineUnderTest) -> LmdbEngine:
    assert isinstance(engine.verbs, LmdbEngine)
    return engine.verbs


def jobs(first: int, count: int, size: int) -> NewJobs:
    ids = [text_key(f"job{i:08}") for i in range(first, first + count)]
    return NewJobs(HEAD, ids, [b"x" * size] * count, [b"d" * 16] * count)


async def fill(engine: EngineUnderTest, size: int = 900) -> int:
    """Submits jobs until the store refuses. Returns how many it took."""
    taken = 0
    while True:
        engine.advance(1.0)
        try:
            await engine.verbs.enqueue([jobs(taken, 20, size)], engine.now)
        except StoreFull:
            return taken
        taken += 20


async def test_a_full_store_refuses_new_work_and_still_takes_every_outcome_of_what_it_handed_out(
    tmp_path: Path,
) -> None:
    engine = EngineUnderTest("lmdb", tmp_path, SMALL)
    await engine.open()
    await engine.join()
    taken = await fill(engine)
    assert taken > 500
    done = 0
    for _ in range(100):
        while got := await engine.take(slots=50):
            assert not (await engine.succeed("w", got.values(), result=b"r" * 1000)).refused
            done += len(got)
            engine.advance(0.3)
            engine.verbs.extend("w", bytes([1]) * 16, engine.now)
        if done == taken:
            break
        engine.advance(CONFIG.dedup_window + 1)
        await engine.join()
        while (await engine.verbs.expire(engine.now, 500)).more:
            pass
        engine.advance(1.0)
    assert done == taken
    assert await fill(engine) > 0
    await engine.verbs.close()


async def test_what_running_jobs_say_leaves_room_for_their_outcomes(tmp_path: Path) -> None:
    engine = EngineUnderTest("lmdb", tmp_path, SMALL)
    await engine.open()
    await engine.join()
    await fill(engine)
    got = await engine.take(slots=1000)
    said = 0
    for token in got.values():
        engine.advance(0.3)
        engine.extend("w")
        with contextlib.suppress(StoreFull):
            await engine.annotate("w", token, progress=Progress("HALF", b"m" * 8000, "json"))
            said += 1
    assert 0 < said < len(got)
    for token in got.values():
        assert not (await engine.succeed("w", [token], result=b"r" * 1000)).refused
    await engine.verbs.close()


async def test_a_map_that_overflows_in_one_commit_refuses_the_new_work_and_keeps_the_rest(tmp_path: Path) -> None:
    engine = EngineUnderTest("lmdb", tmp_path, SMALL)
    await engine.open()
    await engine.put("small")
    with pytest.raises(StoreFull):
        await engine.verbs.enqueue([jobs(0, 2000, 4000)], engine.now)
    assert (await engine.job("small")).state is State.QUEUED
    assert (await engine.put("another")).stored == 1
    assert (await engine.job("job00000000")).state is State.UNKNOWN
    await engine.verbs.close()


async def test_an_outcome_that_does_not_fit_is_refused_as_not_done_and_can_be_sent_again(tmp_path: Path) -> None:
    engine = EngineUnderTest("lmdb", tmp_path, SMALL)
    await engine.open()
    await engine.join()
    await engine.put("job")
    (token,) = (await engine.take()).values()
    with pytest.raises(Unavailable):
        await engine.succeed("w", [token], result=b"r" * (8 * MIB))
    assert (await engine.job("job")).state is State.RUNNING
    assert not (await engine.succeed("w", [token])).refused
    await engine.verbs.close()


async def test_no_more_is_handed_out_than_the_reserve_can_take_back(tmp_path: Path) -> None:
    engine = EngineUnderTest("lmdb", tmp_path, replace(SMALL, max_result_size=1 * MIB))
    await engine.open()
    await engine.join()
    await engine.put(*(f"job{i}" for i in range(50)))
    assert 1 <= len(await engine.take(slots=50)) <= 4
    await engine.verbs.close()


async def test_a_damaged_record_fails_its_job_and_no_other(tmp_path: Path) -> None:
    engine = EngineUnderTest("lmdb", tmp_path)
    await engine.open()
    await engine.put("good", "bad", "fine")
    await engine.verbs.close()
    damage(tmp_path / "data" / "data.mdb", b'"bad"')
    engine = EngineUnderTest("lmdb", tmp_path)
    await engine.open()
    await engine.join()
    assert list(await engine.take()) == ["good", "fine"]
    assert (await engine.verbs.expire(engine.now, 100)).final == [text_key("bad")]
    job = await engine.job("bad")
    assert job.state is State.FAILED
    assert job.failure is not None
    assert job.failure.type == "DamagedRecord"
    assert list(await engine.take()) == []
    assert (await engine.verbs.scan(Filter(error="DamagedRecord"), b"", 10)).jobs == [job]
    assert (await engine.verbs.scan(Filter(queue="default", error="DamagedRecord"), b"", 10)).jobs == []
    (told,) = [each for each in (await engine.verbs.events(0, 100)).events if each.kind is EventKind.FAILED]
    assert (told.ids, told.error) == ([text_key("bad")], "DamagedRecord")
    await engine.verbs.close()


def damage(file: Path, marker: bytes) -> None:
    """Changes one byte of the stored job that contains the marker."""
    env = lmdb.open(str(file), subdir=False, max_dbs=16)
    with env.begin(write=True) as txn:
        db = env.open_db(b"jobs", txn=txn)
        ((key, row),) = [(bytes(k), bytes(v)) for k, v in txn.cursor(db) if b"bad" in bytes(v) or marker in bytes(v)]
        txn.put(key, row[:-1] + bytes([row[-1] ^ 1]), db=db)
    env.close()


async def test_a_backlog_costs_no_memory_and_a_start_does_not_read_it(tmp_path: Path) -> None:
    engine = EngineUnderTest("lmdb", tmp_path)
    await engine.open()
    await engine.verbs.enqueue([jobs(0, 1000, 100)], engine.now)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for first in range(1000, 51_000, 1000):
        await engine.verbs.enqueue([jobs(first, 1000, 100)], engine.now)
    gc.collect()
    assert (tracemalloc.get_traced_memory()[0] - before) / 50_000 < 5
    await engine.restart()
    gc.collect()
    assert (tracemalloc.get_traced_memory()[0] - before) / 50_000 < 5
    tracemalloc.stop()
    await engine.verbs.close()


async def test_ids_are_forgotten_early_when_they_take_more_than_their_share(tmp_path: Path) -> None:
    engine = EngineUnderTest("lmdb", tmp_path, replace(CONFIG, dedup_share=0.000001))
    await engine.open()
    await engine.join()
    await engine.put("a", "b", "c", "d")
    await engine.succeed("w", (await engine.take()).values())
    await engine.forget("a", "b", "c", "d")
    engine.advance(300.0)
    await engine.verbs.expire(engine.now, 100)
    assert (await engine.job("a")).forgotten
    engine.advance(301.0)
    await engine.verbs.expire(engine.now, 100)
    assert not (await engine.job("a")).forgotten
    await engine.verbs.close()


async def test_tokens_keep_rising_when_their_counter_is_worn_out(tmp_path: Path) -> None:
    engine = EngineUnderTest("lmdb", tmp_path)
    opened = await engine.open()
    await engine.join()
    book = lmdb_engine(engine)._store.book
    book.next_token = ((opened.epoch + 1) << COUNTER_BITS) - 1
    await engine.put("a", "b", "c")
    tokens = list((await engine.take()).values())
    assert tokens == sorted(tokens)
    assert tokens[-1] >> COUNTER_BITS == opened.epoch + 1
    assert (await engine.restart()).epoch == opened.epoch + 2
    await engine.verbs.close()


async def test_dead_letters_are_listed_without_passing_the_queued_jobs(tmp_path: Path) -> None:
    engine = EngineUnderTest("lmdb", tmp_path)
    await engine.open()
    await engine.join()
    await engine.put("first")
    await engine.end("w", (await engine.take())["first"], Verdict.FAILED)
    await engine.verbs.enqueue([jobs(0, 5000, 10)], engine.now)
    await engine.put("last", head=Head("tasks.slow", "default", 9, "json"))
    await engine.end("w", (await engine.take(slots=1))["last"], Verdict.FAILED)

    page = await engine.verbs.scan(Filter(states=frozenset({State.FAILED})), b"", 10)

    assert ([key_text(job.id) for job in page.jobs], page.cursor) == (["first", "last"], b"")
    await engine.verbs.close()


async def test_a_page_looks_at_a_bounded_number_of_jobs(tmp_path: Path) -> None:
    engine = EngineUnderTest("lmdb", tmp_path)
    await engine.open()
    await engine.verbs.enqueue([jobs(0, 5000, 10)], engine.now)
    await engine.put("mail", head=Head("tasks.mail", "mail", 0, "json"))
    wanted = Filter(queue="mail")

    page = await engine.verbs.scan(wanted, b"", 10)

    assert page.jobs == []
    while not page.jobs:
        page = await engine.verbs.scan(wanted, page.cursor, 10)
    assert [key_text(job.id) for job in page.jobs] == ["mail"]
    await engine.verbs.close()
