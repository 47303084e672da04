"""What every engine must keep of the rules of queues."""

from __future__ import annotations

import pytest
from tests.contracts.harness import EngineUnderTest

from tqbroker_broker.records import State
from tqbroker_broker.rules import Overflow, QueueRule
from tqbroker_broker.storage import QueueInUse

REFUSE = QueueRule(max_length=2)


async def rule(engine: EngineUnderTest, rule: QueueRule | None, queue: str = "default") -> None:
    await engine.verbs.put_queue(queue, rule, engine.now)


async def test_only_rules_that_say_something_are_listed(engine: EngineUnderTest) -> None:
    await rule(engine, REFUSE)
    await rule(engine, QueueRule(weights={"gold": 3}), "mail")
    assert engine.verbs.queue_rules() == {"default": REFUSE, "mail": QueueRule(weights={"gold": 3})}

    await rule(engine, QueueRule())
    await rule(engine, None, "mail")

    assert engine.verbs.queue_rules() == {}


async def test_rules_survive_a_restart(engine: EngineUnderTest) -> None:
    full = QueueRule(True, 5, Overflow.DROP_OLDEST, 60_000, {"gold": 3})
    await rule(engine, full)
    await engine.restart()

    assert engine.verbs.queue_rules() == {"default": full}


async def test_a_queue_with_unfinished_jobs_is_not_removed(engine: EngineUnderTest) -> None:
    await rule(engine, REFUSE)
    await engine.put("a")
    await engine.put("b", due_ms=engine.later(60))
    await engine.join()
    tokens = await engine.take()
    for name in ("a", "b"):
        with pytest.raises(QueueInUse, match="default"):
            await rule(engine, None)
        await (engine.succeed("w", tokens.values()) if name == "a" else engine.cancel("b"))

    await rule(engine, None)

    assert engine.verbs.queue_rules() == {}
    assert (await engine.job("a")).state is State.SUCCEEDED
