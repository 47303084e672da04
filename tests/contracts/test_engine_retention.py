"""What every engine must do with what is finished: keep it for its time, drop it, remember its id, forget that too."""

from __future__ import annotations

from tests.contracts.harness import DEAD_TTL, DEDUP_WINDOW, RESULT_TTL, EngineUnderTest

from tqbroker_broker.answers import Expired, QueueCounts
from tqbroker_broker.attempts import Verdict
from tqbroker_broker.records import Head, State

QUIET = Expired([], frozenset(), [], more=False)


async def start(engine: EngineUnderTest, *names: str) -> dict[str, int]:
    """Jobs that are running under worker "w", with their tokens."""
    await engine.put(*names)
    await engine.join()
    return await engine.take()


async def test_a_result_is_dropped_after_its_time_and_its_id_remembered(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")
    await engine.succeed("w", tokens.values())
    await engine.leave()
    engine.advance(RESULT_TTL - 1)
    await engine.verbs.expire(engine.now, 10)
    assert (await engine.job("a")).result == b"8"

    engine.advance(1)

    assert await engine.verbs.expire(engine.now, 10) == QUIET
    job = await engine.job("a")
    assert (job.state, job.forgotten, job.head, job.args, job.result) == (State.UNKNOWN, True, None, b"", b"")


async def test_every_final_state_is_dropped(engine: EngineUnderTest) -> None:
    await engine.put("expired", expires_ms=engine.later(1))
    engine.advance(1)
    await engine.verbs.expire(engine.now, 10)
    tokens = await start(engine, "failed")
    await engine.end("w", tokens["failed"], Verdict.FAILED)
    await engine.put("cancelled")
    await engine.cancel("cancelled")
    await engine.leave()
    engine.advance(DEAD_TTL)
    await engine.verbs.expire(engine.now, 10)

    assert [(await engine.job(name)).forgotten for name in ("expired", "failed", "cancelled")] == [True] * 3


async def test_a_dead_letter_is_kept_longer_than_a_result(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "failed", "done")
    await engine.end("w", tokens["failed"], Verdict.FAILED)
    await engine.succeed("w", [tokens["done"]])
    await engine.leave()

    engine.advance(DEAD_TTL - 1)
    await engine.expire_all(10)
    assert [(await engine.job(name)).forgotten for name in ("failed", "done")] == [False, True]

    engine.advance(1)
    await engine.expire_all(10)
    assert (await engine.job("failed")).forgotten


async def test_a_job_may_have_its_own_retention(engine: EngineUnderTest) -> None:
    await engine.put("short", head=Head("tasks.add", "default", 0, "json", result_ttl_ms=2000))
    await engine.put("long", head=Head("tasks.add", "default", 0, "json", result_ttl_ms=int(RESULT_TTL * 2000)))
    await engine.cancel("short", "long")
    engine.advance(2)
    await engine.verbs.expire(engine.now, 10)
    assert [(await engine.job(name)).forgotten for name in ("short", "long")] == [True, False]

    engine.advance(RESULT_TTL)
    await engine.verbs.expire(engine.now, 10)
    assert (await engine.job("long")).state is State.CANCELLED


async def test_an_id_is_remembered_until_the_window_after_its_submit_ends(engine: EngineUnderTest) -> None:
    await engine.put("a")
    await engine.cancel("a")
    engine.advance(DEDUP_WINDOW - 1)
    await engine.verbs.expire(engine.now, 10)
    assert (await engine.job("a")).forgotten

    engine.advance(1)
    assert await engine.verbs.expire(engine.now, 10) == QUIET

    job = await engine.job("a")
    assert (job.state, job.forgotten) == (State.UNKNOWN, False)


async def test_an_id_lives_as_long_as_its_job(engine: EngineUnderTest) -> None:
    await engine.put("waiting")
    await engine.put("done late")
    engine.advance(DEDUP_WINDOW)
    await engine.cancel("done late")
    await engine.verbs.expire(engine.now, 10)
    assert (await engine.job("waiting")).state is State.QUEUED
    assert (await engine.job("done late")).state is State.CANCELLED

    engine.advance(RESULT_TTL)
    await engine.verbs.expire(engine.now, 10)

    assert not (await engine.job("done late")).forgotten
    assert (await engine.job("done late")).state is State.UNKNOWN


async def test_results_are_dropped_slice_by_slice(engine: EngineUnderTest) -> None:
    await engine.put(*"abc")
    await engine.cancel(*"abc")
    engine.advance(RESULT_TTL)

    assert (await engine.verbs.expire(engine.now, 2)).more
    assert [(await engine.job(name)).forgotten for name in "abc"].count(True) == 2

    await engine.expire_all(2)
    assert [(await engine.job(name)).forgotten for name in "abc"] == [True] * 3


async def test_retention_survives_a_restart(engine: EngineUnderTest) -> None:
    await engine.put("a", "b")
    await engine.cancel("a", "b")
    await engine.forget("b")
    await engine.restart()
    engine.advance(RESULT_TTL)
    await engine.verbs.expire(engine.now, 10)
    assert [(await engine.job(name)).forgotten for name in "ab"] == [True, True]

    await engine.restart()
    engine.advance(DEDUP_WINDOW)
    await engine.verbs.expire(engine.now, 10)
    assert [(await engine.job(name)).forgotten for name in "ab"] == [False, False]


# -- forget ------------------------------------------------------------------------------------------------------------


async def test_forget_drops_final_jobs_only(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "done", "running")
    await engine.succeed("w", [tokens["done"]])
    await engine.put("queued")
    await engine.put("scheduled", due_ms=engine.later(5))

    assert await engine.forget("done", "done", "running", "queued", "scheduled", "nobody") == 1
    assert await engine.forget("done") == 0

    states = [(await engine.job(name)).state for name in ("done", "running", "queued", "scheduled")]
    assert states == [State.UNKNOWN, State.RUNNING, State.QUEUED, State.SCHEDULED]
    assert (await engine.job("done")).forgotten


async def test_a_forgotten_id_past_its_window_is_not_remembered(engine: EngineUnderTest) -> None:
    await engine.put("a")
    engine.advance(DEDUP_WINDOW)
    await engine.cancel("a")

    assert await engine.forget("a") == 1
    await engine.verbs.expire(engine.now, 10)
    assert not (await engine.job("a")).forgotten


async def test_counts_follow_what_is_kept(engine: EngineUnderTest) -> None:
    await engine.put("a", "b")
    await engine.cancel("a", "b")
    await engine.forget("a")
    assert (await engine.verbs.stats()).queues == {"default": QueueCounts(cancelled=1)}

    engine.advance(RESULT_TTL)
    await engine.verbs.expire(engine.now, 10)
    assert (await engine.verbs.stats()).queues == {}
