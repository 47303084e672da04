"""What the LMDB engine does with many lanes and with rates: memory, what is left on disk, restarts, slow disks."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from random import Random

import lmdb
import msgspec
import pytest
from tests.contracts.harness import DEDUP_WINDOW, TTL, EngineUnderTest, head_with, make_engine

from tqbroker_broker.attempts import Want
from tqbroker_broker.questions import Filter
from tqbroker_broker.records import Head, NewJobs, State, key_text, text_key
from tqbroker_broker.rules import LimitRule, Overflow, QueueRule, Rate
from tqbroker_broker.storage.lmdb.engine import LmdbEngine

MAIL = head_with(limits=["mail"])


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[EngineUnderTest]:
    """An LMDB engine with a worker."""
    under_test = EngineUnderTest("lmdb", tmp_path)
    await under_test.open()
    await under_test.join()
    yield under_test
    await under_test.verbs.close()


def lmdb_engine(engine: EngineUnderTest) -> LmdbEngine:
    assert isinstance(engine.verbs, LmdbEngine)
    return engine.verbs


def want(slots: int = 100) -> Want:
    return Want("w", ("default",), frozenset({"tasks.add"}), slots, slots)


def rows(engine: EngineUnderTest, database: str) -> list[bytes]:
    """The keys of a database on disk."""
    env: lmdb.Environment = lmdb_engine(engine)._store.env
    with env.begin() as txn:
        return [bytes(key) for key, _ in txn.cursor(lmdb_engine(engine)._store.db[database])]


def one_each(heads: Sequence[Head], first: int = 0) -> list[NewJobs]:
    """A job with each of these heads."""
    ids = [text_key(f"job{number:08}") for number in range(first, first + len(heads))]
    return [NewJobs(head, [job], [b"[]"], [bytes(16)]) for head, job in zip(heads, ids, strict=True)]


async def limit(engine: EngineUnderTest, name: str, concurrency: int = 0, *rates: Rate) -> None:
    await engine.verbs.put_limits([LimitRule(name, concurrency, rates)], [], engine.now)


# -- many lanes --------------------------------------------------------------------------------------------------------


async def test_a_lane_of_an_ordering_key_costs_less_than_500_bytes(engine: EngineUnderTest) -> None:
    count = 20_000
    heads = [head_with(ordering_key=f"customer-{number:08}") for number in range(count)]
    await engine.verbs.enqueue(one_each(heads), engine.now)
    await engine.leave()
    await engine.verbs.close()
    del heads
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        engine.verbs = make_engine("lmdb", engine.directory, engine.config)
        await engine.open()
        gc.collect()
        assert (tracemalloc.get_traced_memory()[0] - before) / count < 500
    finally:
        tracemalloc.stop()
    await engine.join()
    assert list(await engine.take(slots=3)) == ["job00000000", "job00000001", "job00000002"]


@pytest.mark.parametrize(
    "head",
    [
        head_with(ordering_key="k"),
        head_with(tenant="t"),
        head_with(limits=["mail"]),
        head_with(requires=["gpu"]),
    ],
)
async def test_a_lane_with_traits_is_gone_with_its_last_job(engine: EngineUnderTest, head: Head) -> None:
    await engine.put("a", "b", "c", "d", head=head)
    await engine.put("later", head=head, due_ms=engine.later(60))
    for name in "abc":
        tokens = await engine.take(slots=1, labels=["gpu"])
        assert list(tokens) == [name]
        await engine.succeed("w", tokens.values())
        assert len(rows(engine, "names")) == 1
    await engine.cancel("d")

    assert rows(engine, "names") == []
    assert list(lmdb_engine(engine)._store.levels.lanes) == []

    engine.advance(60)
    await engine.verbs.due(engine.now, 10)
    assert list(await engine.take(labels=["gpu"])) == ["later"]


async def test_a_scheduled_job_needs_no_lane_yet(engine: EngineUnderTest) -> None:
    await engine.put("later", head=head_with(ordering_key="k"), due_ms=engine.later(60))

    assert rows(engine, "names") == []


async def test_a_lane_that_is_emptied_and_filled_in_one_commit_goes_on(engine: EngineUnderTest) -> None:
    head = head_with(ordering_key="k")
    await engine.put("a", head=head)
    for old, new in ("ab", "bc", "cd"):
        tokens = await engine.take()
        assert list(tokens) == [old]
        # The first commits alone; the others gather meanwhile and share a commit.
        await asyncio.gather(
            engine.put(f"plain {old}"), engine.succeed("w", tokens.values()), engine.put(new, head=head)
        )
        await engine.cancel(f"plain {old}")
    assert list(await engine.take()) == ["d"]


async def test_a_queue_removed_leaves_nothing(engine: EngineUnderTest) -> None:
    await engine.put("a")
    await engine.succeed("w", (await engine.take()).values())
    await engine.verbs.put_queue("default", None, engine.now)
    assert rows(engine, "names") == []

    await engine.put("b")
    assert list(await engine.take()) == ["b"]


async def test_queues_that_are_used_once_leave_nothing(engine: EngineUnderTest) -> None:
    store = lmdb_engine(engine)._store
    for number in range(20):
        queue = f"reply {number}"
        await engine.put("a", head=head_with(queue=queue))
        await engine.succeed("w", (await engine.take(queue=queue)).values())
        await engine.forget("a")
        engine.advance(DEDUP_WINDOW)
        await engine.expire_all(100)
        await engine.join()
        await engine.verbs.put_queue(queue, None, engine.now)

    assert (store.counts, store.book.running) == ({}, {})
    assert not {key for key in rows(engine, "counts") if key.startswith(b"reply")}


async def test_a_queue_that_an_earlier_version_counted_without_end_goes_when_it_is_removed(
    engine: EngineUnderTest,
) -> None:
    store = lmdb_engine(engine)._store
    with store.env.begin(write=True) as txn:
        txn.put(b"old", msgspec.msgpack.encode([0] * 7), db=store.db["counts"])
    await engine.restart()

    await engine.verbs.put_queue("old", None, engine.now)

    assert b"old" not in rows(engine, "counts")
    assert "old" not in lmdb_engine(engine)._store.counts


async def test_many_cancelled_lanes_leave_nothing_behind_in_the_hand_out_order(engine: EngineUnderTest) -> None:
    for start in range(0, 3000, 100):
        heads = [head_with(tenant=f"t{number % 7}", ordering_key=f"k{start + number}") for number in range(100)]
        batches = one_each(heads, start)
        await engine.verbs.enqueue(batches, engine.now)
        await engine.verbs.cancel([job for batch in batches for job in batch.ids], engine.now)

    levels = lmdb_engine(engine)._store.levels
    assert (list(levels.lanes), levels.of(["default"])) == ([], [])


# -- rates -------------------------------------------------------------------------------------------------------------


def most_in(starts: Sequence[int], period_ms: int) -> int:
    """The most starts that any window of this length has."""
    return max(sum(at <= other < at + period_ms for other in starts) for at in starts)


@pytest.mark.parametrize("seed", range(3))
async def test_over_restarts_no_window_has_more_starts_than_its_rate(engine: EngineUnderTest, seed: int) -> None:
    rng, starts = Random(seed), list[int]()
    await limit(engine, "mail", 0, Rate(10, 1000), Rate(100, 30_000))
    await engine.put(*(f"{number:05}" for number in range(400)), head=MAIL)
    for _ in range(600):
        engine.advance(rng.choice((0.003, 0.05, 0.1, 0.3)))
        if rng.random() < 0.03:
            await engine.leave()
            await engine.restart()
            await engine.join()
        tokens = await engine.take(slots=rng.randint(1, 4))
        starts += [engine.now.wall_ms] * len(tokens)
        await engine.succeed("w", tokens.values())

    assert most_in(starts, 1000) <= 10
    assert most_in(starts, 30_000) <= 100
    assert len(starts) >= 98 * ((starts[-1] - starts[0]) // 30_000)


async def test_a_rate_is_used_up_within_2_percent(engine: EngineUnderTest) -> None:
    await limit(engine, "mail", 0, Rate(10, 1000))
    await engine.put(*(f"{number:05}" for number in range(700)), head=MAIL)
    started, until = 0, engine.now.mono + 60
    while engine.now.mono < until:
        answer = await engine.hand_out([want(3)])
        tokens = [token for batch in answer.batches[0] for token in batch.tokens]
        started += len(tokens)
        await engine.succeed("w", tokens)
        engine.advance(answer.again_in or 0.001)

    assert 588 <= started <= 600


async def test_starts_paid_ahead_are_forfeited_by_a_restart_and_no_more(engine: EngineUnderTest) -> None:
    await limit(engine, "mail", 0, Rate(1000, 10_000))
    await engine.put(*(f"{number:05}" for number in range(1500)), head=MAIL)
    await engine.succeed("w", (await engine.take(slots=1)).values())
    await engine.leave()
    await engine.restart()
    await engine.join()

    started, until = 0, engine.now.mono + 10
    while engine.now.mono < until:
        tokens = await engine.take(slots=20)
        started += len(tokens)
        await engine.succeed("w", tokens.values())
        engine.advance(0.005)
        engine.extend()

    assert 965 <= started <= 980


async def test_what_a_slow_disk_holds_up_starts_when_it_is_handed_out(engine: EngineUnderTest) -> None:
    await limit(engine, "mail", 0, Rate(1, 1000))
    await engine.put("a", "b", head=MAIL)
    stopwatch = iter((0.0, 0.5, 0.0, 0.0))
    lmdb_engine(engine).stopwatch = lambda: next(stopwatch)
    assert list(await engine.take()) == ["a"]

    engine.advance(1.02)
    assert await engine.take() == {}
    engine.advance(0.5)
    assert list(await engine.take()) == ["b"]


async def test_what_was_paid_too_long_ago_is_not_handed_out(engine: EngineUnderTest) -> None:
    await limit(engine, "mail", 0, Rate(1, 1000))
    await engine.put("a", head=MAIL)
    await engine.put("plain")
    stopwatch = iter((0.0, 5.0, 0.0, 0.0))
    lmdb_engine(engine).stopwatch = lambda: next(stopwatch)

    answer = await engine.hand_out([want()])
    assert [batch.ids for batch in answer.batches[0]] == [[text_key("plain")]]
    assert answer.again_in > 0

    engine.advance(5.0 + answer.again_in)
    assert list(await engine.take()) == ["a"]


async def test_after_a_restart_a_clock_that_went_back_lets_nothing_start_too_early(engine: EngineUnderTest) -> None:
    await limit(engine, "mail", 0, Rate(1, 10_000))
    await engine.put("a", "b", head=MAIL)
    await engine.succeed("w", (await engine.take()).values())
    await engine.leave()
    engine.advance(1, wall=-3600)
    await engine.restart()
    await engine.join()

    assert await engine.take() == {}
    engine.advance(10)
    assert await engine.take() == {}
    engine.advance(0.1)
    assert list(await engine.take()) == ["b"]


async def test_names_whose_starts_do_not_matter_any_more_leave_the_disk(engine: EngineUnderTest) -> None:
    await limit(engine, "user:*", 0, Rate(1, 1000))
    for number in range(20):
        await engine.put(f"job{number}", head=head_with(limits=[f"user:{number}"]))
        await engine.succeed("w", (await engine.take()).values())
        engine.advance(0.3)

    assert len(rows(engine, "starts")) < 6


# -- leases ------------------------------------------------------------------------------------------------------------


async def test_a_rate_that_is_set_again_after_a_restart_keeps_its_starts_on_the_disk(engine: EngineUnderTest) -> None:
    await limit(engine, "mail", 0, Rate(1, 60_000))
    await engine.join()
    await engine.put("a", "b", "c", head=MAIL)
    await engine.succeed("w", (await engine.take()).values())
    await engine.leave()
    await engine.verbs.put_limits([], ["mail"], engine.now)
    await engine.restart()
    engine.advance(61)
    await limit(engine, "mail", 0, Rate(1, 60_000))
    await engine.join(process=2)
    second = await engine.take()
    assert list(second) == ["b"]
    await engine.succeed("w", second.values())
    await engine.leave(process=2)
    await engine.restart()
    await engine.join(process=3)
    assert await engine.take() == {}


async def test_a_lost_worker_under_a_limit_frees_its_room_after_a_restart(engine: EngineUnderTest) -> None:
    await limit(engine, "mail", 1)
    await engine.put("a", "b", head=MAIL)
    await engine.take()
    await engine.restart()
    await engine.join("v")
    assert await engine.take("v") == {}
    engine.advance(TTL)
    await engine.expire_all(10)
    await engine.join("v")

    assert list(await engine.take("v")) == ["a"]
    assert engine.verbs.limits()[0].running == 1


async def test_many_leases_that_come_back_behind_others_are_handed_out_in_order(engine: EngineUnderTest) -> None:
    names = [f"{number:04}" for number in range(600)]
    await engine.put(*names)
    tokens = await engine.take(slots=500)
    back = Random(1).sample(names[:500], 200)
    await engine.verbs.release("w", [tokens[name] for name in back], engine.now)

    assert list(await engine.take(slots=150)) == sorted(back)[:150]
    assert list(await engine.take(slots=1000)) == sorted(back)[150:] + names[500:]


async def test_a_tenant_that_took_jobs_alone_lets_another_go_first_when_it_comes(engine: EngineUnderTest) -> None:
    await engine.put(*(f"a{number}" for number in range(9)), head=head_with(tenant="a"))
    assert list(await engine.take(slots=3)) == ["a0", "a1", "a2"]
    await engine.put("b0", "b1", head=head_with(tenant="b"))

    assert list(await engine.take(slots=4)) == ["b0", "a3", "b1", "a4"]


# -- what is asked of one queue among many -----------------------------------------------------------------------------


async def test_the_waiting_jobs_of_a_small_queue_are_listed_in_one_call(engine: EngineUnderTest) -> None:
    foreign = [head_with(queue="large", ordering_key=f"k{number}") for number in range(100)]
    for start in range(0, 5000, 1000):
        await engine.put(*(f"before {number}" for number in range(start, start + 1000)), head=foreign[start // 1000])
    await engine.put("a", "b", head=head_with(queue="small", priority=3))

    page = await engine.verbs.scan(Filter(frozenset({State.QUEUED}), "small"), b"", 100)

    assert [job.id for job in page.jobs] == [text_key("a"), text_key("b")]
    assert page.cursor == b""


async def test_a_full_queue_drops_the_oldest_over_all_lanes_again_and_again(engine: EngineUnderTest) -> None:
    rng = Random(5)
    await engine.verbs.put_queue("default", QueueRule(max_length=40, overflow=Overflow.DROP_OLDEST), engine.now)
    waiting: list[str] = []
    for number in range(600):
        name = f"job {number}"
        await engine.put(name, head=head_with(priority=number % 3, ordering_key=f"k{rng.randrange(30)}"))
        waiting.append(name)
        if rng.random() < 0.1:
            got = await engine.take(slots=3)
            waiting = [each for each in waiting if each not in got]
            await engine.succeed("w", got.values())
        dropped, waiting = waiting[:-40], waiting[-40:]
        for each in dropped:
            assert (await engine.job(each)).state is State.FAILED

    page = await engine.verbs.scan(Filter(frozenset({State.QUEUED}), "default"), b"", 100)
    assert {key_text(job.id) for job in page.jobs} == set(waiting)
