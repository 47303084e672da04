"""Results: pushed, kept, and waited for through a restart of the broker."""

from __future__ import annotations

import math
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from queue import Queue
from typing import Any

import pytest

from tqbroker import App
from tqbroker.exceptions import OperationalError, ResultNotFound, TaskRevokedError, UnknownJob, WorkerLostError
from tqbroker.exceptions import TimeoutError as JobTimeoutError
from tqbroker.failures import failure_of
from tqbroker.states import Phase, RevokeEffect
from tqbroker.v1 import job_pb2


def test_a_result_is_pushed_to_the_waiting_caller_and_read_once(wire: Any, app: App) -> None:
    result = app.send_task("t")
    with ThreadPoolExecutor(1) as pool:
        value = pool.submit(result.get, timeout=10)
        assert wire.watched.wait(5)
        wire.finish(result.id, {"answer": (8, 9)})
        assert value.result() == {"answer": (8, 9)}

    assert (result.get(), result.result, result.state, result.ready(), result.successful()) == (
        {"answer": (8, 9)},
        {"answer": (8, 9)},
        "SUCCESS",
        True,
        True,
    )
    assert (wire.reads, wire.wait_calls) == (2, 1), "only the probes that open the two streams ask"


def test_what_has_ended_is_answered_at_once_also_to_a_stranger(wire: Any, app: App) -> None:
    job = app.send_task("t").id
    wire.finish(job, 8)

    assert App(broker=wire.url).AsyncResult(job).get(timeout=5) == 8


def test_a_value_read_twice_is_not_shared(wire: Any, app: App) -> None:
    result = app.send_task("t")
    wire.finish(result.id, [1])
    result.get().append(2)

    assert result.get() == [1]


def test_a_timeout_is_on_time_and_the_job_goes_on(wire: Any, app: App) -> None:
    result = app.send_task("t")
    start = time.monotonic()
    with pytest.raises(JobTimeoutError, match=f"job {result.id} has not ended within 0.3 s; it goes on") as caught:
        result.get(timeout=0.3)

    assert 0.3 <= time.monotonic() - start < 0.8
    assert isinstance(caught.value, TimeoutError)
    assert (result.state, result.ready(), result.result) == ("PENDING", False, None)
    wire.finish(result.id, 8)
    assert result.get(timeout=5) == 8
    assert wire.wait_calls == 1, "a timeout must not break the stream that all share"


def test_a_timeout_of_the_reading_thread_leaves_the_others_waiting(wire: Any, app: App) -> None:
    slow, slower = app.send_task("t"), app.send_task("t")
    with ThreadPoolExecutor(2) as pool:
        reader = pool.submit(slow.get, timeout=0.4)
        assert wire.watched.wait(5)
        follower = pool.submit(slower.get, timeout=10)
        assert isinstance(reader.exception(timeout=5), JobTimeoutError)
        wire.finish(slower.id, "late")

        assert follower.result(timeout=5) == "late"
    assert wire.wait_calls == 1


def test_many_threads_wait_for_the_same_and_for_other_jobs(wire: Any, app: App) -> None:
    results = [app.send_task("t") for _ in range(10)]
    with ThreadPoolExecutor(40) as pool:
        values = [pool.submit(app.AsyncResult(result.id).get, timeout=10) for result in results * 4]
        assert wire.watched.wait(5)
        for number, result in enumerate(reversed(results)):
            wire.finish(result.id, number)

        assert [value.result(timeout=5) for value in values] == list(reversed(range(10))) * 4


@pytest.mark.parametrize("timeout", [None, 10.0, threading.TIMEOUT_MAX, 1e10, 1e300, math.inf])
def test_a_restart_of_the_broker_is_waited_through(
    wire: Any, app: App, lost: threading.Event, timeout: float | None
) -> None:
    result = app.send_task("t")
    values: Queue[Any] = Queue()
    threading.Thread(target=lambda: values.put(result.get(timeout=timeout)), daemon=True).start()
    assert wire.watched.wait(5)
    wire.stop()
    assert lost.wait(5)
    wire.start()

    assert app.send_task("t").state == "PENDING"
    wire.finish(result.id, 8)
    assert values.get(timeout=10) == 8


def test_the_timeout_holds_while_the_broker_is_away(wire: Any, app: App) -> None:
    result = app.send_task("t")
    threading.Timer(0.2, wire.stop).start()
    start = time.monotonic()
    with pytest.raises(JobTimeoutError):
        result.get(timeout=0.8)

    assert time.monotonic() - start < 1.6


def test_without_a_broker_every_question_is_an_operational_error_in_time(wire: Any, app: App) -> None:
    result = app.send_task("t")
    wire.stop()
    app.conf.request_timeout = 0.3
    fresh = App(broker=wire.url, request_timeout=0.3).AsyncResult(result.id)
    events = app.events
    for question in (
        fresh.get,
        lambda: result.state,
        result.revoke,
        result.forget,
        lambda: list(events.read()),
        lambda: next(events.follow()),
    ):
        start = time.monotonic()
        with pytest.raises(OperationalError, match="no broker answered at"):
            question()
        assert time.monotonic() - start < 1.3


def test_a_job_that_raised_raises_here_with_its_traceback(wire: Any, app: App) -> None:
    result = app.send_task("t")
    try:
        raise ValueError("bad", 7)
    except ValueError as error:
        wire.fail(result.id, job_pb2.Failure(**failure_of(error)._asdict()))

    with pytest.raises(ValueError, match="bad") as caught:
        result.get(timeout=5)
    assert caught.value.args == ("bad", 7)
    assert "test_client_wait.py" in "".join(traceback.format_exception(caught.value))
    assert isinstance(result.get(propagate=False), ValueError)
    assert result.get(propagate=False) is not result.get(propagate=False)
    assert (result.state, result.failed(), result.successful()) == ("FAILURE", True, False)
    assert "test_client_wait.py" in (result.traceback or "")
    assert isinstance(result.result, ValueError)


@pytest.mark.parametrize(
    ("state", "error", "sentence"),
    [
        (job_pb2.STATE_CANCELLED, TaskRevokedError, "was cancelled"),
        (job_pb2.STATE_EXPIRED, TaskRevokedError, "expired before a worker started it"),
        (job_pb2.STATE_FAILED, WorkerLostError, "lost its worker"),
    ],
)
def test_other_endings_raise_what_they_are(
    wire: Any, app: App, state: job_pb2.State.ValueType, error: type[Exception], sentence: str
) -> None:
    result = app.send_task("t")
    wire.end(result.id, state)

    with pytest.raises(error, match=f"job {result.id} {sentence}"):
        result.get(timeout=5)
    assert result.state == ("FAILURE" if state == job_pb2.STATE_FAILED else "REVOKED")
    assert result.traceback is None


def test_a_job_that_ignores_its_result_ends_with_none(wire: Any, app: App) -> None:
    result = app.send_task("t", ignore_result=True)
    wire.end(result.id, job_pb2.STATE_SUCCEEDED)

    assert result.get(timeout=5) is None


def test_an_unknown_job_raises_at_once(app: App) -> None:
    result = app.AsyncResult("never seen")

    with pytest.raises(UnknownJob, match="the broker knows no job never seen"):
        result.get()
    assert (result.state, result.phase, result.ready(), result.exists()) == ("UNKNOWN", Phase.UNKNOWN, False, False)
    assert (result.name, result.queue, result.worker, result.args, result.kwargs) == (None, None, None, None, None)
    assert result.revoke() is RevokeEffect.UNKNOWN


def test_a_forgotten_result_raises_at_once(wire: Any, app: App) -> None:
    result = app.send_task("t")
    wire.finish(result.id, 8)
    assert result.exists()
    result.forget()

    with pytest.raises(ResultNotFound, match="no longer kept") as caught:
        result.get()
    assert not isinstance(caught.value, UnknownJob)
    assert (result.ready(), result.exists()) == (True, False)


def test_details_of_a_job_are_there(wire: Any, app: App) -> None:
    result = app.send_task("t", (1,), {"k": 2}, queue="mail")
    wire.finish(result.id, 8)
    wire.jobs[next(iter(wire.jobs))].MergeFrom(job_pb2.JobStatus(worker="w@h", retries=2, lost_leases=1))

    assert (result.worker, result.retries, result.args, result.kwargs) == ("w@h", 2, (1,), {"k": 2})
    assert result.lost_leases == 1
    assert result.date_done == datetime.fromtimestamp(1_700_000_000.5, UTC)


def test_revoke_says_what_it_did(app: App) -> None:
    assert app.send_task("t").revoke() is RevokeEffect.CANCELLED
    assert str(RevokeEffect.CANCELLED) == "cancelled"
