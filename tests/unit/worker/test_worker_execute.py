from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest

from tqbroker import App
from tqbroker.codec import decode, encode_call
from tqbroker_worker.coroutines import Running
from tqbroker_worker.delivery import Job, Success
from tqbroker_worker.endings import MAX_RESULT
from tqbroker_worker.execute import Executor
from tqbroker_worker.jobs import Head
from tqbroker_worker.protocol import Ended, Verdict
from tqbroker_worker.slots import Slot

app = App("tasks", broker="tq://localhost")
UUID = bytes(range(16))


@app.task(name="add")
def add(x: int, y: int = 1) -> int:
    return x + y


@app.task(name="who", bind=True)
def who(self: Any) -> list[Any]:
    request = self.request
    return [request.id, request.hostname, request.retries, request.fence, request.queue, request.headers.get("a")]


@app.task(name="fail")
def fail(kind: str) -> None:
    raise {"value": ValueError("no", 3), "exit": SystemExit(2), "interrupt": KeyboardInterrupt()}[kind]


@app.task(name="large")
def large(size: int) -> str:
    return "x" * size


@app.task(name="odd")
def odd() -> object:
    return object()


@app.task(name="wait")
async def wait(x: int) -> int:
    await asyncio.sleep(0)
    return x


@app.task(name="forever")
async def forever() -> None:
    await asyncio.Event().wait()


tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


@app.task(name="become")
def become(name: str) -> str:
    before = tenant.get()
    tenant.set(name)
    return before


@app.task(name="who_async", bind=True)
async def who_async(self: Any, name: str) -> list[Any]:
    before = tenant.get()
    tenant.set(name)
    return [self.request.id, before]


@app.task(name="fail_async")
async def fail_async() -> None:
    raise ValueError("no")


@pytest.fixture
def executor() -> Executor:
    return Executor(app, "worker@here", show=True)


def job(task: str, *args: Any, **head: Any) -> Job:
    return Job(Head(task, "default", 0, "json", **head), UUID, 7, encode_call(args, {}), 2, 0)


def run(executor: Executor, task: str, *args: Any, **head: Any) -> Success | Ended:
    return outcome(executor, job(task, *args, **head))


def outcome(executor: Executor, job: Job) -> Success | Ended:
    found = executor.run(job, Slot())
    assert found is not None
    return found


def success(outcome: Success | Ended) -> Success:
    assert isinstance(outcome, Success), outcome
    return outcome


def failure(outcome: Success | Ended) -> tuple[str, str, str]:
    assert isinstance(outcome, Ended)
    assert outcome.verdict is Verdict.FAILED
    assert outcome.failure is not None
    return outcome.failure.type, outcome.failure.message, outcome.failure.traceback


def test_a_result_comes_back_encoded_with_times_and_as_the_log_shows_it(executor: Executor) -> None:
    done = success(run(executor, "add", 4, 4))
    assert (done.token, decode(done.result, "json"), done.shown) == (7, 8, "8")
    assert done.started_ms > 1_600_000_000_000
    assert 0 <= done.runtime_us < 10_000_000


def test_a_task_sees_its_request(executor: Executor) -> None:
    done = success(run(executor, "who", headers=b'{"a":5}'))
    text = "00010203-0405-0607-0809-0a0b0c0d0e0f"
    assert decode(done.result, "json") == [text, "worker@here", 2, 7, "default", 5]


def test_an_ignored_result_is_empty(executor: Executor) -> None:
    assert success(run(executor, "add", 1, ignore_result=True)).result == b""


def test_an_exception_is_a_failure_whose_traceback_begins_in_the_task(executor: Executor) -> None:
    kind, message, trace = failure(run(executor, "fail", "value"))
    assert (kind, message) == ("ValueError", "('no', 3)")
    assert __file__ in trace
    assert "tqbroker_worker" not in trace


@pytest.mark.parametrize(("kind", "name"), [("exit", "SystemExit"), ("interrupt", "KeyboardInterrupt")])
def test_a_task_that_asks_to_exit_fails_and_does_not_end_its_worker(executor: Executor, kind: str, name: str) -> None:
    assert failure(run(executor, "fail", kind))[0] == name


def test_a_result_that_is_too_large_is_a_failure_that_says_what_to_do(executor: Executor) -> None:
    kind, message, _ = failure(run(executor, "large", MAX_RESULT))
    assert kind == "EncodeError"
    assert str(MAX_RESULT) in message
    assert "ignore_result" in message


def test_a_result_that_cannot_be_encoded_is_a_failure(executor: Executor) -> None:
    assert failure(run(executor, "odd"))[0] == "EncodeError"


def test_arguments_that_cannot_be_decoded_are_a_failure(executor: Executor) -> None:
    broken = job("add")._replace(args=b"{not json")
    assert failure(outcome(executor, broken))[0] == "DecodeError"


def test_wrong_arguments_are_a_failure_without_frames_of_ours(executor: Executor) -> None:
    kind, message, trace = failure(run(executor, "add", 1, 2, 3))
    assert kind == "TypeError"
    assert trace.strip() == f"TypeError: {message}"


def test_an_unknown_task_is_a_failure_that_names_it(executor: Executor) -> None:
    kind, message, _ = failure(run(executor, "gone"))
    assert kind == "NotRegistered"
    assert "gone" in message


def test_an_async_task_runs_in_a_loop_of_its_own_that_is_kept(executor: Executor) -> None:
    assert [decode(success(run(executor, "wait", n)).result, "json") for n in (1, 2)] == [1, 2]
    executor.close()


def test_each_async_task_sees_its_own_request_and_no_context_of_another(executor: Executor) -> None:
    jobs = [job("who_async", "a")._replace(id=name) for name in ("one", "two")]
    values = [decode(success(outcome(executor, each)).result, "json") for each in jobs]
    assert values == [["one", "nobody"], ["two", "nobody"]]
    executor.close()


def test_what_a_task_sets_in_its_context_no_other_task_sees(executor: Executor) -> None:
    values = [decode(success(run(executor, "become", name)).result, "json") for name in ("a", "b")]
    assert (values, tenant.get()) == (["nobody", "nobody"], "nobody")


def test_the_traceback_of_an_async_task_begins_in_the_task(executor: Executor) -> None:
    _, _, trace = failure(run(executor, "fail_async"))
    assert trace.splitlines()[1].startswith(f'  File "{__file__}"')
    executor.close()


def start(executor: Executor, job: Job) -> Running:
    """The job as a task of this loop."""
    running = Running(executor, job, lambda _running: None)
    running.task = asyncio.create_task(running.run())
    return running


async def end(running: Running) -> Success | Ended:
    assert running.task is not None
    outcome = await running.task
    assert outcome is not None
    return outcome


async def test_in_a_loop_async_tasks_run_natively_and_plain_ones_in_a_thread(executor: Executor) -> None:
    jobs = [job("wait", 1), job("add", 1, 2), job("fail", "value")]
    one, two, three = await asyncio.gather(*(end(start(executor, each)) for each in jobs))
    assert [decode(success(each).result, "json") for each in (one, two)] == [1, 3]
    assert failure(three)[0] == "ValueError"


async def test_an_async_task_is_stopped_by_force_only(executor: Executor) -> None:
    running = start(executor, job("forever"))
    await asyncio.sleep(0)
    running.cancel(force=False)
    for _ in range(3):
        await asyncio.sleep(0)
    assert running.attempt.request is not None
    assert running.attempt.request.cancelled
    running.cancel(force=True)
    ended = await end(running)
    assert isinstance(ended, Ended)
    assert ended.verdict is Verdict.CANCELLED


async def test_an_async_task_that_is_cancelled_by_itself_has_failed(executor: Executor) -> None:
    running = start(executor, job("forever"))
    await asyncio.sleep(0)
    assert running.task is not None
    running.task.cancel()
    assert failure(await end(running))[0] == "CancelledError"
