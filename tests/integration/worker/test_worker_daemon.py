"""A worker as a process of its own: its jobs, its streams, its end."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import pytest
from tests.integration.worker_harness import (
    SECONDS,
    STORE,
    Broker,
    Start,
    Worker,
    children_of,
    connected,
    exists,
    success,
    there,
    uuids,
)

from tqbroker.v1 import errors_pb2
from tqbroker.v1 import worker_pb2 as pb


@pytest.mark.parametrize("pool", ["process", "threads", "asyncio", "solo"])
async def test_jobs_run_and_their_outcomes_come_back(broker: Broker, start: Start, pool: str) -> None:
    worker = await start("-c", "1", "-P", pool)
    line = await connected(broker)
    assert (line.hello.name, line.hello.slots) == ("w@test", 1)
    assert "tasks.add" in line.hello.tasks
    (job,) = await line.deliver("add", (4, 4))
    assert success(await line.until(lambda request: request.successes)) == [(1, 8)]
    await line.deliver("fail", (), first=2)
    (ending,) = (await line.until(lambda request: request.endings)).endings
    assert (ending.token, ending.verdict, ending.failure.type) == (2, pb.VERDICT_FAILED, "ValueError")
    assert "tasks.py" in ending.failure.traceback
    worker.signal(signal.SIGTERM)
    await line.until(lambda request: request.leaving)
    code, err = await worker.end()
    assert code == 0
    assert "w@test ready." in err
    assert f"Task tasks.add[{job}] received" in err
    assert f"Task tasks.add[{job}] succeeded in 0.0" in err
    assert "raised unexpected: ValueError('no', 3)" in err


async def test_after_a_broken_stream_running_jobs_go_on_and_outcomes_come_again_with_ids(
    broker: Broker, start: Start, tmp_path: Path
) -> None:
    await start("-c", "2")
    line = await connected(broker, 2)
    (added,) = await line.deliver("add", (1, 2))
    await line.until(lambda request: request.successes, ack=False)
    gate = tmp_path / "gate"
    (running,) = await line.deliver("until", (str(gate),), first=2)
    await exists(tmp_path / "gate.started")
    line.broken.set()

    again = await broker.line()
    assert again.hello.instance == line.hello.instance
    assert again.hello.store == STORE
    held = again.hello.held
    assert dict(zip(held.tokens, uuids(held.ids), strict=True)) == {1: added, 2: running}
    await again.welcome()
    resent = await again.until(lambda request: request.successes)
    assert success(resent) == [(1, 3)]
    assert uuids(resent.successes[0].ids) == [added]
    gate.touch()
    assert success(await again.until(lambda request: request.successes)) == [(2, "seen")]


async def test_a_job_whose_lease_was_lost_while_away_is_not_reported(
    broker: Broker, start: Start, tmp_path: Path
) -> None:
    await start("-c", "1")
    line = await connected(broker)
    await line.deliver("until", (str(tmp_path / "gate"),))
    await exists(tmp_path / "gate.started")
    line.broken.set()
    again = await broker.line()
    await again.welcome(lost=[1])
    (tmp_path / "gate").touch()
    await again.until(lambda request: request.credit.slots)
    await again.deliver("add", (1, 1), first=9)
    assert success(await again.until(lambda request: request.successes)) == [(9, 2)]


async def test_a_child_that_is_killed_costs_one_attempt_and_is_replaced(broker: Broker, start: Start) -> None:
    await start("-c", "1")
    line = await connected(broker)
    await line.deliver("killed", ())
    (ending,) = (await line.until(lambda request: request.endings)).endings
    assert (ending.verdict, ending.failure.type) == (pb.VERDICT_LOST, "WorkerLostError")
    assert "SIGKILL" in ending.failure.message
    await line.deliver("add", (1, 1), first=2)
    request = await line.until(lambda request: request.successes or request.returned)
    while request.returned:  # it came before the new child was ready
        await line.until(lambda request: request.credit.slots)
        await line.deliver("add", (1, 1), first=3)
        request = await line.until(lambda request: request.successes or request.returned)
    assert [value for _, value in success(request)] == [2]


async def test_jobs_behind_one_that_turns_out_long_are_returned(broker: Broker, start: Start, tmp_path: Path) -> None:
    await start("-c", "1")
    line = await connected(broker)
    (tmp_path / "open").touch()
    for token in range(1, 5):
        await line.deliver("until", (str(tmp_path / "open"),), first=token)
        await line.until(lambda request: request.successes)
    gate = str(tmp_path / "gate")
    await line.deliver("until", *([(gate,)] * 3), first=10)
    returned: list[int] = []
    while len(returned) < 2:
        returned += (await line.until(lambda request: request.returned)).returned
    assert sorted(returned) == [11, 12]
    (tmp_path / "gate").touch()
    assert success(await line.until(lambda request: request.successes)) == [(10, "seen")]


async def test_the_first_signal_waits_for_what_runs(broker: Broker, start: Start, tmp_path: Path) -> None:
    worker = await start("-c", "1")
    line = await connected(broker)
    await line.deliver("until", (str(tmp_path / "gate"),))
    await exists(tmp_path / "gate.started")
    worker.signal(signal.SIGTERM)
    await line.until(lambda request: request.HasField("credit") and request.credit.window == 0)
    await line.deliver("add", (1, 1), first=2)
    assert list((await line.until(lambda request: request.returned)).returned) == [2]
    (tmp_path / "gate").touch()
    assert success(await line.until(lambda request: request.successes)) == [(1, "seen")]
    await line.until(lambda request: request.leaving)
    code, err = await worker.end()
    assert code == 0
    assert "SIGTERM: stopping, 1 running; once more to return them at once" in err


async def _stopping(worker: Worker) -> None:
    """Tells it to stop, and waits until it knows."""
    worker.signal(signal.SIGTERM)
    assert worker.process.stderr is not None
    async with asyncio.timeout(SECONDS):
        assert b"SIGTERM: stopping" in await worker.process.stderr.readline()


async def test_a_worker_that_stops_before_it_is_welcome_says_goodbye_all_the_same(broker: Broker, start: Start) -> None:
    """Else the broker, which knows it by then, would wait for it when it is started again."""
    worker = await start("-c", "1")
    line = await broker.line()
    await _stopping(worker)
    await line.welcome()
    await line.until(lambda request: request.leaving)
    assert (await worker.end())[0] == 0


async def test_a_second_signal_ends_a_worker_that_no_broker_has_answered(broker: Broker, start: Start) -> None:
    worker = await start("-c", "1")
    await broker.line()
    await _stopping(worker)
    worker.signal(signal.SIGTERM)
    code, err = await worker.end()
    assert code == 0
    assert "drained" in err


async def test_start_and_end_are_told_at_every_level(broker: Broker, start: Start, tmp_path: Path) -> None:
    worker = await start("-c", "1", "-l", "critical")
    line = await connected(broker)
    await line.deliver("until", (str(tmp_path / "gate"),))
    await exists(tmp_path / "gate.started")
    worker.signal(signal.SIGTERM)
    await line.until(lambda request: request.HasField("credit") and request.credit.window == 0)
    (tmp_path / "gate").touch()
    await line.until(lambda request: request.leaving)
    _, err = await worker.end()
    events = [json.loads(each)["event"] for each in err.splitlines()]
    assert [events[0], events[1], events[-1]] == [
        "w@test ready.",
        "SIGTERM: stopping, 1 running; once more to return them at once",
        "drained",
    ]


@pytest.mark.parametrize("pool", ["process", "threads"])
async def test_the_broker_of_the_command_line_is_that_of_tasks_too(
    broker: Broker, start: Start, tmp_path: Path, pool: str
) -> None:
    await start("-c", "1", "-P", pool)
    line = await connected(broker)
    await line.deliver("broker_url", ())
    assert success(await line.until(lambda request: request.successes)) == [(1, f"tq+unix://{tmp_path}/tq.sock")]


async def test_the_second_signal_returns_what_runs(broker: Broker, start: Start, tmp_path: Path) -> None:
    worker = await start("-c", "1")
    line = await connected(broker)
    await line.deliver("until", (str(tmp_path / "never"),))
    await exists(tmp_path / "never.started")
    worker.signal(signal.SIGINT)
    await line.until(lambda request: request.HasField("credit") and request.credit.window == 0)
    worker.signal(signal.SIGINT)
    assert list((await line.until(lambda request: request.returned)).returned) == [1]
    await line.until(lambda request: request.leaving)
    assert (await worker.end())[0] == 0


async def test_an_async_job_is_stopped_by_force(broker: Broker, start: Start, tmp_path: Path) -> None:
    await start("-c", "1", "-P", "asyncio")
    line = await connected(broker)
    await line.deliver("forever", (str(tmp_path / "job"),))
    await exists(tmp_path / "job.started")
    await line.say(cancelled=[1], terminate=[pb.Terminate(token=1)])
    (ending,) = (await line.until(lambda request: request.endings)).endings
    assert (ending.token, ending.verdict) == (1, pb.VERDICT_CANCELLED)


async def test_children_end_when_the_parent_is_killed(broker: Broker, start: Start, tmp_path: Path) -> None:
    worker = await start("-c", "1")
    line = await connected(broker)
    await line.deliver("until", (str(tmp_path / "never"),))
    await exists(tmp_path / "never.started")
    (child,) = children_of(worker.process.pid)
    worker.signal(signal.SIGKILL)
    await worker.end()
    async with asyncio.timeout(SECONDS):
        while there(Path(f"/proc/{child}")):  # noqa: ASYNC110 - a process that is not ours
            await asyncio.sleep(0.01)


async def test_a_name_that_stays_taken_ends_the_worker_with_one_sentence(broker: Broker, start: Start) -> None:
    worker = await start("-c", "1")
    line = await broker.line()
    await line.welcome(grace_ms=1)
    broker.refusal = errors_pb2.Error(reason=errors_pb2.REASON_NAME_TAKEN, message="another worker is called w@test")
    line.broken.set()
    code, err = await worker.end()
    assert code == 1
    assert err.splitlines()[-1] == "tqbroker worker: another worker is called w@test"


async def test_a_worker_that_the_broker_will_not_have_ends_with_its_reason(broker: Broker, start: Start) -> None:
    broker.refusal = errors_pb2.Error(reason=errors_pb2.REASON_INVALID, message="name must be shorter")
    worker = await start("-c", "1")
    code, err = await worker.end()
    assert code == 1
    assert err.splitlines()[-1] == "tqbroker worker: name must be shorter"


async def test_a_silent_broker_is_left_for_a_new_stream(broker: Broker, start: Start) -> None:
    await start("-c", "1")
    line = await broker.line()
    await line.welcome(heartbeat_ms=100)
    again = await broker.line()
    assert again.hello.instance == line.hello.instance


@pytest.mark.parametrize(
    ("app", "code", "sentence"),
    [
        ("nowhere", 2, "there is no module 'nowhere'"),
        ("tasks:other", 2, "no 'other'"),
        ("wrong", 1, "ZeroDivisionError"),
    ],
)
async def test_an_app_that_cannot_be_loaded_ends_the_worker_with_the_reason(
    start: Start, tmp_path: Path, app: str, code: int, sentence: str
) -> None:
    (tmp_path / "wrong.py").write_text("1 / 0\n")
    worker = await start("-c", "2", app=app)
    ended, err = await worker.end()
    assert ended == code
    assert sentence in err


async def test_an_error_in_the_app_is_shown_once_from_its_own_file_on(start: Start, tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text("1 / 0\n")
    _, err = await (await start("-c", "1", app="wrong")).end()
    lines = err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].startswith(f'  File "{tmp_path}/wrong.py", line 1')
    assert lines[-2:] == [
        "ZeroDivisionError: division by zero",
        "tqbroker worker: the app 'wrong' cannot be loaded",
    ]
    assert err.count("ZeroDivisionError") == 1


@pytest.mark.parametrize(
    ("url", "reason"),
    [("tq://127.0.0.1:1", "connection refused"), ("tq+unix:///nowhere/tq.sock", "no such file or directory")],
)
async def test_a_broker_that_is_not_there_is_told_in_few_words(start: Start, url: str, reason: str) -> None:
    worker = await start("-c", "1", "-b", url)
    assert worker.process.stderr is not None
    async with asyncio.timeout(SECONDS):
        event = json.loads(await worker.process.stderr.readline())["event"]
    assert event == f"cannot reach the broker at {url}: {reason}; trying again every second"


async def test_the_brokers_words_go_into_a_sentence_without_their_full_stop(broker: Broker, start: Start) -> None:
    broker.refusal = errors_pb2.Error(reason=errors_pb2.REASON_NAME_TAKEN, message="w@test is taken; use -n.")
    worker = await start("-c", "1")
    assert worker.process.stderr is not None
    event = "cannot reach"
    async with asyncio.timeout(SECONDS):
        while event.startswith("cannot reach"):  # gRPC may find the stream closed before it has read why
            event = json.loads(await worker.process.stderr.readline())["event"]
    assert event == "w@test is taken; use -n; waiting 7 s for it to go"
