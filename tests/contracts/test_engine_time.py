"""What every engine must do when time passes: delays end, and jobs that nobody ran in time expire."""

from __future__ import annotations

from tests.contracts.harness import EngineUnderTest

from tqbroker_broker.answers import Due, Expired
from tqbroker_broker.attempts import Verdict
from tqbroker_broker.records import State, text_key

NOTHING = frozenset[str]()
WOKEN = frozenset({"default"})
QUIET = Expired([], NOTHING, [], more=False)


async def start(engine: EngineUnderTest, *names: str) -> dict[str, int]:
    """Jobs that are running under worker "w", with their tokens."""
    await engine.put(*names)
    await engine.join()
    return await engine.take()


# -- due ---------------------------------------------------------------------------------------------------------------


async def test_nothing_is_due_in_an_empty_store(engine: EngineUnderTest) -> None:
    assert await engine.verbs.due(engine.now, 10) == Due(NOTHING, more=False, next_ms=0)


async def test_a_job_is_queued_when_its_time_has_come(engine: EngineUnderTest) -> None:
    await engine.put("a", due_ms=engine.later(10))
    engine.advance(9)
    assert await engine.verbs.due(engine.now, 10) == Due(NOTHING, more=False, next_ms=engine.later(1))

    engine.advance(1)

    assert await engine.verbs.due(engine.now, 10) == Due(WOKEN, more=False, next_ms=0)
    job = await engine.job("a")
    assert (job.state, job.due_ms) == (State.QUEUED, engine.now.wall_ms)


async def test_delays_end_in_order_of_their_time_then_of_their_submit(engine: EngineUnderTest) -> None:
    for name, seconds in (("third", 3), ("first", 1), ("fourth", 3), ("second", 2)):
        await engine.put(name, due_ms=engine.later(seconds))
    await engine.put("now")
    engine.advance(5)
    await engine.verbs.due(engine.now, 10)
    await engine.join()

    assert list(await engine.take()) == ["now", "first", "second", "third", "fourth"]


async def test_delays_end_slice_by_slice(engine: EngineUnderTest) -> None:
    await engine.put("a", "b", due_ms=engine.later(1))
    await engine.put("c", due_ms=engine.later(60))
    end_ms = engine.later(60)
    due_ms = engine.later(1)
    engine.advance(1)

    assert await engine.verbs.due(engine.now, 1) == Due(WOKEN, more=True, next_ms=due_ms)
    assert await engine.verbs.due(engine.now, 1) == Due(WOKEN, more=False, next_ms=end_ms)
    assert await engine.verbs.due(engine.now, 1) == Due(NOTHING, more=False, next_ms=end_ms)


async def test_a_delay_of_ten_years_survives_a_restart(engine: EngineUnderTest) -> None:
    years = 10 * 365 * 86_400
    await engine.put("a", due_ms=engine.later(years))
    await engine.restart()
    engine.advance(years)

    assert (await engine.verbs.due(engine.now, 10)).woken == WOKEN


async def test_a_retry_comes_when_it_is_due(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")
    await engine.end("w", tokens["a"], Verdict.RETRY, retry_in=10)
    await engine.put("b")
    assert list(await engine.take()) == ["b"]
    engine.advance(10)
    await engine.verbs.due(engine.now, 10)

    again = await engine.take()

    assert list(again) == ["a"]
    assert again["a"] > tokens["a"]
    assert ((await engine.job("a")).retries, (await engine.job("a")).due_ms) == (1, engine.now.wall_ms)


async def test_a_retry_survives_a_restart(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")
    await engine.end("w", tokens["a"], Verdict.RETRY, retry_in=10)
    before = await engine.job("a")
    await engine.leave()
    await engine.restart()

    assert await engine.job("a") == before
    engine.advance(10)
    assert await engine.verbs.due(engine.now, 10) == Due(WOKEN, more=False, next_ms=0)


# -- expiry ------------------------------------------------------------------------------------------------------------


async def test_nothing_expires_in_an_empty_store(engine: EngineUnderTest) -> None:
    assert await engine.verbs.expire(engine.now, 10) == QUIET


async def test_a_waiting_job_past_its_expiry_ends(engine: EngineUnderTest) -> None:
    await engine.put("queued", expires_ms=engine.later(5))
    await engine.put("scheduled", due_ms=engine.later(60), expires_ms=engine.later(4))
    await engine.put("in time", expires_ms=engine.later(6))
    engine.advance(5)

    expired = await engine.verbs.expire(engine.now, 10)

    assert sorted(expired.final) == [text_key("queued"), text_key("scheduled")]
    assert expired == Expired(expired.final, NOTHING, [], more=False)
    job = await engine.job("queued")
    assert (job.state, job.finished_ms, job.worker, job.token) == (State.EXPIRED, engine.now.wall_ms, "", 0)
    assert await engine.verbs.expire(engine.now, 10) == QUIET


async def test_a_running_job_does_not_expire(engine: EngineUnderTest) -> None:
    await engine.put("a", expires_ms=engine.later(5))
    tokens = await start(engine)
    engine.advance(10)

    assert await engine.verbs.expire(engine.now, 10) == QUIET
    assert (await engine.succeed("w", tokens.values())).refused == {}
    assert (await engine.job("a")).state is State.SUCCEEDED


async def test_a_job_that_comes_back_past_its_expiry_ends(engine: EngineUnderTest) -> None:
    await engine.put("returned", "retried", "lost", expires_ms=engine.later(5))
    tokens = await start(engine)
    engine.advance(10)
    await engine.verbs.release("w", [tokens["returned"]], engine.now)
    await engine.end("w", tokens["retried"], Verdict.RETRY)
    await engine.end("w", tokens["lost"], Verdict.LOST)

    expired = await engine.verbs.expire(engine.now, 10)

    assert sorted(expired.final) == [text_key(name) for name in ("lost", "retried", "returned")]
    assert ((await engine.job("lost")).state, (await engine.job("lost")).lost) == (State.EXPIRED, 1)


async def test_a_job_that_comes_back_past_its_expiry_long_after_ends(engine: EngineUnderTest) -> None:
    await engine.put("a", expires_ms=engine.later(5))
    await start(engine)
    engine.advance(10)
    assert await engine.verbs.expire(engine.now, 10) == QUIET
    await engine.leave()

    assert (await engine.verbs.expire(engine.now, 10)).final == [text_key("a")]


async def test_a_job_past_its_expiry_whose_worker_was_lost_over_a_restart_ends(engine: EngineUnderTest) -> None:
    await engine.put("a", expires_ms=engine.later(5))
    await start(engine)
    engine.advance(10)
    assert await engine.verbs.expire(engine.now, 10) == QUIET
    await engine.restart()
    await engine.join(process=2)

    assert (await engine.verbs.expire(engine.now, 10)).final == [text_key("a")]


async def test_jobs_expire_slice_by_slice(engine: EngineUnderTest) -> None:
    await engine.put(*"abc", expires_ms=engine.later(5))
    engine.advance(5)

    first = await engine.verbs.expire(engine.now, 2)
    assert (len(first.final), first.more) == (2, True)

    rest = await engine.expire_all(2)
    assert sorted(first.final + rest.final) == [text_key(name) for name in "abc"]


async def test_an_expiry_survives_a_restart(engine: EngineUnderTest) -> None:
    await engine.put("a", expires_ms=engine.later(5))
    await engine.restart()
    engine.advance(5)

    assert (await engine.verbs.expire(engine.now, 10)).final == [text_key("a")]
