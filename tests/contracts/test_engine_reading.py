"""What every engine must tell: jobs by id, counts by queue and state."""

from __future__ import annotations

from tests.contracts.every_state import put_one_in_every_state
from tests.contracts.harness import EngineUnderTest

from tqbroker_broker.answers import Job, QueueCounts
from tqbroker_broker.lifecycle import FINAL
from tqbroker_broker.records import State, text_key


async def test_an_id_never_seen_is_unknown(engine: EngineUnderTest) -> None:
    assert await engine.job("nobody") == Job(text_key("nobody"), State.UNKNOWN)


async def test_jobs_come_in_the_order_asked_for(engine: EngineUnderTest) -> None:
    await engine.put("a", "b")
    ids = [text_key(name) for name in ("b", "nobody", "a", "b")]

    assert [job.id for job in await engine.verbs.get(ids)] == ids
    assert await engine.verbs.get([]) == []


async def test_arguments_come_only_when_asked_for(engine: EngineUnderTest) -> None:
    await engine.put("a")

    (job,) = await engine.verbs.get([text_key("a")])

    assert job.args == b""
    assert (await engine.job("a")).args == b"a"


async def test_who_asks_for_ends_hears_of_final_and_unknown_jobs_only_and_as_much_as_who_asks_for_all(
    engine: EngineUnderTest,
) -> None:
    await put_one_in_every_state(engine)
    names = ("succeeded", "failed", "running", "expired", "nobody", "queued", "cancelled", "scheduled", "succeeded")
    ids = [text_key(name) for name in names]

    ended = await engine.verbs.ended(ids)

    assert ended == [job for job in await engine.verbs.get(ids) if job.state in FINAL | {State.UNKNOWN}]
    assert {job.state for job in ended} == FINAL | {State.UNKNOWN}


async def test_an_empty_store_has_no_queues(engine: EngineUnderTest) -> None:
    assert (await engine.verbs.stats()).queues == {}


async def test_jobs_are_counted_by_queue_and_state(engine: EngineUnderTest) -> None:
    await put_one_in_every_state(engine)

    assert (await engine.verbs.stats()).queues == {
        "default": QueueCounts(queued=1, running=1, scheduled=1, succeeded=1, failed=1, cancelled=1, expired=1),
        "mail": QueueCounts(queued=1),
    }


async def test_counts_survive_a_restart_in_which_running_jobs_become_queued(engine: EngineUnderTest) -> None:
    await put_one_in_every_state(engine)
    await engine.restart()

    counts = (await engine.verbs.stats()).queues["default"]
    assert counts == QueueCounts(queued=2, running=0, scheduled=1, succeeded=1, failed=1, cancelled=1, expired=1)


async def test_a_job_says_who_runs_it_and_since_when_only_while_it_runs(engine: EngineUnderTest) -> None:
    await engine.put("a")
    await engine.join()
    tokens = await engine.take()
    handed_out_ms = engine.now.wall_ms
    engine.advance(1)
    running = await engine.job("a")
    await engine.verbs.release("w", list(tokens.values()), engine.now)
    queued = await engine.job("a")

    assert (running.worker, running.token, running.started_ms) == ("w", tokens["a"], handed_out_ms)
    assert (queued.worker, queued.token, queued.started_ms) == ("", 0, 0)
