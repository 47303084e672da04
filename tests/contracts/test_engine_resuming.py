"""What of the leases from before a start every engine gives back to their workers, and what it does not."""

from __future__ import annotations

from tests.contracts.harness import TTL, EngineUnderTest

from tqbroker_broker.records import State


async def give_to_another(engine: EngineUnderTest) -> tuple[dict[str, int], dict[str, int]]:
    """A job that "late" has had since before a start, and that "new" got when nobody came back for it."""
    await engine.put("a")
    await engine.join("late")
    old = await engine.take("late")
    await engine.restart()
    engine.advance(TTL)
    assert (await engine.verbs.expire(engine.now, 10)).lost_workers == ["late"]
    await engine.join("new")
    return old, await engine.take("new")


async def test_a_job_that_went_to_another_worker_is_not_resumed_under_its_older_token(engine: EngineUnderTest) -> None:
    old, new = await give_to_another(engine)
    await engine.restart()

    assert (await engine.join("late", held=old)).lost == list(old.values())
    assert (await engine.join("new", held=new)).lost == []
    await engine.succeed("new", new.values())
    assert (await engine.job("a")).token == new["a"]


async def test_a_lease_that_was_refused_once_is_not_resumed_after_another_start(engine: EngineUnderTest) -> None:
    old, new = await give_to_another(engine)
    assert (await engine.join("late", held=old)).lost == list(old.values())
    await engine.restart()

    assert (await engine.join("late", held=old)).lost == list(old.values())
    assert (await engine.join("new", held=new)).lost == []


async def test_a_lease_that_was_resumed_is_resumed_after_another_start_too(engine: EngineUnderTest) -> None:
    await engine.put("a")
    await engine.join()
    tokens = await engine.take()
    for _ in range(3):
        await engine.restart()
        assert (await engine.join(held=tokens)).lost == []

    await engine.succeed("w", tokens.values())
    assert (await engine.job("a")).state is State.SUCCEEDED


async def test_a_job_that_nobody_got_meanwhile_is_resumed_however_late(engine: EngineUnderTest) -> None:
    await engine.put("a")
    await engine.join()
    tokens = await engine.take()
    await engine.restart()
    engine.advance(TTL)
    await engine.verbs.expire(engine.now, 10)

    assert (await engine.join(held=tokens)).lost == []
