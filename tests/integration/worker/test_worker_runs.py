"""What tasks do besides returning, with real children: limits, retries, progress, checkpoints, hooks, signals."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from tests.integration.worker_harness import Broker, Line, Start, connected, exists, success

from tqbroker.codec import decode, decode_call
from tqbroker.v1 import job_pb2
from tqbroker.v1 import worker_pb2 as pb

MORE_TASKS = """
from tqbroker import Task, signals
from tqbroker.exceptions import Ignore, Reject, SoftTimeLimitExceeded

@app.task(soft_time_limit=0.3)
def careful():
    try:
        time.sleep(20) if threading.current_thread() is threading.main_thread() else spin()
    except SoftTimeLimitExceeded:
        return "cleaned"

@app.task
def spin():
    until = time.monotonic() + 20
    while time.monotonic() < until:
        pass

@app.task(soft_time_limit=0.3)
async def careful_async():
    try:
        await asyncio.sleep(20)
    except SoftTimeLimitExceeded:
        return "cleaned"

@app.task(time_limit=0.3)
def stuck(path):
    while not Path(path).exists():
        try:
            time.sleep(0.01)
        except BaseException:
            pass

@app.task(bind=True, max_retries=3)
def again(self, x):
    try:
        raise ValueError("why")
    except ValueError as error:
        raise self.retry(exc=error, countdown=5, args=(x + 1,))

@app.task
def refuse(requeue):
    raise Reject("broken", requeue=requeue)

@app.task
def ignored():
    raise Ignore()

@app.task(throws=(KeyError,))
def expected():
    raise KeyError("k")

@app.task(bind=True)
def counts(self, most):
    for done in range(1, most + 1):
        self.progress(done, most, f"row {done}")
    return most

@app.task(bind=True)
def remembers(self, page):
    before = self.request.checkpoint
    self.checkpoint({"page": page})
    return before

class Telling(Task):
    def on_failure(self, exc, task_id, args, kwargs, einfo):
        Path(args[0]).write_text(f"{type(exc).__name__}: {exc}")

@app.task(base=Telling, time_limit=0.3)
def told(path):
    time.sleep(20)

def note(text):
    with open("signals.txt", "a") as file:
        file.write(text + "\\n")

@signals.worker_process_init.connect
def on_init(**_):
    note("worker_process_init")

@signals.worker_process_shutdown.connect
def on_exit(pid, exitcode, **_):
    note("worker_process_shutdown")

@signals.task_prerun.connect(sender="tasks.add")
def on_prerun(task_id, args, **_):
    note(f"task_prerun {args}")

@signals.task_postrun.connect(sender="tasks.add")
def on_postrun(retval, state, **_):
    note(f"task_postrun {retval} {state}")

@signals.task_received.connect
def on_received(request, **_):
    note(f"task_received {request['name']}")
"""


@pytest.fixture
def more(start: Start, tmp_path: Path) -> Start:
    """`start` on an app with more tasks."""
    with (tmp_path / "tasks.py").open("a") as file:
        file.write(MORE_TASKS)
    return start


async def ending(line: Line, token: int) -> pb.Ending:
    request = await line.until(lambda request: [each for each in request.endings if each.token == token])
    return next(each for each in request.endings if each.token == token)


async def value(line: Line, token: int) -> Any:
    request = await line.until(lambda request: token in dict(success(request)))
    return dict(success(request))[token]


@pytest.mark.parametrize("pool", ["process", "solo", "thread", "asyncio"])
async def test_a_soft_limit_is_raised_in_the_task_in_every_pool(broker: Broker, more: Start, pool: str) -> None:
    await more("-c", "1", "-P", pool)
    line = await connected(broker)
    await line.deliver("careful", ())
    assert await value(line, 1) == "cleaned"
    await line.deliver("careful_async", (), first=2)
    assert await value(line, 2) == "cleaned"
    await line.deliver("add", (1, 2), first=3)
    assert await value(line, 3) == 3


async def test_the_soft_limit_of_a_call_goes_before_that_of_its_task(broker: Broker, more: Start) -> None:
    await more("-c", "1", "--soft-time-limit", "300")
    line = await connected(broker)
    await line.deliver("spin", (), traits=job_pb2.Traits(soft_time_limit_ms=200))
    ended = await ending(line, 1)
    assert (ended.verdict, ended.failure.type) == (pb.VERDICT_FAILED, "SoftTimeLimitExceeded")


@pytest.mark.parametrize("pool", ["thread", "asyncio"])
async def test_over_its_hard_limit_a_job_has_failed_and_its_slot_goes_on(
    broker: Broker, more: Start, tmp_path: Path, pool: str
) -> None:
    await more("-c", "1", "-P", pool)
    line = await connected(broker)
    await line.deliver("stuck", (str(tmp_path / "go"),))
    ended = await ending(line, 1)
    assert (ended.verdict, ended.failure.type) == (pb.VERDICT_FAILED, "TimeLimitExceeded")
    await line.deliver("add", (1, 2), first=2)
    assert await value(line, 2) == 3
    (tmp_path / "go").touch()


async def test_retries_rejections_and_requeues_are_told_with_their_reasons(broker: Broker, more: Start) -> None:
    worker = await more("-c", "1")
    line = await connected(broker)
    await line.deliver("again", (1,))
    ended = await ending(line, 1)
    assert (ended.verdict, ended.retry_in_ms, ended.failure.type) == (pb.VERDICT_RETRY, 5000, "ValueError")
    assert decode_call(ended.args, "json") == ((2,), {})
    await line.deliver("refuse", (False,), first=2)
    assert (await ending(line, 2)).verdict == pb.VERDICT_REJECTED
    await line.deliver("refuse", (True,), first=3)
    assert (await ending(line, 3)).verdict == pb.VERDICT_REQUEUED
    await line.deliver("ignored", (), first=4)
    assert await value(line, 4) is None
    await line.deliver("expected", (), first=5)
    assert (await ending(line, 5)).verdict == pb.VERDICT_FAILED
    worker.signal(signal.SIGTERM)
    await line.until(lambda request: request.leaving)
    _, err = await worker.end()
    assert "retry: Retry in 5s: ValueError('why')" in err
    assert "raised expected: KeyError('k')" in err


async def test_of_progress_said_often_the_broker_gets_a_few_and_the_last(broker: Broker, more: Start) -> None:
    await more("-c", "1")
    line = await connected(broker)
    await line.deliver("counts", (5000,))
    notes: list[pb.Annotation] = []

    def over(request: pb.WorkRequest) -> bool:
        notes.extend(request.annotations)
        return bool(success(request))

    await line.until(over)
    assert 1 <= len(notes) < 100
    assert (notes[-1].progress.done, notes[-1].progress.total, notes[-1].progress.note) == (5000, 5000, "row 5000")


async def test_a_checkpoint_is_durable_when_the_call_returns_and_found_by_the_next_attempt(
    broker: Broker, more: Start
) -> None:
    await more("-c", "1")
    line = await connected(broker)
    await line.deliver("remembers", (3,))
    request = await line.until(lambda request: request.annotations, ack=False)
    (note,) = request.annotations
    assert decode(note.checkpoint.data, note.checkpoint.format) == {"page": 3}
    assert line.requests.empty()  # the task waits until it is durable
    await line.say(acked=request.number)
    assert await value(line, 1) is None


async def test_hooks_of_a_job_whose_child_was_killed_run_in_another(
    broker: Broker, more: Start, tmp_path: Path
) -> None:
    await more("-c", "1")
    line = await connected(broker)
    await line.deliver("told", (str(tmp_path / "told"),))
    assert (await ending(line, 1)).failure.type == "TimeLimitExceeded"
    await exists(tmp_path / "told")
    assert (tmp_path / "told").read_text() == "TimeLimitExceeded: hard time limit (0.3s) exceeded"


async def test_signals_of_a_worker_and_its_jobs_are_sent_in_order(broker: Broker, more: Start, tmp_path: Path) -> None:
    worker = await more("-c", "1")
    line = await connected(broker)
    await line.deliver("add", (1, 2))
    assert await value(line, 1) == 3
    worker.signal(signal.SIGTERM)
    await line.until(lambda request: request.leaving)
    await worker.end()
    heard = (tmp_path / "signals.txt").read_text().splitlines()
    assert "task_received tasks.add" in heard
    assert [each for each in heard if "received" not in each] == [
        "worker_process_init",
        "task_prerun (1, 2)",
        "task_postrun 3 SUCCESS",
        "worker_process_shutdown",
    ]
