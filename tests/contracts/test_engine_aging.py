"""What every engine must do when the wall clock is set: what it keeps for a time is kept for that time all the same."""

from __future__ import annotations

import pytest
from tests.contracts.harness import DEDUP_WINDOW, RESULT_TTL, EngineUnderTest
from tests.contracts.workflows import Workflow

from tqbroker_broker.records import State
from tqbroker_broker.workflows import PartEffect

DAY = 86_400.0
JUMPS = [RESULT_TTL, 400 * DAY, 56 * 365 * DAY]
NAMES = ["by an hour", "by 400 days", "from 1970"]


async def upkeep(engine: EngineUnderTest) -> None:
    await engine.expire_all(10)


async def finished(engine: EngineUnderTest, name: str = "a") -> None:
    """A job that has just succeeded, and a look of the broker at the clock."""
    await engine.put(name)
    await engine.join()
    await engine.succeed("w", (await engine.take()).values())
    await engine.leave()
    await upkeep(engine)


async def jump(engine: EngineUnderTest, seconds: float) -> None:
    """The wall clock is set, and the broker has looked at it half a second later."""
    engine.advance(0.5, wall=seconds)
    await upkeep(engine)


async def passes(engine: EngineUnderTest, seconds: float) -> None:
    engine.advance(seconds)
    await upkeep(engine)


async def kept(engine: EngineUnderTest, *names: str) -> list[bool]:
    return [(await engine.job(name)).state is not State.UNKNOWN for name in names]


@pytest.mark.parametrize("seconds", JUMPS, ids=NAMES)
@pytest.mark.parametrize("restart", [False, True])
async def test_a_clock_put_forward_drops_nothing_before_its_time(
    engine: EngineUnderTest, seconds: float, restart: bool
) -> None:
    await finished(engine)
    await jump(engine, seconds)
    if restart:
        await engine.restart()
    await passes(engine, RESULT_TTL - 10)
    assert await kept(engine, "a") == [True]

    await passes(engine, 10)

    assert await kept(engine, "a") == [False]
    assert (await engine.job("a")).forgotten


@pytest.mark.parametrize("how", ["aged", "forgotten"])
async def test_a_clock_put_forward_forgets_no_id_before_its_time(engine: EngineUnderTest, how: str) -> None:
    await finished(engine)
    await jump(engine, 400 * DAY)
    if how == "aged":
        await passes(engine, RESULT_TTL)
    else:
        await engine.forget("a")
        await passes(engine, RESULT_TTL)
    assert (await engine.put("a")).stored == 0

    await passes(engine, DEDUP_WINDOW - RESULT_TTL)

    assert (await engine.put("a")).stored == 1


async def test_what_ends_after_the_jump_is_kept_for_its_time_and_no_longer_than_the_longest(
    engine: EngineUnderTest,
) -> None:
    await finished(engine, "before")
    await jump(engine, 400 * DAY)
    await finished(engine, "after")
    await passes(engine, RESULT_TTL)
    assert await kept(engine, "before", "after") == [False, True]

    await passes(engine, DEDUP_WINDOW - RESULT_TTL)

    assert await kept(engine, "before", "after") == [False, False]


@pytest.mark.parametrize("restart", [False, True])
async def test_a_clock_that_is_put_right_again_leaves_no_trace(engine: EngineUnderTest, restart: bool) -> None:
    await finished(engine, "before")
    await jump(engine, 400 * DAY)
    await finished(engine, "between")
    if restart:
        engine.advance(0.5, wall=-400 * DAY)
        await engine.restart()
    else:
        await jump(engine, -400 * DAY)
    await finished(engine, "after")

    await passes(engine, RESULT_TTL - 1)
    assert await kept(engine, "before", "after") == [True, True]
    await passes(engine, 2)
    assert await kept(engine, "before", "after") == [False, False]


async def test_jumps_in_both_directions_add_up(engine: EngineUnderTest) -> None:
    await finished(engine)
    for seconds in (3600, 400 * DAY, -7200, -100 * DAY, 50 * DAY):
        await jump(engine, seconds)
    assert await kept(engine, "a") == [True]

    await passes(engine, RESULT_TTL)

    assert await kept(engine, "a") == [False]


@pytest.mark.parametrize("restart", [False, True])
async def test_jumps_that_come_again_and_again_keep_nothing_from_growing_old(
    engine: EngineUnderTest, *, restart: bool
) -> None:
    """A machine that sleeps for hours once within each time of keeping: its clock seems to jump whenever it wakes."""
    await jump(engine, 8 * 3600)
    await finished(engine)
    for _ in range(3):
        await passes(engine, DEDUP_WINDOW * 2 / 3)
        await jump(engine, 8 * 3600)
        if restart:
            await engine.restart()

    assert await kept(engine, "a") == [False]
    assert (await engine.put("a")).stored == 1


async def test_each_jump_is_held_back_for_its_own_time(engine: EngineUnderTest) -> None:
    await finished(engine, "before")
    await jump(engine, 400 * DAY)
    await passes(engine, RESULT_TTL * 2 / 3)
    await finished(engine, "between")
    await jump(engine, 400 * DAY)
    assert await kept(engine, "before", "between") == [True, True]

    await passes(engine, RESULT_TTL * 2 / 3)
    assert await kept(engine, "before", "between") == [False, True]
    await passes(engine, RESULT_TTL)
    assert await kept(engine, "before", "between") == [False, False]


async def test_an_upload_goes_on_after_a_jump(engine: EngineUnderTest) -> None:
    first, last = Workflow().chain("a", "b").parts([1, 1])
    await engine.verbs.submit(first, engine.now)
    await upkeep(engine)
    await jump(engine, 400 * DAY)

    assert (await engine.verbs.submit(last, engine.now)).effect is PartEffect.STORED
