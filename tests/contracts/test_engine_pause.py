"""What every engine must do with a paused queue: it takes jobs, and hands out none."""

from __future__ import annotations

from tests.contracts.harness import TTL, EngineUnderTest

from tqbroker_broker.attempts import Verdict
from tqbroker_broker.records import Head, State
from tqbroker_broker.rules import QueueRule

MAIL = Head("tasks.add", "mail", 0, "json")


async def pause(engine: EngineUnderTest, *, paused: bool = True) -> None:
    await engine.verbs.put_queue("default", QueueRule(paused=paused), engine.now)


async def test_a_paused_queue_hands_out_nothing_and_others_go_on(engine: EngineUnderTest) -> None:
    await pause(engine)
    await engine.put("a")
    await engine.put("mail", head=MAIL)
    await engine.join()

    assert await engine.take() == {}
    assert list(await engine.take(queue="mail")) == ["mail"]


async def test_a_resumed_queue_goes_on_where_it_was(engine: EngineUnderTest) -> None:
    await engine.put("a", "b")
    await pause(engine)
    await engine.put("c")
    await engine.join()
    assert await engine.take() == {}

    await pause(engine, paused=False)

    assert list(await engine.take()) == ["a", "b", "c"]


async def test_what_runs_goes_on_while_its_queue_is_paused(engine: EngineUnderTest) -> None:
    await engine.put("a", "b")
    await engine.join()
    tokens = await engine.take()
    await pause(engine)

    await engine.succeed("w", [tokens["a"]])
    await engine.end("w", tokens["b"], Verdict.RETRY)

    assert (await engine.job("a")).state is State.SUCCEEDED
    assert await engine.take() == {}
    await pause(engine, paused=False)
    assert list(await engine.take()) == ["b"]


async def test_a_paused_queue_says_so_of_each_job_that_waits(engine: EngineUnderTest) -> None:
    await engine.put("a")
    await engine.put("later", due_ms=engine.later(60))
    await engine.join()
    await engine.take()
    await pause(engine)
    await engine.put("b")

    assert [(await engine.job(name)).held_by for name in ("a", "later", "b")] == ["", "", "paused"]


async def test_time_goes_on_in_a_paused_queue(engine: EngineUnderTest) -> None:
    await pause(engine)
    await engine.put("later", due_ms=engine.later(5))
    await engine.put("expires", expires_ms=engine.later(5))
    await engine.put("cancelled")
    engine.advance(5)
    await engine.cancel("cancelled")
    await engine.verbs.due(engine.now, 10)
    await engine.verbs.expire(engine.now, 10)

    states = [(await engine.job(name)).state for name in ("later", "expires", "cancelled")]
    assert states == [State.QUEUED, State.EXPIRED, State.CANCELLED]


async def test_a_pause_survives_a_restart(engine: EngineUnderTest) -> None:
    await engine.put("a")
    await pause(engine)
    await engine.restart()
    await engine.join()

    assert await engine.take() == {}
    assert (await engine.job("a")).held_by == "paused"


async def test_leases_are_taken_up_again_in_a_paused_queue(engine: EngineUnderTest) -> None:
    await engine.put("a")
    await engine.join()
    tokens = await engine.take()
    await pause(engine)
    await engine.restart()

    assert (await engine.join(held=tokens)).lost == []
    engine.advance(TTL - 1)
    assert (await engine.succeed("w", tokens.values())).refused == {}
