"""What the tests of reading begin with: a store that has a job in every state."""

from __future__ import annotations

from tests.contracts.harness import FAILURE, EngineUnderTest

from tqbroker_broker.attempts import Verdict
from tqbroker_broker.records import Head

MAIL = Head("tasks.mail", "mail", 0, "json")


async def put_one_in_every_state(engine: EngineUnderTest) -> None:
    """One job of the queue "default" in every state, called after it, and one queued in "mail", called mail."""
    await engine.put("succeeded", "failed", "running")
    await engine.join()
    tokens = await engine.take()
    await engine.succeed("w", [tokens["succeeded"]])
    await engine.end("w", tokens["failed"], Verdict.FAILED, failure=FAILURE)
    await engine.put("expired", expires_ms=engine.later(1))
    await engine.put("queued", "cancelled")
    await engine.put("scheduled", due_ms=engine.later(60))
    await engine.cancel("cancelled")
    await engine.put("mail", head=MAIL)
    engine.advance(1)
    await engine.verbs.expire(engine.now, 10)
