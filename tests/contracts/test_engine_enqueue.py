"""What every engine must do with jobs on their way in."""

from __future__ import annotations

from tests.contracts.harness import DEDUP_WINDOW, HEAD, EngineUnderTest, new_jobs

from tqbroker_broker.answers import Enqueued, Stored
from tqbroker_broker.records import Head, NewJobs, State, text_key


def other_body(batch: NewJobs) -> NewJobs:
    return batch._replace(digests=[bytes(16)] * len(batch.ids))


async def test_a_new_job_is_stored_as_it_was_sent(engine: EngineUnderTest) -> None:
    head = Head("tasks.add", "mail", 7, "msgpack", ignore_result=True, result_ttl_ms=5000, headers=b"trace")

    answer = await engine.put("a", head=head, expires_ms=engine.later(60))

    job = await engine.job("a")
    assert answer == Enqueued(1, {})
    assert (job.state, job.head, job.args) == (State.QUEUED, head, b"a")
    assert (job.submitted_ms, job.due_ms, job.expires_ms) == (engine.now.wall_ms, 0, engine.later(60))


async def test_ids_of_every_kind_are_kept_apart(engine: EngineUnderTest) -> None:
    plain = new_jobs(["x"])
    uuid = b"t" + b"x" * 15
    text = text_key("x" * 15)

    answer = await engine.verbs.enqueue([plain._replace(ids=[uuid]), plain._replace(ids=[text])], engine.now)

    assert answer == [Enqueued(1, {}), Enqueued(1, {})]
    assert [job.state for job in await engine.verbs.get([uuid, text])] == [State.QUEUED] * 2


async def test_a_job_due_later_is_scheduled(engine: EngineUnderTest) -> None:
    await engine.put("a", due_ms=engine.later(10))

    job = await engine.job("a")
    assert (job.state, job.due_ms) == (State.SCHEDULED, engine.later(10))


async def test_a_due_time_that_has_passed_means_at_once(engine: EngineUnderTest) -> None:
    await engine.put("a", due_ms=engine.now.wall_ms)

    assert (await engine.job("a")).state is State.QUEUED


async def test_same_id_and_same_body_is_a_duplicate_and_no_second_job(engine: EngineUnderTest) -> None:
    await engine.put("a")

    assert await engine.put("a", "b") == Enqueued(1, {0: Stored.DUPLICATE})
    await engine.join()
    assert list(await engine.take()) == ["a", "b"]


async def test_same_id_and_other_body_is_a_conflict_and_changes_nothing(engine: EngineUnderTest) -> None:
    await engine.put("a")
    other = other_body(new_jobs(["a"], Head("tasks.other", "other", 0, "json")))

    assert await engine.verbs.enqueue([other], engine.now) == [Enqueued(0, {0: Stored.CONFLICT})]
    assert (await engine.job("a")).head == HEAD


async def test_repeats_inside_one_call_are_answered_as_if_sent_one_after_another(engine: EngineUnderTest) -> None:
    batches = [new_jobs(["a", "b", "a"]), other_body(new_jobs(["b", "c", "c"]))]

    assert await engine.verbs.enqueue(batches, engine.now) == [
        Enqueued(2, {2: Stored.DUPLICATE}),
        Enqueued(1, {0: Stored.CONFLICT, 2: Stored.DUPLICATE}),
    ]


async def test_a_call_without_jobs_is_answered(engine: EngineUnderTest) -> None:
    assert await engine.verbs.enqueue([], engine.now) == []
    assert await engine.put() == Enqueued(0, {})


async def test_ids_are_recognised_in_every_state(engine: EngineUnderTest) -> None:
    await engine.put("running", "done", "dropped")
    await engine.put("later", due_ms=engine.later(10))
    await engine.join()
    tokens = await engine.take()
    await engine.succeed("w", [tokens["done"], tokens["dropped"]])
    await engine.forget("dropped")
    names = ["running", "done", "dropped", "later"]

    assert await engine.put(*names) == Enqueued(0, dict.fromkeys(range(4), Stored.DUPLICATE))
    assert await engine.verbs.enqueue([other_body(new_jobs(names))], engine.now) == [
        Enqueued(0, dict.fromkeys(range(4), Stored.CONFLICT))
    ]


async def test_an_id_is_free_again_when_its_memory_has_ended(engine: EngineUnderTest) -> None:
    await engine.put("a")
    await engine.cancel("a")
    engine.advance(DEDUP_WINDOW)
    await engine.verbs.expire(engine.now, 10)

    assert await engine.put("a") == Enqueued(1, {})


async def test_jobs_and_ids_survive_a_restart(engine: EngineUnderTest) -> None:
    await engine.put("a")
    await engine.put("b", due_ms=engine.later(10))
    await engine.put("c")
    await engine.cancel("c")
    await engine.forget("c")
    before = [await engine.job(name) for name in "abc"]

    await engine.restart()

    assert [await engine.job(name) for name in "abc"] == before
    assert await engine.put("a", "b", "c") == Enqueued(0, dict.fromkeys(range(3), Stored.DUPLICATE))
