"""The same from asyncio: the loop never stops, and no thread is started."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tqbroker import App, Task
from tqbroker.exceptions import BatchError, OperationalError, UnknownJob
from tqbroker.exceptions import TimeoutError as JobTimeoutError
from tqbroker.ids import key_of


@pytest.fixture
async def add(wire: Any) -> AsyncIterator[Task[[int, int], int]]:
    app = App("tasks", broker=wire.url, submit_timeout=3.0, request_timeout=3.0)

    def add(x: int, y: int) -> int:
        return x + y

    yield app.task(name="tasks.add")(add)
    await app.aclose()


async def test_a_job_is_submitted_and_awaited(wire: Any, add: Task[[int, int], int]) -> None:
    threads = set(threading.enumerate())
    result = await add.adelay(4, 4)
    waiting = asyncio.ensure_future(result)
    await asyncio.to_thread(wire.until_watching, 1)
    wire.finish(result.id, 8)

    assert await waiting == 8
    assert await result.aget() == 8
    ours = [t.name for t in threading.enumerate() if t not in threads and t.name.startswith("tqbroker")]
    assert ours == []


async def test_options_and_names_work_as_without_asyncio(wire: Any, add: Task[[int, int], int]) -> None:
    await add.aapply_async((4, 4), task_id="mine", queue="mail")
    await add.app.asend_task("other", (1,), task_id="yours")

    assert [(job.task, job.queue) for job in wire.jobs.values()] == [("tasks.add", "mail"), ("other", "default")]


async def test_many_at_once_share_the_streams(wire: Any, add: Task[[int, int], int]) -> None:
    results = await asyncio.gather(*(add.adelay(n, n) for n in range(200)))
    waiting = asyncio.gather(*results, *results)
    await asyncio.to_thread(wire.until_watching, 200)
    for number, result in enumerate(results):
        wire.finish(result.id, number)

    assert list(await waiting) == [*range(200), *range(200)]
    assert wire.wait_calls == 1


async def test_a_lost_reply_is_sent_again_with_the_same_id(wire: Any, add: Task[[int, int], int]) -> None:
    faults = ["lose", "drop", "BUSY", "AMBIGUOUS"]
    wire.fault = lambda request: faults.pop(0) if faults else ""
    result = await add.adelay(4, 4)

    assert list(wire.jobs) == [key_of(result.id)]
    assert len(wire.requests) == 5


@pytest.mark.parametrize("timeout", [None, 10.0, threading.TIMEOUT_MAX, 1e10, 1e300, math.inf])
async def test_a_restart_of_the_broker_is_waited_through(
    wire: Any, add: Task[[int, int], int], lost: threading.Event, timeout: float | None
) -> None:
    result = await add.adelay(4, 4)
    waiting = asyncio.ensure_future(result.aget(timeout=timeout))
    await asyncio.to_thread(wire.watched.wait, 5)
    await asyncio.to_thread(wire.stop)
    assert await asyncio.to_thread(lost.wait, 5)
    wire.start()
    wire.finish(result.id, 8)

    assert await asyncio.wait_for(waiting, 10) == 8


async def test_a_timeout_that_is_no_number_is_refused(wire: Any, add: Task[[int, int], int]) -> None:
    result = await add.adelay(4, 4)

    with pytest.raises(ValueError, match="timeout=nan is not allowed"):
        await asyncio.wait_for(result.aget(timeout=math.nan), 5)


async def test_a_timeout_is_on_time_and_leaves_the_others_waiting(wire: Any, add: Task[[int, int], int]) -> None:
    result = await add.adelay(4, 4)
    waiting = asyncio.ensure_future(result.aget(timeout=10))
    start = time.monotonic()
    with pytest.raises(JobTimeoutError):
        await result.aget(timeout=0.2)
    assert time.monotonic() - start < 0.7
    wire.finish(result.id, 8)

    assert await waiting == 8


async def test_a_wait_that_is_cancelled_leaves_the_others_waiting(wire: Any, add: Task[[int, int], int]) -> None:
    result = await add.adelay(4, 4)
    one, two = asyncio.ensure_future(result.aget()), asyncio.ensure_future(result.aget())
    await asyncio.to_thread(wire.watched.wait, 5)
    one.cancel()
    with pytest.raises(asyncio.CancelledError):
        await one
    wire.finish(result.id, 8)

    assert await two == 8


async def test_an_unknown_job_raises_at_once(add: Task[[int, int], int]) -> None:
    with pytest.raises(UnknownJob):
        await add.app.AsyncResult("never seen")


async def test_without_a_broker_the_error_comes_in_time(wire: Any, add: Task[[int, int], int]) -> None:
    wire.stop()
    add.app.conf.update(submit_timeout=0.4, request_timeout=0.4)
    for call in (add.adelay(4, 4), add.app.AsyncResult("x").aget()):
        start = time.monotonic()
        with pytest.raises(OperationalError, match="no broker answered") as caught:
            await call
        assert caught.value.rejected
        assert time.monotonic() - start < 1.4


async def test_a_silent_broker_leaves_it_open_whether_the_job_is_stored(wire: Any, add: Task[[int, int], int]) -> None:
    wire.fault = lambda request: "silent"
    add.app.conf.submit_timeout = 0.4
    with pytest.raises(OperationalError, match="is perhaps stored") as caught:
        await add.adelay(4, 4)

    assert caught.value.outcome == "unknown"


async def test_a_batch_is_sent_when_it_is_left(wire: Any, add: Task[[int, int], int]) -> None:
    async with add.app.batch() as batch:
        await asyncio.gather(*(add.adelay(n, n) for n in range(5000)))
        assert wire.jobs == {}
    assert len(batch.results) == len(wire.jobs) == 5000


async def test_a_batch_says_which_jobs_were_refused(wire: Any, add: Task[[int, int], int]) -> None:
    await add.aapply_async((1, 1), task_id="x")
    batch = add.app.batch()
    await batch.__aenter__()
    await add.aapply_async((2, 2), task_id="x")
    with pytest.raises(BatchError) as caught:
        await batch.__aexit__(None, None, None)

    assert list(caught.value.rejected_ids) == ["x"]


def test_each_loop_has_its_own_connection(wire: Any) -> None:
    app = App(broker=wire.url)

    async def call() -> str:
        return (await app.asend_task("t")).id

    assert {key_of(asyncio.run(call())) for _ in range(3)} == set(wire.jobs)


async def test_no_pause_of_the_loop_ends_after_the_deadline(
    wire: Any, add: Task[[int, int], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    wire.stop()
    add.app.conf.submit_timeout = 0.3
    ends: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        ends.append(time.monotonic() + seconds)
        await sleep(seconds)

    monkeypatch.setattr(asyncio, "sleep", noted)
    start = time.monotonic()
    with pytest.raises(OperationalError):
        await add.adelay(4, 4)

    assert max(ends) - start < 0.36
