"""The core and whole workflows: who hears of what, what goes on without its caller, and what a stop waits for."""

from __future__ import annotations

import asyncio

import pytest
from tests.unit.broker.harness import TASK, Bench, FakeWorker

from tqbroker_broker.answers import Cancelled
from tqbroker_broker.attempts import Verdict
from tqbroker_broker.questions import Effect
from tqbroker_broker.records import Head, JobId, NewJobs, State
from tqbroker_broker.refusals import Busy, Invalid, Stopping
from tqbroker_broker.workflows import NewJoin, NewNodes, On, Part, PartAnswer, PartEffect, Shape

WORKFLOW = b"w" * 16
A, B, C = b"a" * 16, b"b" * 16, b"c" * 16


def node(job: JobId, after: int = 0, of: int = 0, countdown_ms: int = 0, queue: str = "default") -> NewNodes:
    jobs = NewJobs(Head(TASK, queue, 0, "json"), [job], [b"[]"], [b"d" * 16])
    return NewNodes(jobs, after, member_of=(of,) if of else (), countdown_ms=countdown_ms)


def chain(*, last: bool = True) -> Part:
    """Job a, then b, then c."""
    joins = [NewJoin(number, On.SUCCESS, Shape.VALUE) for number in (1, 2)]
    nodes = [node(A, of=1), node(B, after=1, of=2), node(C, after=2)]
    return Part(WORKFLOW, 0, last, b"d" * 16, "chain", joins, nodes)


async def submit(bench: Bench, part: Part) -> PartAnswer:
    return await bench.core.workflows.submit(part, 100, bench.clock.now())


async def states(bench: Bench, *ids: JobId) -> list[State]:
    return [job.state for job in await bench.core.get(ids)]


async def busy(bench: Bench) -> FakeWorker:
    return await (await bench.worker().attach()).credit(5)


async def test_a_worker_that_waits_gets_the_first_job_at_once_and_each_as_it_is_released(bench: Bench) -> None:
    worker = await busy(bench)
    watcher = bench.watch(C)
    assert (await submit(bench, chain())).effect is PartEffect.STORED
    for job in (A, B, C):
        ((taken, token),) = worker.take()
        assert taken == job
        await worker.succeed(token)

    assert watcher.take(9) == [C]


async def test_a_job_with_a_countdown_is_looked_at_when_it_is_due(bench: Bench) -> None:
    worker = await busy(bench)
    await bench.core.tick()
    part = chain()._replace(joins=[], nodes=[node(A, countdown_ms=200)])
    await submit(bench, part)
    assert bench.core.agenda.left(bench.clock.now()) == pytest.approx(0.2, abs=0.01)

    await bench.pass_time(0.2, step=0.2)
    assert [job for job, _ in worker.take()] == [A]


async def test_who_waits_for_the_end_of_a_chain_hears_when_its_first_job_fails_or_is_cancelled(bench: Bench) -> None:
    worker = await busy(bench)
    watcher = bench.watch(C)
    await submit(bench, chain())
    ((_, token),) = worker.take()
    await worker.end(token, Verdict.FAILED)
    assert watcher.take(9) == [C]
    assert await states(bench, A, B, C) == [State.FAILED] * 3

    other = Bench()
    await other.open()
    watcher = other.watch(B, C)
    await submit(other, chain())
    answer = await other.core.cancel([A, C])
    assert answer.effects == [Cancelled.CANCELLED] * 2
    assert sorted(watcher.take(9)) == [B, C]


async def test_a_submit_goes_on_when_its_caller_goes_away_and_a_stop_waits_for_it(bench: Bench) -> None:
    gate = asyncio.Event()
    real = bench.engine.submit

    async def slow(*args):  # type: ignore[no-untyped-def]
        await gate.wait()
        return await real(*args)

    bench.engine.submit = slow  # type: ignore[method-assign]
    submitting = asyncio.create_task(submit(bench, chain()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    submitting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await submitting
    draining = asyncio.create_task(bench.core.drain())
    await asyncio.sleep(0)
    assert not draining.done()
    gate.set()
    await draining

    assert await states(bench, A) == [State.QUEUED]


async def test_a_broker_that_stops_takes_no_workflow(bench: Bench) -> None:
    await bench.core.drain()
    with pytest.raises(Stopping):
        await submit(bench, chain())


async def test_workflows_count_as_jobs_on_their_way_to_the_disk() -> None:
    bench = await Bench(max_inflight_bytes=150).open()
    gate = asyncio.Event()
    real = bench.engine.submit

    async def slow(*args):  # type: ignore[no-untyped-def]
        await gate.wait()
        return await real(*args)

    bench.engine.submit = slow  # type: ignore[method-assign]
    first = asyncio.create_task(submit(bench, chain()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(Busy):
        await submit(bench, chain())
    gate.set()
    assert (await first).effect is PartEffect.STORED


async def test_who_waits_for_a_job_of_an_upload_that_is_given_up_hears_of_it() -> None:
    bench = await Bench(upload_ttl=5.0).open()
    await submit(bench, chain(last=False))
    watcher = bench.watch(C)
    await bench.pass_time(4)
    assert watcher.take(9) == []
    await bench.pass_time(2)

    assert watcher.take(9) == [C]
    assert await states(bench, A, B, C) == [State.UNKNOWN] * 3


async def test_a_workflow_is_dropped_when_all_of_it_has_ended(bench: Bench) -> None:
    await submit(bench, chain())
    assert await bench.core.workflows.drop(WORKFLOW) is Effect.WRONG_STATE
    await bench.core.cancel([A])
    assert await bench.core.workflows.drop(WORKFLOW) is Effect.DONE
    await bench.core.tick()

    assert await states(bench, A, B, C) == [State.UNKNOWN] * 3
    assert await bench.core.workflows.drop(b"x" * 16) is Effect.UNKNOWN


async def test_a_cursor_that_is_none_is_refused(bench: Bench) -> None:
    await submit(bench, chain())
    with pytest.raises(Invalid, match="cursor"):
        await bench.core.workflows.list(frozenset(), b"none", 5)
    with pytest.raises(Invalid, match="cursor"):
        await bench.core.workflows.nodes(WORKFLOW, b"none", 5)
