"""The event log over a real socket: numbered without gap or repeat, followed, resumed, ended by a stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc.aio import AioRpcError
from tests.integration.broker_harness import EOF, SECONDS, Site, error_of, running

from tqbroker.v1 import admin_pb2 as pb
from tqbroker.v1 import errors_pb2, job_pb2, worker_pb2


@pytest.fixture(params=["memory:", ""], ids=["memory", "lmdb"])
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    """A broker on each storage engine."""
    async with running(tmp_path, request.param) as site:
        yield site


class Watch:
    """A reader of the log. Checks that numbers follow each other."""

    def __init__(self, site: Site, after: int = 0, **fields: Any) -> None:
        self.call = site.admin.WatchEvents(pb.WatchEventsRequest(after=after, **fields), timeout=60)
        self.cursor = after
        self.events: list[pb.Events] = []

    async def read(self) -> bool:
        """One message. False at the end."""
        response = await asyncio.wait_for(self.call.read(), SECONDS)
        if response is EOF:
            return False
        self.events += response.events
        assert response.cursor >= self.cursor
        self.cursor = response.cursor
        return True

    async def until(self, kind: pb.EventKind.ValueType, count: int = 1) -> list[pb.Events]:
        """Reads until so many jobs (or workers) have this event."""
        while self.count(kind) < count:
            assert await self.read()
        return [each for each in self.events if each.kind == kind]

    def count(self, kind: pb.EventKind.ValueType) -> int:
        return sum(size(each) for each in self.events if each.kind == kind)

    async def all(self) -> list[pb.Events]:
        while await self.read():
            pass
        return self.events


def size(events: pb.Events) -> int:
    return max(len(events.ids.uuids) // 16 + len(events.ids.texts), 1)


def numbers(events: list[pb.Events]) -> list[int]:
    return [each.first + offset for each in events for offset in range(size(each))]


async def test_a_jobs_life_is_told_in_order(site: Site) -> None:
    worker = site.attach()
    await worker.start()
    (job,) = await site.enqueue()
    ((_, token),) = await worker.delivered()
    await worker.acked(await worker.succeed(token))
    watch = Watch(site, follow=True)
    await watch.until(pb.EVENT_KIND_SUCCEEDED)
    assert [each.kind for each in watch.events] == [
        pb.EVENT_KIND_WORKER_ONLINE,
        pb.EVENT_KIND_SENT,
        pb.EVENT_KIND_STARTED,
        pb.EVENT_KIND_SUCCEEDED,
    ]
    assert [each.ids.uuids for each in watch.events[1:]] == [job.bytes] * 3
    assert (watch.events[2].worker, watch.events[1].task, watch.events[1].queue) == ("w1", "tasks.add", "default")
    assert numbers(watch.events) == [1, 2, 3, 4]


async def test_a_failure_is_told_with_its_error(site: Site) -> None:
    worker = site.attach()
    await worker.start()
    await site.enqueue()
    ((_, token),) = await worker.delivered()
    failure = job_pb2.Failure(type="ValueError", module="builtins", message="no")
    await worker.send(endings=[worker_pb2.Ending(token=token, verdict=worker_pb2.VERDICT_FAILED, failure=failure)])
    (event,) = await Watch(site, follow=True).until(pb.EVENT_KIND_FAILED)
    assert event.error == "ValueError"


async def test_without_follow_the_call_ends_at_the_end_of_the_log(site: Site) -> None:
    empty = Watch(site)
    assert await empty.all() == []
    await site.enqueue(3)
    watch = Watch(site)
    assert numbers(await watch.all()) == [1, 2, 3]
    assert watch.cursor == 3


async def test_a_follower_gets_what_comes_and_goes_on_where_it_stopped(site: Site) -> None:
    watch = Watch(site, follow=True)
    await site.enqueue(2)
    await watch.until(pb.EVENT_KIND_SENT, 2)
    watch.call.cancel()
    await site.enqueue(3)
    again = Watch(site, after=watch.cursor, follow=True)
    await again.until(pb.EVENT_KIND_SENT, 3)
    await site.enqueue(1)
    await again.until(pb.EVENT_KIND_SENT, 4)
    assert numbers(watch.events) + numbers(again.events) == [1, 2, 3, 4, 5, 6]


async def test_only_the_kinds_asked_for_come_but_the_cursor_passes_all(site: Site) -> None:
    await site.enqueue(3)
    watch = Watch(site, kinds=[pb.EVENT_KIND_FAILED])
    assert await watch.all() == []
    assert watch.cursor == 3


async def test_thousands_of_events_come_once_each(site: Site) -> None:
    watch = Watch(site, follow=True)
    for _ in range(4):
        await site.enqueue(1000)
    await watch.until(pb.EVENT_KIND_SENT, 4000)
    assert numbers(watch.events) == list(range(1, 4001))


async def test_a_stop_ends_the_call(site: Site) -> None:
    watch = Watch(site, follow=True)
    await site.enqueue(1)
    await watch.until(pb.EVENT_KIND_SENT)
    await site.server.core.drain()
    await watch.all()
    assert await watch.call.code() is grpc.StatusCode.OK


async def test_a_kind_that_is_none_is_refused(site: Site) -> None:
    with pytest.raises(AioRpcError) as failure:
        await Watch(site, kinds=[99]).read()
    assert error_of(failure.value).reason == errors_pb2.REASON_INVALID
