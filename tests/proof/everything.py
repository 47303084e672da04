"""A store with every kind of row: jobs in all states, workflows at all stages, rules, schedules, groups, events."""

from __future__ import annotations

from random import Random

from tests.contracts.harness import FAILURE, HEAD, EngineUnderTest
from tests.contracts.workflows import Workflow, submit, take_tokens, workflow_id

from tqbroker_broker.attempts import Held, Progress, Verdict
from tqbroker_broker.records import Head, text_key
from tqbroker_broker.rules import LimitRule, Overflow, QueueRule, Rate, Traits, Unique, UniqueConflict, UniqueUntil
from tqbroker_broker.schedules import Crontab, Firing, Schedule, ScheduleState

ONCE = Head("tasks.add", "default", 0, "json", traits=Traits(unique=Unique(UniqueUntil.FINISHED, UniqueConflict.KEEP)))
HOURLY = Traits(unique=Unique(UniqueUntil.TIME, UniqueConflict.REJECT, 3_600_000))
KEYED = Head("tasks.add", "orders", 3, "json", traits=Traits("tenant", "customer 1", ("mail",), ("gpu",)))
SMALL = 40
"""Bytes of a result that stands in its row."""
LARGE = 6000
"""Bytes of one that has pages of its own."""


async def fill(engine: EngineUnderTest, jobs: int = 60) -> None:
    """Fills an open and empty engine; its clock goes on by some hours. The same every time."""
    rng = Random(1)
    await _rules(engine)
    await engine.join()
    await _some_of_all_ages(engine, jobs, rng)
    await _ends(engine)
    await _workflows(engine)
    await _waiting(engine)


async def _rules(engine: EngineUnderTest) -> None:
    await engine.verbs.put_queue("mail", QueueRule(True, 100, Overflow.DROP_OLDEST, 60_000, {"a": 2}), engine.now)
    await engine.verbs.put_limits([LimitRule("task:tasks.slow", 5, (Rate(1, 1000),))], [], engine.now)
    await engine.verbs.put_limits([LimitRule("mail*", 3)], [], engine.now, operator=False)
    born_ms = engine.now.wall_ms
    tick = Schedule("tick", 1000, head=HEAD, args=b"[1]", jitter_ms=5)
    night = Schedule("night", crontab=Crontab("0", "3", day_of_week="mon-fri"), zone="Europe/Berlin", head=HEAD)
    states = [
        ScheduleState(tick, "operator", born_ms, born_ms + 1000),
        ScheduleState(
            night, "app shop", born_ms, 0, 7, 1, 2, (Firing(5, b"i" * 16), Firing(6, b"")), (b"tlive",), True
        ),
    ]
    await engine.verbs.put_schedules(states, [], engine.now)


async def _some_of_all_ages(engine: EngineUnderTest, jobs: int, rng: Random) -> None:
    """Jobs that were dropped and are remembered, and many that have ended with results of all sizes."""
    await engine.put("old1", "old2")
    await engine.put("rated", head=Head("tasks.slow", "default", 0, "json"))
    await engine.succeed("w", (await take_tokens(engine)).values())
    await engine.forget("old1", "old2")
    names = [f"job{number}" for number in range(jobs)]
    await engine.put(*names)
    tokens = await engine.take(slots=jobs)
    for name in names[: jobs * 2 // 3]:
        size = LARGE if rng.random() < 0.2 else SMALL
        result = name.encode().ljust(size, b".")
        await engine.succeed("w", [tokens.pop(name)], result=result)
    await engine.verbs.release("w", list(tokens.values()), engine.now)


async def _ends(engine: EngineUnderTest) -> None:
    """One job in each final state, with a history, and what its body has submitted."""
    await engine.cancel(*[f"job{number}" for number in range(1000)])
    await engine.put("failed", "parent", "retried", "rejected")
    tokens = await take_tokens(engine)
    await engine.annotate("w", tokens["failed"], progress=Progress("HALF", b"50", "json", 1, 2, "on it", 3))
    await engine.end("w", tokens["failed"], Verdict.FAILED, failure=FAILURE)
    await engine.end("w", tokens["parent"], Verdict.FAILED, failure=FAILURE, children=["failed", "retried"])
    await engine.end("w", tokens["retried"], Verdict.RETRY, failure=FAILURE, args=b"[2]")
    await engine.end("w", tokens["rejected"], Verdict.REJECTED)
    await engine.put("expired", expires_ms=engine.later(1))
    engine.advance(2)
    engine.extend("w")
    await engine.expire_all(100)


async def _workflows(engine: EngineUnderTest) -> None:
    """One at each stage: done, with a job that is dropped already; broken; half-way; grown; uploading; held."""
    await submit(engine, Workflow("done").chord("d1", "d2", body="d3"))
    await _run_all(engine, "d")
    await engine.forget("d1")
    broken = Workflow("broken").chain("b1", "b2", "b3")
    broken.add("b4", after=broken.failure_of("b1"))
    await submit(engine, broken)
    tokens = await take_tokens(engine)
    await engine.end("w", tokens["b1"], Verdict.FAILED, failure=FAILURE)
    await submit(engine, Workflow("half").chord("h1", "h2", "h3", body="h4"))
    tokens = await take_tokens(engine)
    await engine.succeed("w", [tokens["h1"]])
    beside = Workflow("grown").add("g1", beside=True)
    await engine.verbs.submit(beside.part(beside=Held(text_key("h2"), tokens["h2"])), engine.now)
    await engine.verbs.submit(Workflow("upload").add("u1").add("u2").parts([1, 1])[0], engine.now)
    await engine.verbs.submit(Workflow("guest").add("taker", takes_over=True).part(held=True), engine.now)
    await engine.verbs.save_group(workflow_id("saved"), [text_key("failed"), text_key("d2")], engine.now)


async def _run_all(engine: EngineUnderTest, prefix: str) -> None:
    while tokens := {name: token for name, token in (await take_tokens(engine)).items() if name.startswith(prefix)}:
        await engine.succeed("w", tokens.values(), result=b"[8]")


async def _waiting(engine: EngineUnderTest) -> None:
    """Jobs that wait: plain, late, unique, with a key, a mark, a checkpoint, several lanes."""
    await engine.put("unique", head=ONCE, keys=["one"])
    await engine.put("hourly", head=Head("tasks.add", "default", 0, "json", traits=HOURLY), keys=["two"])
    await engine.put("late", "later", due_ms=engine.later(600), expires_ms=engine.later(6000))
    await engine.put("k1", "k2", head=KEYED)
    await engine.put("mail", head=Head("tasks.mail", "mail", 0, "json"))
    await engine.put("marked", "checked", "lost", "queued", "urgent")
    tokens = await take_tokens(engine)
    await engine.annotate("w", tokens["checked"], checkpoint=b"half-way")
    await engine.cancel("marked")
    await engine.end("w", tokens["lost"], Verdict.LOST, failure=FAILURE)
