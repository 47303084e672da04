"""What every engine must do with a cancel that asks for force: the strongest wish is durable and reaches the worker."""

from __future__ import annotations

from tests.contracts.harness import EngineUnderTest

from tqbroker_broker.answers import CancelAnswer, Cancelled, Mark


async def start(engine: EngineUnderTest, *names: str) -> dict[str, int]:
    """Jobs that are running under worker "w", with their tokens."""
    await engine.put(*names)
    await engine.join()
    return await engine.take()


async def test_a_worker_that_comes_back_hears_what_is_to_be_stopped_by_force(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "asked", "forced", "both")
    await engine.cancel("asked")
    await engine.cancel("forced", terminate=True)
    await engine.cancel("both", terminate=True)
    await engine.cancel("both")
    engine.part()
    marks = {tokens["asked"]: Mark.ASKED, tokens["forced"]: Mark.TERMINATE, tokens["both"]: Mark.TERMINATE}

    await engine.join(held=tokens)
    assert engine.marks() == marks

    await engine.restart()
    await engine.join(held=tokens)
    assert engine.marks() == marks


async def test_a_mark_can_be_made_stronger(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")
    await engine.cancel("a")

    answer = await engine.cancel("a", terminate=True)

    engine.part()
    assert answer == CancelAnswer([Cancelled.RUNNING], {"w": [tokens["a"]]})
    await engine.join(held=tokens)
    assert engine.marks() == {tokens["a"]: Mark.TERMINATE}


async def test_a_job_that_may_run_gets_its_mark_for_the_worker_that_comes_back(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")
    await engine.restart()
    assert await engine.cancel("a", terminate=True) == CancelAnswer([Cancelled.PENDING], {})

    await engine.join(held=tokens)
    assert engine.marks() == {tokens["a"]: Mark.TERMINATE}
