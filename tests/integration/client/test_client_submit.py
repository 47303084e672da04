"""Submitting: durable when it returns, safe when a reply is lost, and an error that tells the truth in time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tqbroker import App, Task
from tqbroker._grpc_stream import Line
from tqbroker.call import Own
from tqbroker.exceptions import BatchError, OperationalError
from tqbroker.ids import key_of
from tqbroker.v1 import queue_pb2


@pytest.fixture
def add(app: App) -> Task[[int, int], int]:
    def add(x: int, y: int) -> int:
        return x + y

    return app.task(name="tasks.add")(add)


def times(count: int, fault: str) -> Callable[[queue_pb2.EnqueueStreamRequest], str]:
    """This fault for the first `count` requests, then none."""
    left = [count]

    def next_fault(request: queue_pb2.EnqueueStreamRequest) -> str:
        left[0] -= 1
        return fault if left[0] >= 0 else ""

    return next_fault


def test_a_call_is_stored_with_what_it_says(wire: Any, app: App, add: Task[[int, int], int]) -> None:
    result = add.apply_async((4, 4), task_id="mine", queue="mail", priority=3, headers={"trace": 1})

    job = wire.jobs["mine"]
    assert (job.task, job.queue, job.priority, job.args, job.headers) == (
        "tasks.add",
        "mail",
        3,
        b"[[4,4],{}]",
        b'{"trace":1}',
    )
    assert (result.state, result.name, result.queue, result.args, result.kwargs) == (
        "PENDING",
        "tasks.add",
        "mail",
        (4, 4),
        {},
    )
    assert app.send_task("elsewhere.task", kwargs={"k": 1}).kwargs == {"k": 1}


@pytest.mark.parametrize("fault", ["lose", "drop", "AMBIGUOUS", "STORE_FULL", "BUSY", "STOPPING"])
def test_a_call_in_trouble_is_sent_again_with_the_same_id(wire: Any, add: Task[[int, int], int], fault: str) -> None:
    wire.fault = times(2, fault)
    result = add.delay(4, 4)

    assert list(wire.jobs) == [key_of(result.id)]
    assert len(wire.requests) == 3
    assert len({request.request.SerializeToString() for request in wire.requests}) == 1


@pytest.mark.parametrize(("fault", "outcome"), [("silent", "unknown"), ("AMBIGUOUS", "unknown"), ("BUSY", "rejected")])
def test_trouble_that_does_not_end_is_told_within_the_deadline(
    wire: Any, app: App, add: Task[[int, int], int], fault: str, outcome: str
) -> None:
    add.delay(1, 1)
    wire.fault = times(1000, fault)
    wire.retry_after_ms = 550  # the second answer is the last, and there is time for it
    app.conf.submit_timeout = 1.0
    start = time.monotonic()
    with pytest.raises(OperationalError, match="sending it again with the same task_id is safe") as caught:
        add.apply_async((4, 4), task_id="mine")

    assert time.monotonic() - start < 1.9
    assert (caught.value.outcome, caught.value.task_ids) == (outcome, ["mine"])
    assert caught.value.rejected == (outcome == "rejected")


def test_a_broker_that_asks_for_more_time_than_there_is_is_not_waited_for(
    wire: Any, add: Task[[int, int], int]
) -> None:
    wire.fault = times(1000, "STORE_FULL")
    wire.retry_after_ms = 60_000
    start = time.monotonic()
    with pytest.raises(OperationalError, match="refused for STORE_FULL") as caught:
        add.delay(4, 4)

    assert time.monotonic() - start < 1.5
    assert (caught.value.outcome, caught.value.reason) == ("rejected", "STORE_FULL")


def test_without_a_broker_the_call_is_rejected_within_the_deadline_and_the_error_says_where(
    wire: Any, app: App, add: Task[[int, int], int]
) -> None:
    wire.stop()
    app.conf.submit_timeout = 0.5
    start = time.monotonic()
    with pytest.raises(
        OperationalError, match=rf"not stored: no broker answered at 127\.0\.0\.1:{wire.port}"
    ) as caught:
        add.delay(4, 4)

    assert time.monotonic() - start < 1.5
    assert (caught.value.outcome, caught.value.reason) == ("rejected", "UNREACHABLE")
    assert "tqbroker serve" in str(caught.value)


def test_no_pause_ends_after_the_deadline(
    wire: Any, app: App, add: Task[[int, int], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = add.delay(1, 1)
    wire.stop()
    app.conf.submit_timeout = 0.3
    ends: list[float] = []
    sleep = time.sleep

    def noted(seconds: float) -> None:
        ends.append(time.monotonic() + seconds)
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", noted)
    start = time.monotonic()
    with pytest.raises(OperationalError):
        add.delay(4, 4)
    assert max(ends) - start < 0.36
    start = time.monotonic()
    with pytest.raises(OperationalError):
        waiting.get(timeout=0.3)
    assert max(ends) - start < 0.36


def test_a_call_whose_reply_was_lost_is_perhaps_stored(wire: Any, app: App, add: Task[[int, int], int]) -> None:
    def lose_and_leave(request: queue_pb2.EnqueueStreamRequest) -> str:
        threading.Thread(target=wire.stop).start()
        return "lose"

    wire.fault = lose_and_leave
    app.conf.submit_timeout = 1.0
    with pytest.raises(OperationalError, match="is perhaps stored") as caught:
        add.delay(4, 4)

    assert caught.value.outcome == "unknown"
    assert [key_of(job) for job in caught.value.task_ids] == list(wire.jobs)


def test_a_broker_that_comes_back_within_the_deadline_is_not_noticed(wire: Any, add: Task[[int, int], int]) -> None:
    add.delay(1, 1)
    wire.stop()
    threading.Timer(0.3, wire.start).start()

    add.delay(4, 4)

    assert len(wire.jobs) == 2


def test_the_same_call_twice_is_one_job_and_another_under_its_id_is_refused(
    wire: Any, add: Task[[int, int], int]
) -> None:
    assert add.apply_async((4, 4), task_id="mine") == add.apply_async((4, 4), task_id="mine")
    with pytest.raises(OperationalError, match="the id has another job already") as caught:
        add.apply_async((5, 5), task_id="mine")

    assert (caught.value.outcome, caught.value.reason) == ("rejected", "ID_CONFLICT")
    assert "safe" not in str(caught.value)
    assert len(wire.jobs) == 1


def test_many_calls_travel_in_few_requests_and_in_order(wire: Any, add: Task[[int, int], int]) -> None:
    results = add.delay_many([(n, n) for n in range(10_000)])

    assert [key_of(result.id) for result in results] == list(wire.jobs)
    assert [job.args for job in wire.jobs.values()] == [b"[[%d,%d],{}]" % (n, n) for n in range(10_000)]
    assert len(wire.requests) == 5


def test_many_calls_survive_lost_replies(wire: Any, add: Task[[int, int], int]) -> None:
    wire.fault = times(3, "lose")
    results = add.delay_many((n, n) for n in range(20_000))

    assert {key_of(result.id) for result in results} == set(wire.jobs)


def test_of_many_calls_those_that_are_refused_are_named(wire: Any, app: App, add: Task[[int, int], int]) -> None:
    add.apply_async((0, 0), task_id="taken")
    with pytest.raises(BatchError, match="of 3 jobs 2 are stored, 1 were rejected and 0 are perhaps stored") as caught:
        add.apply_async_many([{"args": (1, 1)}, {"args": (2, 2), "task_id": "taken"}, {"kwargs": {"x": 3, "y": 3}}])

    assert caught.value.rejected_ids == {"taken": "the id has another job already"}
    assert caught.value.unknown_ids == {}
    assert [result.args or result.kwargs for result in caught.value.stored] == [(1, 1), {"x": 3, "y": 3}]
    assert [result.id for result in caught.value.results][1] == "taken"


def test_many_calls_may_each_have_options(wire: Any, add: Task[[int, int], int]) -> None:
    results = add.apply_async_many({"args": (n, n), "queue": f"q{n % 2}", "priority": n} for n in range(4))

    assert [(result.queue, wire.jobs[key_of(result.id)].priority) for result in results] == [
        ("q0", 0),
        ("q1", 1),
        ("q0", 2),
        ("q1", 3),
    ]


def test_a_batch_sends_everything_when_it_is_left(wire: Any, app: App, add: Task[[int, int], int]) -> None:
    with app.batch() as batch:
        first = add.delay(1, 1)
        with app.batch():
            add.delay_many([(2, 2), (3, 3)])
        app.send_task("other")
        assert wire.jobs == {}

    assert batch.results[0] == first
    assert {key_of(result.id) for result in batch.results} == set(wire.jobs)
    assert (len(wire.jobs), len(wire.requests)) == (4, 1)


@pytest.mark.parametrize(("again", "refused"), [((1, 1), False), ((2, 2), True)])
def test_one_id_twice_in_a_batch_counts_alike_in_message_and_stored(
    wire: Any, app: App, add: Task[[int, int], int], again: tuple[int, int], refused: bool
) -> None:
    batch = app.batch()
    errors: list[BatchError] = []
    try:
        with batch:
            add.apply_async((1, 1), task_id="mine")
            add.apply_async(again, task_id="mine")
    except BatchError as error:
        errors.append(error)

    assert len(errors) == int(refused)
    for told in errors:
        assert "of 2 jobs 1 are stored, 1 were rejected" in str(told)
        assert [*told.rejected_ids] == ["mine"]
        assert [id(result) for result in told.stored] == [id(batch.results[0])]
    assert list(wire.jobs) == ["mine"]


async def test_a_job_of_a_batch_is_not_waited_for_inside_of_it(wire: Any, app: App, add: Task[[int, int], int]) -> None:
    earlier = add.delay(0, 0)
    wire.finish(earlier.id, 0)
    with app.batch():
        result = add.delay(1, 1)
        with pytest.raises(RuntimeError, match=f"job {result.id} is not sent yet: get it after its"):
            result.get(timeout=1)
        with pytest.raises(RuntimeError, match="is not sent yet"):
            await result
        assert earlier.get(timeout=5) == 0
    wire.finish(result.id, 2)

    assert result.get(timeout=5) == 2


def test_a_batch_that_raises_sends_nothing(wire: Any, app: App, add: Task[[int, int], int]) -> None:
    def fill() -> None:
        with app.batch():
            add.delay(1, 1)
            raise LookupError

    with pytest.raises(LookupError):
        fill()
    add.delay(2, 2)

    assert len(wire.jobs) == 1


def test_a_batch_collects_only_its_own_thread(wire: Any, app: App, add: Task[[int, int], int]) -> None:
    with app.batch():
        thread = threading.Thread(target=add.delay, args=(1, 1))
        thread.start()
        thread.join()
        assert len(wire.jobs) == 1


def test_threads_share_one_stream(wire: Any, add: Task[[int, int], int]) -> None:
    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(lambda n: add.delay(n, n), range(800)))

    assert {key_of(result.id) for result in results} == set(wire.jobs)


def test_a_thread_whose_time_is_up_leaves_the_others_waiting(
    wire: Any, app: App, add: Task[[int, int], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one reads for both. When its deadline passes, the second reads on and gets its answer."""
    release, asked = threading.Event(), threading.Event()
    look = Line.look

    def noted(line: Line[Any, Any], now: float) -> float:
        again_at = look(line, now)
        if line._asked:
            asked.set()
        return again_at

    def slow_or_silent(request: queue_pb2.EnqueueStreamRequest) -> str:
        if request.request.batches[0].queue == "silent":
            return "silent"
        release.wait(10)
        return ""

    monkeypatch.setattr(Line, "look", noted)
    add.delay(1, 1)
    wire.fault = slow_or_silent
    head = add.default_head()
    plain = [add.app.sender._prepare(head._replace(queue=queue), (1, 1), {}, Own()) for queue in ("silent", "slow")]
    batches = [batch for batch, _ in plain]
    with ThreadPoolExecutor(2) as pool:
        reader = pool.submit(app.transport.submit, [batches[0]], 0.4)
        follower = pool.submit(app.transport.submit, [batches[1]], 10)
        assert asked.wait(5)  # the reader's deadline has passed
        release.set()

        assert [refused.unknown for refused in reader.result(timeout=5)] == [True]
        assert follower.result(timeout=5) == []


def test_what_listens_and_is_no_broker_is_told_at_once(wire: Any, add: Task[[int, int], int]) -> None:
    import grpc

    def stranger(request: Any, context: grpc.ServicerContext) -> Any:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "unknown service")

    wire.EnqueueStream = stranger
    wire.stop()
    wire.start()
    with pytest.raises(OperationalError, match="is not a tqbroker, or of another version") as caught:
        add.delay(4, 4)

    assert caught.value.rejected
