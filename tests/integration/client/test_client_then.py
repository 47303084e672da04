"""Callbacks for the ends of jobs: once each, through restarts, from one thread that goes when it is not needed."""

from __future__ import annotations

import threading
from queue import Queue
from typing import Any

import pytest

from tqbroker import App, _grpc_tell
from tqbroker.failures import failure_of
from tqbroker.result import AsyncResult, ResultSet
from tqbroker.v1 import job_pb2


def tellers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "tqbroker-teller"]


def test_a_callback_gets_the_result_once_it_has_ended(wire: Any, app: App) -> None:
    heard: Queue[tuple[str, Any]] = Queue()
    first, second = app.send_task("t"), app.send_task("t")
    for result in (first, second):
        result.then(lambda ended: heard.put((ended.id, ended.result)))
    wire.until_watching(2)
    wire.finish(second.id, 8)
    assert heard.get(timeout=5) == (second.id, 8)
    late = app.send_task("t")
    late.then(lambda ended: heard.put((ended.id, ended.state)))
    wire.until_watching(3)
    wire.fail(late.id, job_pb2.Failure(**failure_of(ValueError("x"))._asdict()))
    assert heard.get(timeout=5) == (late.id, "FAILURE")
    wire.finish(first.id, 9)
    assert heard.get(timeout=5) == (first.id, 9)

    for thread in tellers():
        thread.join(5)
    assert tellers() == []
    second.then(lambda ended: heard.put((ended.id, ended.get())))
    assert heard.get(timeout=5) == (second.id, 8)
    assert heard.empty()


def test_a_set_is_told_of_when_the_last_has_ended(wire: Any, app: App) -> None:
    heard: Queue[ResultSet] = Queue()
    results = app.ResultSet(app.send_task("t") for _ in range(3))
    results.then(heard.put)
    wire.until_watching(3)
    for each in results:
        assert heard.empty()
        wire.finish(each.id, 1)

    assert heard.get(timeout=5) is results
    assert results.get() == [1, 1, 1]
    app.ResultSet([]).then(heard.put)
    assert len(heard.get(timeout=5)) == 0


def test_a_restart_of_the_broker_is_waited_through(wire: Any, app: App, lost: Any) -> None:
    heard: Queue[AsyncResult[Any]] = Queue()
    result = app.send_task("t")
    result.then(heard.put)
    wire.until_watching(1)
    wire.stop()
    assert lost.wait(5)
    wire.start()
    wire.finish(result.id, 8)

    assert heard.get(timeout=10) is result


def test_what_a_callback_raises_is_logged_or_told(wire: Any, app: App, caplog: pytest.LogCaptureFixture) -> None:
    heard: Queue[Exception] = Queue()

    def raises(ended: Any) -> None:
        raise KeyError(ended.id)

    result = app.send_task("t")
    result.then(raises)
    result.then(raises, on_error=heard.put)
    wire.finish(result.id, 8)

    assert repr(heard.get(timeout=5)) == f"KeyError('{result.id}')"
    assert "a callback of `then` raised" in caplog.text


def test_others_wait_while_one_thread_reads_for_all(wire: Any, app: App) -> None:
    heard: Queue[Any] = Queue()
    slow, quick = app.send_task("t"), app.send_task("t")
    slow.then(heard.put)
    wire.until_watching(1)
    wire.finish(quick.id, 1)
    assert quick.get(timeout=5) == 1
    with pytest.raises(TimeoutError):
        slow.get(timeout=0.1)
    wire.finish(slow.id, 2)
    assert (heard.get(timeout=5), slow.get(timeout=5)) == (slow, 2)


def test_after_the_app_is_closed_nobody_is_told(wire: Any, app: App) -> None:
    heard: Queue[Any] = Queue()
    result = app.send_task("t")
    result.then(heard.put)
    wire.until_watching(1)
    app.close()
    for thread in tellers():
        thread.join(5)
    assert tellers() == []
    wire.finish(result.id, 8)
    assert heard.empty()


@pytest.mark.parametrize("leave", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_callback_that_wants_to_leave_takes_nobody_with_it(wire: Any, app: App, leave: Any) -> None:
    heard: Queue[Any] = Queue()

    def leaves(ended: Any) -> None:
        raise leave

    first, second = app.send_task("t"), app.send_task("t")
    first.then(leaves)
    first.then(heard.put)
    second.then(heard.put)
    wire.until_watching(2)
    wire.finish(first.id, 1)
    assert heard.get(timeout=5) is first
    wire.finish(second.id, 2)

    assert heard.get(timeout=5) is second
    late = app.send_task("t")
    late.then(heard.put)
    wire.finish(late.id, 3)
    assert heard.get(timeout=5) is late


def test_a_thread_that_cannot_be_started_is_started_for_the_next_callback(
    wire: Any, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: Queue[Any] = Queue()
    result = app.send_task("t")
    with monkeypatch.context() as patch:
        patch.setattr(threading, "Thread", _NoThread)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            result.then(heard.put)

    result.then(heard.put)
    wire.finish(result.id, 1)
    assert heard.get(timeout=5) is result


class _NoThread(threading.Thread):
    def start(self) -> None:
        raise RuntimeError("can't start new thread")


def test_no_more_jobs_are_watched_at_once_than_a_broker_allows(
    wire: Any, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_grpc_tell, "TOLD", 3)
    monkeypatch.setattr(_grpc_tell, "WATCHED", 2)
    heard: Queue[Any] = Queue()
    results = [app.send_task("t") for _ in range(8)]
    for result in results[:4]:
        result.then(heard.put)
    app.ResultSet(results[4:]).then(heard.put)
    wire.until_watching(3)
    assert len(wire.watching) == 3

    for result in results:
        wire.finish(result.id, 1)
    told = [heard.get(timeout=5) for _ in range(5)]
    assert all(result in told for result in results[:4])
