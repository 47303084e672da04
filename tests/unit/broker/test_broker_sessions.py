"""Workers come, break off, come back, fall silent and leave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest
from tests.unit.broker.harness import Bench

from tqbroker.v1 import worker_pb2
from tqbroker_broker.answers import Job
from tqbroker_broker.attempts import Held
from tqbroker_broker.calls import Context
from tqbroker_broker.records import State
from tqbroker_broker.storage import NameTaken, Unavailable
from tqbroker_broker.work import MAX_PENDING, WorkStream


async def state(bench: Bench, job: bytes) -> Job:
    (found,) = await bench.core.get([job])
    return found


async def test_another_process_cannot_take_a_name_in_use(bench: Bench) -> None:
    await bench.worker(instance=1).attach()
    with pytest.raises(NameTaken):
        await bench.worker(instance=2).attach()


async def test_a_broken_stream_leaves_the_jobs_until_the_grace_is_over(bench: Bench) -> None:
    worker = await (await bench.worker().attach()).credit(1)
    (job,) = await bench.enqueue(1)
    bench.core.workers.part(worker.session)
    other = await (await bench.worker("w2").attach()).credit(1)
    await bench.pass_time(4)
    assert other.take() == []
    await bench.pass_time(2)
    assert [taken for taken, _ in other.take()] == [job]
    assert (await state(bench, job)).lost == 1


async def test_the_same_process_comes_back_with_what_it_holds(bench: Bench) -> None:
    worker = await (await bench.worker().attach()).credit(1)
    (job,) = await bench.enqueue(1)
    ((_, token),) = worker.take()
    bench.core.workers.part(worker.session)
    await worker.attach([Held(job, token)])
    assert worker.lost == []
    assert worker.session.out == 1
    await worker.succeed(token)
    assert (await state(bench, job)).state is State.SUCCEEDED
    assert worker.session.out == 0


async def test_a_half_open_stream_is_replaced_by_the_new_one(bench: Bench) -> None:
    worker = await (await bench.worker().attach()).credit(1)
    old = worker.session
    await worker.attach()
    assert old.closed
    assert bench.core.sessions.by_name["w1"] is worker.session
    bench.core.workers.part(old)
    assert bench.core.sessions.by_name["w1"] is worker.session
    await worker.credit(1)
    await bench.enqueue(1)
    assert len(worker.take()) == 1


async def test_an_outcome_on_its_way_when_the_stream_breaks_is_stored_and_counted_once(bench: Bench) -> None:
    worker = await (await bench.worker().attach()).credit(1)
    (job,) = await bench.enqueue(1)
    ((_, token),) = worker.take()
    gate = asyncio.Event()
    finish = bench.engine.finish

    async def slow(*args):  # type: ignore[no-untyped-def]
        await gate.wait()
        return await finish(*args)

    bench.engine.finish = slow  # type: ignore[method-assign]
    outcome = asyncio.create_task(worker.succeed(token))
    await asyncio.sleep(0)
    bench.core.workers.part(worker.session)
    back = asyncio.create_task(worker.attach([Held(job, token)]))
    await asyncio.sleep(0)
    assert not back.done()
    gate.set()
    await outcome
    await back
    assert worker.lost == []
    assert await worker.succeed(token, resent=[job]) == []
    assert worker.session.out == 0
    assert (await state(bench, job)).state is State.SUCCEEDED


Verb = Callable[..., Coroutine[Any, Any, Any]]


class Disk:
    """A disk without room for outcomes, and for joins if it is `full`, until there is room again."""

    def __init__(self, bench: Bench, full: bool = False) -> None:
        self._room = False
        self.refused: asyncio.Queue[None] = asyncio.Queue()
        bench.engine.finish = self._need_room(bench.engine.finish)  # type: ignore[method-assign]
        if full:
            bench.engine.join = self._need_room(bench.engine.join)  # type: ignore[method-assign]

    def make_room(self) -> None:
        self._room = True

    def _need_room(self, verb: Verb) -> Verb:
        async def tried(*args: object) -> object:
            if not self._room:
                self.refused.put_nowait(None)
                raise Unavailable("no room")
            return await verb(*args)

        return tried


@pytest.mark.parametrize("cut_off", [True, False])
async def test_outcomes_that_wait_for_room_keep_the_leases_of_their_worker(bench: Bench, cut_off: bool) -> None:
    worker = await (await bench.worker().attach()).credit(2)
    done, running = await bench.enqueue(2)
    (_, token), (_, other) = worker.take()
    disk = Disk(bench)
    outcome = asyncio.create_task(worker.succeed(token))
    await asyncio.sleep(0)
    back = None
    if cut_off:
        bench.core.workers.part(worker.session)
        back = asyncio.create_task(worker.attach([Held(done, token), Held(running, other)]))
    await bench.pass_time(100)
    disk.make_room()
    await bench.pass_time(0.5)
    assert await outcome == []
    if back is not None:
        await back
    assert worker.lost == []
    assert not worker.session.closed
    assert (await state(bench, done)).state is State.SUCCEEDED
    assert (await state(bench, running)).state is State.RUNNING
    await bench.pass_time(31)
    assert (await state(bench, running)).lost == 1, "the outcomes are stored: silence counts again"


class Stream:
    """A worker's stream: what it sends is `sent`, and of what it gets only the first jobs are noted."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[worker_pb2.WorkRequest] = asyncio.Queue()
        self.delivered = asyncio.Event()

    async def read(self) -> worker_pb2.WorkRequest:
        return await self.sent.get()

    async def write(self, message: worker_pb2.WorkResponse) -> None:
        if message.deliveries:
            self.delivered.set()


async def test_a_worker_whose_heartbeats_stay_unread_behind_its_outcomes_loses_nothing(bench: Bench) -> None:
    jobs = await bench.enqueue(MAX_PENDING + 1)
    stream = Stream()
    served = asyncio.create_task(WorkStream(bench.core, cast(Context, stream)).run())
    hello = worker_pb2.Hello(name="w1", instance=b"i" * 16, tasks=["tasks.add"], slots=len(jobs))
    credit = worker_pb2.Credit(slots=len(jobs), window=len(jobs))
    stream.sent.put_nowait(worker_pb2.WorkRequest(number=1, hello=hello, credit=credit))
    await stream.delivered.wait()
    session = bench.core.sessions.by_name["w1"]
    disk = Disk(bench)
    tokens = sorted(session.leases)
    for number, token in enumerate(tokens[:MAX_PENDING], start=2):
        success = worker_pb2.Successes(tokens=[token], results=[b"1"], format="json")
        stream.sent.put_nowait(worker_pb2.WorkRequest(number=number, successes=[success]))
    for _ in range(MAX_PENDING):
        await disk.refused.get()
    for number in range(10):
        stream.sent.put_nowait(worker_pb2.WorkRequest(number=MAX_PENDING + 2 + number, heartbeat=True))
        await bench.pass_time(10)
    assert stream.sent.qsize() == 10
    disk.make_room()
    await bench.pass_time(0.5)
    await session.outcomes.quiet()
    states = [job.state for job in await bench.core.get(jobs)]
    assert states == [State.SUCCEEDED] * MAX_PENDING + [State.RUNNING]
    served.cancel()
    await asyncio.gather(served, return_exceptions=True)


async def test_a_worker_that_is_back_while_there_is_no_room_to_say_so_loses_nothing(bench: Bench) -> None:
    worker = await (await bench.worker().attach()).credit(1)
    (job,) = await bench.enqueue(1)
    ((_, token),) = worker.take()
    bench.core.workers.part(worker.session)
    disk = Disk(bench, full=True)
    for _ in range(10):
        with pytest.raises(Unavailable):
            await worker.attach([Held(job, token)])
        await bench.pass_time(1)
    disk.make_room()
    await worker.attach([Held(job, token)])
    assert worker.lost == []


async def test_a_silent_worker_loses_its_jobs_and_its_session(bench: Bench) -> None:
    worker = await (await bench.worker().attach()).credit(1)
    (job,) = await bench.enqueue(1)
    await bench.pass_time(31)
    assert worker.session.closed
    assert "w1" not in bench.core.sessions.by_name
    assert (await state(bench, job)).state is State.QUEUED


async def test_any_message_keeps_the_leases(bench: Bench) -> None:
    worker = await (await bench.worker().attach()).credit(1)
    (job,) = await bench.enqueue(1)
    for _ in range(6):
        await bench.pass_time(10)
        bench.core.workers.heard(worker.session)
    assert not worker.session.closed
    assert (await state(bench, job)).state is State.RUNNING


async def test_a_broker_that_stood_still_takes_nothing_from_its_workers(bench: Bench) -> None:
    worker = await (await bench.worker().attach()).credit(1)
    await bench.enqueue(1)
    await bench.core.tick()
    bench.clock.advance(100)
    await bench.core.tick()
    assert not worker.session.closed


async def test_a_worker_that_leaves_gives_everything_back_at_once(bench: Bench) -> None:
    worker = await (await bench.worker().attach()).credit(2)
    jobs = await bench.enqueue(2)
    other = await (await bench.worker("w2").attach()).credit(2)
    await bench.core.workers.leave(worker.session)
    await bench.core.workers.dispatch()
    assert [job for job, _ in other.take()] == jobs
    assert bench.engine.workers()[0].name == "w2"


async def test_leases_of_another_store_are_all_lost(bench: Bench) -> None:
    worker = bench.worker()
    await worker.attach([Held(b"j" * 16, 7)], store=b"elsewhere")
    assert worker.lost == [7]
    assert worker.session.out == 0


async def test_a_stream_that_breaks_during_the_join_does_not_keep_its_name(bench: Bench) -> None:
    gate = asyncio.Event()
    join = bench.engine.join

    async def slow(*args):  # type: ignore[no-untyped-def]
        await gate.wait()
        return await join(*args)

    bench.engine.join = slow  # type: ignore[method-assign]
    attaching = asyncio.create_task(bench.worker(instance=1).attach())
    await asyncio.sleep(0)
    attaching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attaching
    gate.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await bench.worker(instance=2).attach()


async def test_a_stream_that_breaks_before_its_join_does_not_keep_the_name_of_the_one_it_replaced(bench: Bench) -> None:
    old = (await bench.worker(instance=1).attach()).session
    old.outcomes.enter(0)
    attaching = asyncio.create_task(bench.worker(instance=1).attach())
    await asyncio.sleep(0)
    attaching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attaching
    bench.core.workers.part(old)
    old.outcomes.leave(0)

    await bench.pass_time(6)

    assert bench.engine.workers() == []
    await bench.worker(instance=2).attach()


async def test_a_stream_whose_join_fails_does_not_keep_the_name_of_the_one_it_replaced(bench: Bench) -> None:
    await bench.worker(instance=1).attach()
    join = bench.engine.join

    async def full(*args):  # type: ignore[no-untyped-def]
        raise Unavailable("no room")

    bench.engine.join = full  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        await bench.worker(instance=1).attach()
    bench.engine.join = join  # type: ignore[method-assign]

    await bench.pass_time(6)

    await bench.worker(instance=2).attach()


async def test_what_a_stream_brought_is_waited_for_also_when_the_next_one_broke(bench: Bench) -> None:
    old = (await bench.worker().attach()).session
    old.outcomes.enter(0)
    broken = asyncio.create_task(bench.worker().attach())
    await asyncio.sleep(0)
    broken.cancel()
    await asyncio.wait([broken])

    attaching = asyncio.create_task(bench.worker().attach())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not attaching.done()

    old.outcomes.leave(0)
    await attaching


async def test_the_end_of_a_stream_does_not_part_the_one_that_joined_after_it(bench: Bench) -> None:
    first, second = bench.worker(), bench.worker()
    join, joins, is_seated, goes_on = bench.engine.join, iter(range(2)), asyncio.Event(), asyncio.Event()

    async def slow(*args):  # type: ignore[no-untyped-def]
        joined = await join(*args)
        if next(joins):
            is_seated.set()
            await goes_on.wait()
        return joined

    bench.engine.join = slow  # type: ignore[method-assign]
    attaching = [asyncio.create_task(worker.attach()) for worker in (first, second)]
    await is_seated.wait()
    bench.core.workers.part(first.session)
    goes_on.set()
    await asyncio.gather(*attaching)

    await second.credit(1)
    (job,) = await bench.enqueue(1)
    assert [taken for taken, _ in second.take()] == [job]


async def test_jobs_from_before_a_restart_wait_for_their_workers(bench: Bench) -> None:
    await (await bench.worker().attach()).credit(0)
    (old,) = await bench.enqueue(1)
    again = await Bench(bench.engine.store).open()
    other = await (await again.worker("w2").attach()).credit(5)
    assert other.take() == []
    (found,) = await again.core.get([old])
    assert again.core.waits_for(found) == "recovering"
    (new,) = await again.submit_new()
    assert [job for job, _ in other.take()] == [new]
    await (await again.worker("w1").attach()).credit(0)
    await again.core.tick()
    assert [job for job, _ in other.take()] == [old]
