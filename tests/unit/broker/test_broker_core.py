"""Jobs: stored, timed, waited for, cancelled; and what happens when storage cannot."""

from __future__ import annotations

import asyncio

import pytest
from tests.unit.broker.harness import TASK, Bench

from tqbroker_broker.answers import Cancelled, Due, Enqueued, Stored
from tqbroker_broker.attempts import Verdict
from tqbroker_broker.records import State
from tqbroker_broker.refusals import Busy, Stopping
from tqbroker_broker.storage import Fenced, Unavailable


async def test_a_resend_is_a_duplicate_and_runs_once(bench: Bench) -> None:
    worker = await (await bench.worker().attach()).credit(5)
    (job,) = await bench.enqueue(1)
    (answer,) = await bench.submit([job])
    assert answer.exceptions == {0: Stored.DUPLICATE}
    assert len(worker.take()) == 1


async def test_a_delayed_job_becomes_due_by_the_clock(bench: Bench) -> None:
    worker = await (await bench.worker().attach()).credit(5)
    await bench.enqueue(1, due_in_ms=1500)
    await bench.pass_time(1.0)
    assert worker.take() == []
    await bench.pass_time(0.5)
    assert len(worker.take()) == 1


async def test_a_tick_asks_to_be_called_when_the_next_job_is_due(bench: Bench) -> None:
    await bench.core.tick()
    woken: list[bool] = []
    bench.core.agenda.on_earlier = lambda: woken.append(True)
    await bench.enqueue(1, due_in_ms=200)
    assert woken == [True]
    assert bench.core.agenda.left(bench.clock.now()) == pytest.approx(0.2)
    await bench.enqueue(1, due_in_ms=400)
    assert woken == [True]
    assert await bench.core.tick() == pytest.approx(0.2)


async def test_a_retry_runs_again_when_it_is_due(bench: Bench) -> None:
    worker = await (await bench.worker().attach()).credit(1)
    await bench.core.tick()
    (job,) = await bench.enqueue(1)
    ((_, token),) = worker.take()
    await worker.end(token, Verdict.RETRY, retry_in_ms=300)
    assert bench.core.agenda.left(bench.clock.now()) == pytest.approx(0.3)
    await bench.pass_time(0.3)
    ((again, second),) = worker.take()
    assert again == job
    assert second > token


async def test_whoever_waits_hears_of_every_kind_of_end(bench: Bench) -> None:
    worker = await (await bench.worker().attach()).credit(2)
    good, bad = await bench.enqueue(2)
    (cancelled,) = await bench.enqueue(1, queue="nobody's")
    watcher = bench.watch(good, bad, cancelled)
    (_, first), (_, second) = worker.take()
    await worker.succeed(first)
    assert watcher.take(9) == [good]
    await bench.core.cancel([cancelled])
    assert watcher.take(9) == [cancelled]
    bench.core.unwatch(watcher, [good, cancelled])
    await worker.end(second, Verdict.FAILED)
    assert watcher.take(9) == [bad]


async def test_a_job_nobody_starts_in_time_expires_and_is_told(bench: Bench) -> None:
    now = bench.clock.now()
    (job,) = await bench.enqueue(1)
    bench.engine.store.jobs[job].expires_ms = now.wall_ms + 1000
    watcher = bench.watch(job)
    await bench.pass_time(1.5)
    assert watcher.take(9) == [job]
    (found,) = await bench.core.get([job])
    assert found.state is State.EXPIRED


async def test_a_cancel_reaches_the_worker_that_runs_the_job(bench: Bench) -> None:
    worker = await (await bench.worker().attach()).credit(1)
    (job,) = await bench.enqueue(1)
    ((_, token),) = worker.take()
    answer = await bench.core.cancel([job, b"n" * 16])
    assert answer.effects == [Cancelled.RUNNING, Cancelled.UNKNOWN]
    assert worker.session.cancelled == [token]


async def test_a_returned_job_with_a_cancel_mark_ends_and_is_told(bench: Bench) -> None:
    worker = await (await bench.worker().attach()).credit(1)
    (job,) = await bench.enqueue(1)
    ((_, token),) = worker.take()
    watcher = bench.watch(job)
    await bench.core.cancel([job])
    await bench.core.outcomes.release(worker.session, [token])
    await bench.core.tick()
    assert watcher.take(9) == [job]


async def test_why_a_job_waits_is_said_in_words(bench: Bench) -> None:
    async def why(task: str, queue: str) -> str:
        (job,) = await bench.enqueue(1, task=task, queue=queue)
        (found,) = await bench.core.get([job])
        return bench.core.waits_for(found)

    assert await why(TASK, "default") == "no worker knows tasks.add"
    await bench.worker(queues=("mail",)).attach()
    assert await why(TASK, "default") == "no worker takes queue default"
    await bench.worker("w2", tasks=("tasks.other",)).attach()
    assert await why(TASK, "default") == "no worker of queue default knows tasks.add"
    await bench.worker("w3").attach()
    assert await why(TASK, "default") == ""


async def test_a_stopping_broker_takes_no_new_work_but_finishes_the_old(bench: Bench) -> None:
    worker = await (await bench.worker().attach()).credit(1)
    (job,) = await bench.enqueue(1)
    ((_, token),) = worker.take()
    await bench.core.drain()
    with pytest.raises(Stopping):
        await bench.enqueue(1)
    assert await worker.succeed(token) == []
    (found,) = await bench.core.get([job])
    assert found.state is State.SUCCEEDED


async def test_draining_waits_for_commits_under_way(bench: Bench) -> None:
    gate = asyncio.Event()
    enqueue = bench.engine.enqueue

    async def slow(*args):  # type: ignore[no-untyped-def]
        await gate.wait()
        return await enqueue(*args)

    bench.engine.enqueue = slow  # type: ignore[method-assign]
    submitting = asyncio.create_task(bench.enqueue(1))
    await asyncio.sleep(0)
    draining = asyncio.create_task(bench.core.drain())
    await asyncio.sleep(0)
    assert not draining.done()
    gate.set()
    await draining
    assert submitting.done()


async def test_more_in_flight_than_admitted_is_refused(bench: Bench) -> None:
    bench = await Bench(max_inflight_bytes=1000).open()
    gate = asyncio.Event()

    async def stuck(*args):  # type: ignore[no-untyped-def]
        await gate.wait()
        return [Enqueued(1, {})]

    bench.engine.enqueue = stuck  # type: ignore[method-assign]
    first = asyncio.create_task(bench.enqueue(1, args=b"x" * 900))
    await asyncio.sleep(0)
    with pytest.raises(Busy):
        await bench.enqueue(1, args=b"x" * 200)
    gate.set()
    await first


async def test_an_outcome_without_room_is_kept_and_stored_later(bench: Bench) -> None:
    worker = await (await bench.worker().attach()).credit(1)
    (job,) = await bench.enqueue(1)
    ((_, token),) = worker.take()
    finish = bench.engine.finish
    tries = iter([Unavailable("no room"), None])

    async def full_once(*args):  # type: ignore[no-untyped-def]
        if error := next(tries):
            raise error
        return await finish(*args)

    bench.engine.finish = full_once  # type: ignore[method-assign]
    outcome = asyncio.create_task(worker.succeed(token))
    await asyncio.sleep(0)
    assert not outcome.done()
    await bench.core.tick()
    await outcome
    (found,) = await bench.core.get([job])
    assert found.state is State.SUCCEEDED


async def test_lost_storage_is_reported_once(bench: Bench) -> None:
    async def fenced(*args):  # type: ignore[no-untyped-def]
        raise Fenced("gone")

    bench.engine.enqueue = fenced  # type: ignore[method-assign]
    for _ in range(2):
        with pytest.raises(Fenced):
            await bench.enqueue(1)
    assert len(bench.failures) == 1
    assert bench.core.failed


async def test_a_hand_out_that_fails_does_not_touch_the_submit(bench: Bench) -> None:
    worker = await (await bench.worker().attach()).credit(1)
    lease = bench.engine.lease
    tries = iter([RuntimeError("bug"), None])

    async def broken_once(*args):  # type: ignore[no-untyped-def]
        if error := next(tries):
            raise error
        return await lease(*args)

    bench.engine.lease = broken_once  # type: ignore[method-assign]
    await bench.enqueue(1)
    assert worker.take() == []
    assert worker.session.closed, "coming back settles who holds what"
    bench.core.workers.part(worker.session)
    await worker.attach()
    await worker.credit(1)
    assert len(worker.take()) == 1


async def test_what_is_due_and_has_no_room_keeps_nothing_from_being_dropped(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_room(*_: object) -> Due:
        raise Unavailable("no room")

    monkeypatch.setattr(bench.engine, "due", no_room)
    (job,) = await bench.enqueue(1)
    bench.engine.store.jobs[job].expires_ms = bench.clock.now().wall_ms + 1000
    watcher = bench.watch(job)
    await bench.pass_time(1.5)
    assert watcher.take(9) == [job]
