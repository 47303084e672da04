"""The small parts: acknowledgements, waiters, what is in flight, timers, the table of errors."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from tests.unit.broker.harness import Bench

from tqbroker.v1 import errors_pb2, worker_pb2
from tqbroker_broker import refusals, storage
from tqbroker_broker.acks import Acks
from tqbroker_broker.calls import Context
from tqbroker_broker.config import BrokerConfig
from tqbroker_broker.core import Core
from tqbroker_broker.errors import TABLE, entry_of, write_error
from tqbroker_broker.inflight import InFlight
from tqbroker_broker.outbox import MAX_REFUSED, Outbox
from tqbroker_broker.refusals import Busy
from tqbroker_broker.timers import Timers
from tqbroker_broker.waiters import Waiters, Watcher


def test_an_acknowledgement_never_overtakes_an_open_message() -> None:
    acks = Acks()
    for number in (1, 2, 4):
        acks.expect(number)
    acks.done(2)
    assert acks.acked == 0
    acks.done(1)
    assert acks.acked == 2
    acks.done(4)
    assert acks.acked == 4


def test_a_caller_that_watches_and_unwatches_without_reading_costs_no_more_than_what_it_watches() -> None:
    waiters, watcher = Waiters(), Watcher(lambda: None)
    waiters.watch(watcher, [b"kept"])
    jobs = [bytes([number]) for number in range(100)]
    for _ in range(10):
        waiters.watch(watcher, jobs)
        waiters.unwatch(watcher, jobs)
        assert len(watcher.pending) <= 2
    assert watcher.take(1000) == [b"kept"]


def test_each_watcher_of_a_job_hears_of_its_end() -> None:
    woken: list[str] = []
    first, second = Watcher(lambda: woken.append("first")), Watcher(lambda: woken.append("second"))
    waiters = Waiters()
    waiters.watch(first, [b"a", b"b", b"a"])
    waiters.watch(second, [b"a"])
    assert first.take(9) == [b"a", b"b"]
    second.take(9)
    woken.clear()
    waiters.ended([b"a", b"c"])
    assert woken == ["first", "second"]
    assert first.take(9) == second.take(9) == [b"a"]


def test_nothing_is_kept_of_watchers_that_are_gone() -> None:
    waiters = Waiters()
    watcher = Watcher(lambda: None)
    waiters.watch(watcher, [b"a", b"b"])
    waiters.unwatch(watcher, [b"a", b"never"])
    waiters.ended([b"a"])
    assert watcher.take(9) == [b"b"]
    waiters.leave(watcher)
    assert len(waiters) == 0
    assert not watcher.ids


async def test_quiet_comes_when_the_last_request_was_answered() -> None:
    inflight = InFlight(100)
    await inflight.quiet()
    inflight.enter(60)
    with pytest.raises(Busy):
        inflight.enter(60)
    waiting = asyncio.create_task(inflight.quiet())
    await asyncio.sleep(0)
    assert not waiting.done()
    inflight.leave(60)
    await waiting


async def test_a_request_larger_than_the_bound_is_admitted_when_it_is_alone() -> None:
    inflight = InFlight(100)
    inflight.enter(500)
    with pytest.raises(Busy):
        inflight.enter(1)
    inflight.leave(500)
    inflight.enter(1)
    assert inflight.count == 1


async def test_a_worker_that_is_refused_on_and_on_and_does_not_read_loses_its_stream(bench: Bench) -> None:
    worker = await bench.worker().attach()
    outbox = Outbox(bench.core, cast(Context, None), Acks())
    outbox.open(worker.session, worker_pb2.Welcome(), [])
    outbox.refuse([worker_pb2.Refused()] * MAX_REFUSED)
    assert not worker.session.closed
    outbox.refuse([worker_pb2.Refused()])
    assert worker.session.closed


class SlowReader:
    """A stream whose other side takes nothing before it is told to."""

    def __init__(self) -> None:
        self.read = asyncio.Event()
        self.written: list[worker_pb2.WorkResponse] = []

    async def write(self, message: worker_pb2.WorkResponse) -> None:
        self.written.append(message)
        await self.read.wait()


async def test_a_cancel_is_not_sent_before_the_delivery_it_is_about(bench: Bench) -> None:
    stream = SlowReader()
    worker = await bench.worker().attach()
    outbox = Outbox(bench.core, cast(Context, stream), Acks())
    outbox.open(worker.session, worker_pb2.Welcome(), [])
    writer = asyncio.create_task(outbox.run())
    await asyncio.sleep(0)
    jobs = await bench.enqueue(4, args=b"x" * 600_000)
    await worker.credit(4)
    tokens = sorted(worker.session.leases)
    await bench.core.cancel([jobs[0], jobs[3]], terminate=True)
    outbox.finish()
    stream.read.set()
    await writer

    delivered = [[token for batch in each.deliveries for token in batch.tokens] for each in stream.written]
    assert delivered == [[], tokens[:2], tokens[2:]]
    told = [[], [tokens[0]], [tokens[3]]]
    assert [list(each.cancelled) for each in stream.written] == told
    assert [[each.token for each in message.terminate] for message in stream.written] == told


async def test_timers_tick_when_a_job_becomes_due_and_not_before(bench: Bench) -> None:
    worker = await (await bench.worker().attach()).credit(1)
    ticked = asyncio.Event()
    tick = bench.core.tick

    async def counted() -> float:
        seconds = await tick()
        ticked.set()
        return seconds

    bench.core.tick = counted  # type: ignore[method-assign]
    timers = asyncio.create_task(Timers(bench.core).run())
    await ticked.wait()
    await bench.enqueue(1, due_in_ms=50)
    assert worker.take() == []
    bench.clock.advance(0.05)
    ticked.clear()
    await ticked.wait()
    assert len(worker.take()) == 1
    timers.cancel()


async def test_a_tick_that_fails_is_tried_again(bench: Bench) -> None:
    tries = iter([storage.Unavailable("later"), RuntimeError("bug"), None])
    done = asyncio.Event()

    class Stubborn(Core):
        async def tick(self) -> float:
            if error := next(tries):
                self.agenda.at_once(self.now())
                raise error
            done.set()
            return 10.0

    core = Stubborn(bench.engine, bench.clock, BrokerConfig(), bench.failures.append)
    timers = asyncio.create_task(Timers(core).run())
    for _ in range(100):
        core.agenda.on_earlier()
        await asyncio.sleep(0)
        if done.is_set():
            break
    assert done.is_set()
    timers.cancel()


def test_every_error_that_is_meant_to_be_told_has_its_entry() -> None:
    kinds = [kind for module in (refusals, storage) for kind in vars(module).values() if isinstance(kind, type)]
    told = [kind for kind in kinds if issubclass(kind, Exception)]
    bases = {base for kind in told for base in kind.__mro__[1:]}
    missing = [kind for kind in told if kind not in TABLE and kind not in bases]
    assert missing == [storage.CannotOpen]
    assert {entry.reason for entry in TABLE.values()} == set(errors_pb2.Reason.values()) - {0}


def test_an_error_is_told_by_the_most_specific_entry() -> None:
    entry = entry_of(storage.StoreFull("full"))
    assert entry is not None
    assert entry.reason == errors_pb2.REASON_STORE_FULL
    error = write_error(refusals.TooLarge("too large", limit_bytes="5"))
    assert (error.reason, error.message, dict(error.facts)) == (3, "too large", {"limit_bytes": "5"})


def test_an_unexpected_error_is_logged_and_told_without_its_details(caplog: pytest.LogCaptureFixture) -> None:
    error = write_error(KeyError("secret"))
    assert error.reason == errors_pb2.REASON_UNSPECIFIED
    assert "secret" not in error.message
    assert "secret" in caplog.text
