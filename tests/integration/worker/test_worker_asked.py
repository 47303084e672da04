"""What operators ask of a running worker, through its stream and by signals."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.integration.worker_harness import (
    Broker,
    Line,
    Start,
    children_of,
    connected,
    exists,
    slots_are,
    success,
)

from tqbroker.v1 import worker_pb2 as pb


async def ask(line: Line, name: str, **arguments: Any) -> Any:
    """What the worker answers to a command; AssertionError with its words when it cannot."""
    command = pb.Command(command=7, name=name, arguments=json.dumps(arguments).encode())
    await line.say(commands=[command])
    (reply,) = (await line.until(lambda request: request.replies)).replies
    assert reply.command == 7
    assert not reply.error, reply.error
    return json.loads(reply.body)


async def test_commands_are_answered_while_a_job_runs(broker: Broker, start: Start, tmp_path: Path) -> None:
    await start("-c", "1")
    line = await connected(broker)
    (job,) = await line.deliver("until", (str(tmp_path / "gate"),))
    await exists(tmp_path / "gate.started")
    assert await ask(line, "ping") == {"ok": "pong"}
    (active,) = await ask(line, "active")
    assert (active["id"], active["args"]) == (str(job), [str(tmp_path / "gate")])
    assert active["worker_pid"] in (await ask(line, "stats"))["pool"]["processes"]
    (tmp_path / "gate").touch()
    assert success(await line.until(lambda request: request.successes)) == [(1, "seen")]


async def test_an_unknown_command_is_answered_with_the_known_ones(broker: Broker, start: Start) -> None:
    await start("-c", "1")
    line = await connected(broker)
    await line.say(commands=[pb.Command(command=1, name="dance")])
    (reply,) = (await line.until(lambda request: request.replies)).replies
    assert "'dance' is not known: use one of ping," in reply.error


async def test_a_pool_grows_and_shrinks_and_the_broker_hears_it(broker: Broker, start: Start) -> None:
    await start("-c", "1")
    line = await connected(broker)
    await ask(line, "pool_grow", n=2)
    await slots_are(line, 3)
    await ask(line, "pool_shrink", n=2)
    await slots_are(line, 1)
    await line.deliver("add", (1, 1))
    assert success(await line.until(lambda request: request.successes)) == [(1, 2)]


async def test_a_pool_that_grows_keeps_the_children_it_has(broker: Broker, start: Start) -> None:
    worker = await start("-c", "4")
    line = await connected(broker, 4)
    before = set(children_of(worker.process.pid))
    await ask(line, "pool_grow", n=1)
    await slots_are(line, 5)
    assert before < set(children_of(worker.process.pid))


async def test_children_are_restarted_on_demand(broker: Broker, start: Start) -> None:
    await start("-c", "1")
    line = await connected(broker)
    (before,) = (await ask(line, "stats"))["pool"]["processes"]
    await ask(line, "pool_restart")
    await slots_are(line, 0)
    await slots_are(line, 1)
    assert (await ask(line, "stats"))["pool"]["processes"] != [before]


async def test_other_queues_are_announced(broker: Broker, start: Start) -> None:
    await start("-c", "1")
    line = await connected(broker)
    await line.say(commands=[pb.Command(command=1, name="add_consumer", arguments=b'{"queue": "mail"}')])
    request = await line.until(lambda request: request.HasField("consume"))
    assert list(request.consume.queues) == ["default", "mail"]


async def test_a_limit_set_at_run_time_ends_jobs(broker: Broker, start: Start, tmp_path: Path) -> None:
    await start("-c", "1")
    line = await connected(broker)
    await ask(line, "time_limit", task_name="tasks.until", hard=0.3)
    await line.deliver("until", (str(tmp_path / "gate"),))
    (ending,) = (await line.until(lambda request: request.endings)).endings
    assert ending.failure.type == "TimeLimitExceeded"


async def test_shutdown_is_answered_and_then_done(broker: Broker, start: Start) -> None:
    worker = await start("-c", "1")
    line = await connected(broker)
    assert "ok" in await ask(line, "shutdown")
    await line.until(lambda request: request.leaving)
    assert (await worker.end())[0] == 0


async def test_a_signal_logs_where_every_thread_is(broker: Broker, start: Start, tmp_path: Path) -> None:
    worker = await start("-c", "1")
    line = await connected(broker)
    await line.deliver("until", (str(tmp_path / "gate"),))
    await exists(tmp_path / "gate.started")
    worker.signal(signal.SIGUSR1)
    await ask(line, "stacks")
    (tmp_path / "gate").touch()
    await line.until(lambda request: request.successes)
    worker.signal(signal.SIGTERM)
    await line.until(lambda request: request.leaving)
    code, err = await worker.end()
    assert code == 0
    assert "stacks of worker w@test" in err
    assert "in until" in err


@pytest.mark.parametrize("pool", ["process", "solo", "thread", "asyncio"])
async def test_a_job_that_is_ended_by_force_ends_cancelled_in_every_pool(
    broker: Broker, start: Start, tmp_path: Path, pool: str
) -> None:
    await start("-c", "1", "-P", pool)
    line = await connected(broker)
    await line.deliver("forever" if pool == "asyncio" else "until", (str(tmp_path / "gate"),))
    await exists(tmp_path / "gate.started")
    await line.say(cancelled=[1], terminate=[pb.Terminate(token=1)])
    (ending,) = (await line.until(lambda request: request.endings)).endings
    assert (ending.token, ending.verdict) == (1, pb.VERDICT_CANCELLED), ending
    await slots_are(line, 1)
    await line.deliver("add", (1, 1), first=2)
    assert success(await line.until(lambda request: request.successes)) == [(2, 2)]


@pytest.mark.parametrize("name", ["", "SIGINT", "SIGKILL", "SIGUSR2"])
async def test_a_job_that_does_not_mind_its_signal_ends_within_the_grace(
    broker: Broker, start: Start, tmp_path: Path, name: str
) -> None:
    worker = await start("-c", "1")
    line = await connected(broker)
    await line.deliver("stubborn", (str(tmp_path / "gate"),))
    await exists(tmp_path / "gate.started")
    await line.say(cancelled=[1], terminate=[pb.Terminate(token=1, signal=name)])
    (ending,) = (await line.until(lambda request: request.endings)).endings
    assert (ending.token, ending.verdict) == (1, pb.VERDICT_CANCELLED)
    worker.signal(signal.SIGTERM)
    await line.until(lambda request: request.leaving)
    _, err = await worker.end()
    assert f"revoked (terminated by {name or 'SIGTERM'})" in err


async def test_the_settings_and_the_tasks_of_the_app_can_be_asked_for(broker: Broker, start: Start) -> None:
    await start("-c", "1")
    line = await connected(broker)
    assert (await ask(line, "conf"))["task_default_queue"] == "default"
    registered = await ask(line, "registered")
    assert "tasks.add" in registered
    assert "tqbroker.map" in line.hello.tasks
    assert "tqbroker.map" not in registered
    assert "tasks.add [max_retries=3]" in await ask(line, "registered", taskinfoitems=["max_retries"])
    assert "software -> tqbroker" in (await ask(line, "report"))["ok"]
    stacks = await ask(line, "stacks")
    assert any("child process" in where and "thread tqbroker-watchdog" in text for where, text in stacks.items())
