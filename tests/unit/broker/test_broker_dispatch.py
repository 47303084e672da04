"""Handing out: at once, to those who may, no more than their credit, in turn."""

from __future__ import annotations

import asyncio

import pytest
from tests.unit.broker.harness import TASK, Bench, FakeWorker

from tqbroker_broker.attempts import Verdict
from tqbroker_broker.sessions import MAX_UNSENT
from tqbroker_broker.storage import Unavailable


async def test_a_job_is_handed_out_in_the_call_that_stores_it(bench: Bench) -> None:
    worker = await (await bench.worker().attach()).credit(1)
    (job,) = await bench.enqueue(1)
    assert [taken for taken, _ in worker.take()] == [job]


async def test_jobs_that_wait_are_handed_out_when_a_worker_brings_credit(bench: Bench) -> None:
    jobs = await bench.enqueue(3)
    worker = await bench.worker().attach()
    assert worker.take() == []
    await worker.credit(2)
    assert [job for job, _ in worker.take()] == jobs[:2]


async def test_credit_comes_back_with_the_outcome(bench: Bench) -> None:
    worker = await (await bench.worker().attach()).credit(1)
    jobs = await bench.enqueue(3)
    done = []
    for _ in jobs:
        ((job, token),) = worker.take()
        done.append(job)
        await worker.succeed(token)
    assert done == jobs
    assert worker.session.out == 0


async def test_credit_comes_back_with_failures_and_returned_jobs(bench: Bench) -> None:
    worker = await (await bench.worker().attach()).credit(1)
    await bench.enqueue(2)
    ((first, token),) = worker.take()
    await bench.core.outcomes.release(worker.session, [token])
    ((again, token),) = worker.take()
    assert again == first
    await worker.end(token, Verdict.FAILED)
    assert len(worker.take()) == 1


async def test_only_fast_tasks_fill_the_window_and_do_not_starve_the_others(bench: Bench) -> None:
    worker = await bench.worker(tasks=("fast", "slow")).attach()
    await worker.credit(2, window=10, fast=("fast",))
    await bench.enqueue(5, task="fast")
    assert len(worker.take()) == 5
    await bench.enqueue(3, task="slow")
    slow = worker.take()
    assert len(slow) == 2
    await bench.enqueue(5, task="fast")
    fast = worker.take()
    assert len(fast) == 3
    await worker.succeed(fast[0][1])
    assert len(worker.take()) == 1
    await worker.succeed(slow[0][1])
    assert len(worker.take()) == 1


async def test_a_worker_is_given_only_what_it_knows_and_takes(bench: Bench) -> None:
    worker = await (await bench.worker(queues=("mail",)).attach()).credit(9)
    await bench.enqueue(1, task="tasks.other", queue="mail")
    await bench.enqueue(1, queue="default")
    (job,) = await bench.enqueue(1, queue="mail")
    assert [taken for taken, _ in worker.take()] == [job]


async def test_workers_of_one_kind_take_turns(bench: Bench) -> None:
    workers = [await (await bench.worker(name).attach()).credit(4) for name in ("w1", "w2", "w3")]
    for _ in range(6):
        await bench.enqueue(1)
    assert [len(worker.take()) for worker in workers] == [2, 2, 2]


async def test_a_large_backlog_is_shared_among_idle_workers(bench: Bench) -> None:
    workers = [await (await bench.worker(name).attach()).credit(1, window=500, fast=(TASK,)) for name in ("w1", "w2")]
    await bench.enqueue(256)
    await bench.core.tick()
    assert [len(worker.take()) for worker in workers] == [128, 128]


async def test_one_new_job_asks_the_engine_little_however_many_workers_idle(bench: Bench) -> None:
    for number in range(40):
        await (await bench.worker(f"w{number}").attach()).credit(1)
    asked: list[int] = []
    lease = bench.engine.lease

    async def counted(wants, now):  # type: ignore[no-untyped-def]
        asked.append(len(wants))
        return await lease(wants, now)

    bench.engine.lease = counted  # type: ignore[method-assign]
    await bench.enqueue(1)
    assert sum(asked) <= 3


async def test_the_engine_is_not_asked_for_workers_for_whom_nothing_waits(bench: Bench) -> None:
    asked: list[str] = []
    lease = bench.engine.lease

    async def noted(wants, now):  # type: ignore[no-untyped-def]
        asked.extend(want.worker for want in wants)
        return await lease(wants, now)

    bench.engine.lease = noted  # type: ignore[method-assign]
    for name in ("mail", "images"):
        await (await bench.worker(name, queues=(name,)).attach()).credit(1)
    await bench.core.tick()
    assert asked == []
    await bench.enqueue(1, queue="mail", task="of nobody")
    await bench.core.tick()
    assert set(asked) == {"mail"}


async def test_a_worker_that_does_not_read_is_handed_nothing_more(bench: Bench) -> None:
    worker = await (await bench.worker().attach()).credit(1, window=1000, fast=(TASK,))
    for _ in range(8):
        await bench.enqueue(1, args=b"x" * 1_000_000)
    assert worker.session.unsent < MAX_UNSENT + 1_100_000
    held = len(worker.session.outbox)
    assert held < 8
    size = worker.session.unsent
    worker.session.outbox.clear()
    await bench.core.workers.sent(worker.session, size)
    assert len(worker.take()) > 0


async def test_nothing_is_handed_out_once_draining_has_begun(bench: Bench) -> None:
    worker = await (await bench.worker().attach()).credit(1)
    await bench.enqueue(2)
    ((_, token),) = worker.take()
    await bench.core.drain()
    await worker.succeed(token)
    assert worker.take() == []
    assert worker.session.stopping


async def test_a_large_job_does_not_stop_what_comes_after_it(bench: Bench) -> None:
    worker = await (await bench.worker().attach()).credit(1, window=100, fast=(TASK,))
    await bench.enqueue(1, args=b"x" * (1 << 20))
    worker.take()
    await bench.enqueue(5)
    assert len(worker.take()) == 5


async def no_room(*_: object) -> frozenset[str]:
    raise Unavailable("no room")


async def slowly(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, *workers: FakeWorker
) -> tuple[asyncio.Task[None], asyncio.Event]:
    """A hand-out to all of them that is at its commit, and what lets it go on. Nothing can be given back then."""
    begun, paid = asyncio.Event(), asyncio.Event()
    lease = bench.engine.lease

    async def commits_first(wants, now):  # type: ignore[no-untyped-def]
        begun.set()
        await paid.wait()
        return await lease(wants, now)

    for worker in workers:
        bench.core.workers.credit(worker.session, 1, 0, frozenset())
    workers[0].session.kind.step = len(workers)
    monkeypatch.setattr(bench.engine, "lease", commits_first)
    monkeypatch.setattr(bench.engine, "release", no_room)
    task = asyncio.create_task(bench.core.workers.dispatch())
    await begun.wait()
    return task, paid


async def test_what_cannot_be_given_back_for_one_worker_keeps_no_other_from_its_jobs(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = await bench.enqueue(2)
    gone, there = [await bench.worker(name).attach() for name in ("w1", "w2")]
    lease = bench.engine.lease

    async def then_it_parts(wants, now):  # type: ignore[no-untyped-def]
        answer = await lease(wants, now)
        bench.core.workers.part(gone.session)
        return answer

    monkeypatch.setattr(bench.engine, "lease", then_it_parts)
    task, paid = await slowly(bench, monkeypatch, gone, there)
    paid.set()
    await task

    assert [job for job, _ in there.take()] == jobs[1:]
    assert not there.session.closed


async def test_a_worker_that_came_back_while_it_was_given_jobs_settles_what_it_has_or_gives_it_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.enqueue(1)
    worker = await bench.worker().attach()
    task, paid = await slowly(bench, monkeypatch, worker)
    before = worker.session
    bench.core.workers.part(before)
    await worker.attach()
    assert worker.session is not before
    paid.set()
    await task

    assert worker.take() == []
    assert worker.session.closed, "it would keep a job alive that it has never heard of"


async def test_a_worker_that_is_given_up_keeps_no_other_from_what_is_ready(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = await bench.enqueue(1)
    given_up, there = [await bench.worker(name).attach() for name in ("w1", "w2")]
    for worker in (given_up, there):
        bench.core.workers.credit(worker.session, 1, 0, frozenset())
    bench.engine.part(given_up.hello.name, given_up.hello.instance, bench.clock.now())

    await bench.core.workers.dispatch()

    assert [job for job, _ in there.take()] == jobs
