"""Children that are replaced, killed or restarted: no job is lost by it, and none is counted that had no part in it."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from pathlib import Path

import pytest
from tests.integration.worker_harness import (
    SECONDS,
    Broker,
    Line,
    Start,
    children_of,
    connected,
    exists,
    slots_are,
    success,
    there,
)

from tqbroker.v1 import job_pb2
from tqbroker.v1 import worker_pb2 as pb


async def deliver_until_done(line: Line, task: str, count: int, *arguments: object, first: int = 1) -> list[object]:
    """Delivers one job after the other, again when it comes back; gives what each returned."""
    values: list[object] = []
    token = first
    while len(values) < count:
        if not line.slots:
            await line.until(lambda request: request.credit.slots)
        await line.deliver(task, arguments, first=token)
        request = await line.until(lambda request: request.successes or request.returned or request.endings)
        assert not request.endings
        values += [value for _, value in success(request)]
        token += 1
    return values


async def test_a_child_is_replaced_after_so_many_jobs_and_none_is_lost(broker: Broker, start: Start) -> None:
    await start("-c", "1", "--max-tasks-per-child", "2")
    line = await connected(broker)
    pids = await deliver_until_done(line, "pid", 6)
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [2, 2, 2]


async def test_a_child_that_has_grown_too_large_is_replaced_after_its_job(broker: Broker, start: Start) -> None:
    await start("-c", "1", "--max-memory-per-child", "150000")
    line = await connected(broker)
    small = await deliver_until_done(line, "pid", 2)
    assert small[0] == small[1]
    await deliver_until_done(line, "grow", 1, 200, first=100)
    (other,) = await deliver_until_done(line, "pid", 1, first=200)
    assert other != small[0]


async def test_a_child_that_does_not_exit_after_its_last_job_is_killed_and_replaced(
    broker: Broker, start: Start
) -> None:
    await start("-c", "1", "--max-tasks-per-child", "1")
    line = await connected(broker)
    await deliver_until_done(line, "linger", 1)
    assert len(await deliver_until_done(line, "pid", 1, first=100)) == 1


async def test_a_child_is_replaced_as_soon_as_the_system_has_room_for_another(broker: Broker, start: Start) -> None:
    worker = await start("-c", "1")
    line = await connected(broker)
    pid = worker.process.pid
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    taken = max(map(int, os.listdir(f"/proc/{pid}/fd"))) + 1
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (taken, hard))
    await line.deliver("killed", ())
    await line.until(lambda request: request.endings)
    await slots_are(line, 0)
    await asyncio.sleep(0.5)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
    await slots_are(line, 1)
    assert len(await deliver_until_done(line, "pid", 1, first=100)) == 1


async def test_a_loop_whose_threads_are_all_left_behind_is_replaced(broker: Broker, start: Start) -> None:
    await start("-c", "1", "-P", "asyncio")
    line = await connected(broker)
    for token in (1, 2):
        await line.deliver("deaf", (), first=token, traits=job_pb2.Traits(time_limit_ms=300))
        await line.until(lambda request: request.endings)
    assert await deliver_until_done(line, "add", 1, 1, 1, first=100) == [2]


@pytest.mark.parametrize("pool", ["process", "solo"])
async def test_a_job_over_its_hard_limit_is_killed_and_its_neighbours_are_unharmed(
    broker: Broker, start: Start, tmp_path: Path, pool: str
) -> None:
    worker = await start("-c", "1", "-P", pool, "--time-limit", "0.5")
    line = await connected(broker)
    await line.deliver("until", (str(tmp_path / "gate"),))
    (ending,) = (await line.until(lambda request: request.endings)).endings
    assert (ending.token, ending.verdict) == (1, pb.VERDICT_FAILED)
    assert (ending.failure.module, ending.failure.type) == ("tqbroker.exceptions", "TimeLimitExceeded")
    assert 400_000 < ending.runtime_us < 5_000_000
    assert await deliver_until_done(line, "add", 1, 4, 4, first=2) == [8]
    worker.signal(signal.SIGTERM)
    await line.until(lambda request: request.leaving)
    _, err = await worker.end()
    assert "hard time limit (0.5s) exceeded" in err
    assert "starting another" not in err


async def test_the_limit_of_a_call_is_kept_without_one_of_the_worker(
    broker: Broker, start: Start, tmp_path: Path
) -> None:
    await start("-c", "1")
    line = await connected(broker)
    await line.deliver("until", (str(tmp_path / "gate"),), traits=job_pb2.Traits(time_limit_ms=300))
    (ending,) = (await line.until(lambda request: request.endings)).endings
    assert ending.failure.type == "TimeLimitExceeded"


async def test_a_lost_attempt_says_what_killed_its_child_and_how_much_memory_it_had(
    broker: Broker, start: Start
) -> None:
    await start("-c", "1")
    line = await connected(broker)
    await line.deliver("segfault", ())
    (ending,) = (await line.until(lambda request: request.endings)).endings
    assert (ending.verdict, ending.failure.type) == (pb.VERDICT_LOST, "WorkerLostError")
    assert "was killed by signal 11 (SIGSEGV); its peak memory was " in ending.failure.message
    await line.until(lambda request: request.credit.slots == 1)
    await line.deliver("killed", (), first=2)
    (ending,) = (await line.until(lambda request: request.endings)).endings
    assert "SIGKILL), probably by the kernel's out-of-memory killer; its peak memory" in ending.failure.message


POOLS = ["process", "thread", "asyncio"]


@pytest.mark.parametrize("pool", POOLS)
async def test_a_child_that_does_not_speak_sense_is_replaced_and_its_job_is_lost(
    broker: Broker, start: Start, pool: str
) -> None:
    worker = await start("-c", "1", "-P", pool)
    line = await connected(broker)
    await line.deliver("babble", ())
    (ending,) = (await line.until(lambda request: request.endings)).endings
    assert (ending.token, ending.verdict, ending.failure.type) == (1, pb.VERDICT_LOST, "WorkerLostError")
    assert await deliver_until_done(line, "add", 1, 4, 4, first=2) == [8]
    worker.signal(signal.SIGTERM)
    await line.until(lambda request: request.leaving)
    assert "said what cannot be read" in (await worker.end())[1]


@pytest.mark.parametrize("pool", POOLS)
async def test_a_child_whose_slot_fails_is_replaced_and_its_job_is_lost(
    broker: Broker, start: Start, pool: str
) -> None:
    await start("-c", "1", "-P", pool)
    line = await connected(broker)
    await line.deliver("break_link", ("report", ""))
    (ending,) = (await line.until(lambda request: request.endings)).endings
    assert (ending.token, ending.verdict, ending.failure.type) == (1, pb.VERDICT_LOST, "WorkerLostError")
    assert await deliver_until_done(line, "add", 1, 4, 4, first=2) == [8]


@pytest.mark.parametrize("pool", POOLS)
async def test_a_child_without_its_watchdog_is_replaced_and_its_job_is_lost(
    broker: Broker, start: Start, tmp_path: Path, pool: str
) -> None:
    """Nothing would hold its jobs to their limits."""
    await start("-c", "1", "-P", pool)
    line = await connected(broker)
    await line.deliver("break_link", ("poll", str(tmp_path / "gate")))
    (ending,) = (await line.until(lambda request: request.endings)).endings
    assert (ending.token, ending.verdict, ending.failure.type) == (1, pb.VERDICT_LOST, "WorkerLostError")
    assert await deliver_until_done(line, "add", 1, 4, 4, first=2) == [8]


async def test_only_the_job_that_ran_is_lost_with_its_child(broker: Broker, start: Start, tmp_path: Path) -> None:
    """Short jobs are handed over in chunks: those behind the one that kills the child run elsewhere, uncounted."""
    await start("-c", "1")
    line = await connected(broker)
    (tmp_path / "open").touch()
    for token in range(1, 5):
        await line.deliver("die_unless", (str(tmp_path / "open"),), first=token)
        await line.until(lambda request: request.successes)
    await line.deliver("die_unless", (str(tmp_path / "none"),), *[(str(tmp_path / "open"),)] * 9, first=10)
    lost: list[int] = []
    others: list[int] = []
    while len(others) < 9:
        request = await line.until(lambda request: request.endings or request.successes or request.returned)
        lost += [ending.token for ending in request.endings]
        others += [*(token for token, _ in success(request)), *request.returned]
    assert lost == [10]
    assert sorted(others) == list(range(11, 20))


async def test_a_hangup_replaces_the_children_and_what_runs_is_finished(
    broker: Broker, start: Start, tmp_path: Path
) -> None:
    worker = await start("-c", "2")
    line = await connected(broker, 2)
    before = set(children_of(worker.process.pid))
    await line.deliver("until", (str(tmp_path / "gate"),))
    await exists(tmp_path / "gate.started")
    worker.signal(signal.SIGHUP)
    async with asyncio.timeout(SECONDS):
        while len(set(children_of(worker.process.pid)) - before) < 2 or sum(map(_alive, before)) > 1:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    (tmp_path / "gate").touch()
    assert success(await line.until(lambda request: request.successes)) == [(1, "seen")]
    async with asyncio.timeout(SECONDS):
        while any(map(_alive, before)):  # noqa: ASYNC110 - processes that are not ours
            await asyncio.sleep(0.01)


async def test_modules_that_are_named_are_imported_too(broker: Broker, start: Start, tmp_path: Path) -> None:
    (tmp_path / "more.py").write_text("from tasks import app\n\n@app.task\ndef extra():\n    return 'more'\n")
    await start("-c", "1", "-I", "more", "-L", "gpu", "-Q", "a,b", "-X", "b")
    line = await connected(broker)
    assert "more.extra" in line.hello.tasks
    assert (list(line.hello.labels), list(line.hello.queues)) == (["gpu"], ["a"])


def _alive(pid: int) -> bool:
    return there(Path(f"/proc/{pid}"))


async def test_settings_of_the_app_hold_unless_the_command_line_says_otherwise(
    broker: Broker, start: Start, tmp_path: Path
) -> None:
    (tmp_path / "set.py").write_text(
        "from tasks import app\napp.conf.worker_concurrency = 3\napp.conf.worker_pool = 'threads'\n"
    )
    first = await start(app="set:app")
    line = await connected(broker, 3)
    assert (line.hello.slots, line.hello.pool) == (3, "thread")
    first.signal(signal.SIGTERM)
    await line.until(lambda request: request.leaving)
    assert (await first.end())[0] == 0
    await start("-c", "2", "-P", "solo", app="set:app")
    line = await connected(broker, 1)
    assert (line.hello.slots, line.hello.pool) == (1, "solo")


async def test_children_are_added_while_all_are_at_work(broker: Broker, start: Start, tmp_path: Path) -> None:
    await start("--autoscale", "3,1")
    line = await connected(broker, 1)
    assert line.hello.slots == 3
    for token in range(1, 3):
        await line.deliver("until", (str(tmp_path / "gate"),), first=token)
        await slots_are(line, token + 1)
    (tmp_path / "gate").touch()
    await line.until(lambda request: request.successes)


GATED = """
import os, time
from pathlib import Path
from tasks import app
from tqbroker.signals import worker_process_init

while not Path(f"gate.{os.getpid()}").exists():
    time.sleep(0.01)

@worker_process_init.connect(weak=False)
def loaded(**_):
    Path(f"loaded.{os.getpid()}").touch()
"""


async def test_a_worker_is_ready_when_its_last_child_was_not_started_last(
    broker: Broker, start: Start, tmp_path: Path
) -> None:
    (tmp_path / "gated.py").write_text(GATED)
    worker = await start("-c", "4", app="gated:app")
    for number in (1, 4):
        async with asyncio.timeout(SECONDS):
            while len(children_of(worker.process.pid)) < number:  # noqa: ASYNC110 - processes that are not ours
                await asyncio.sleep(0.01)
        for pid in sorted(children_of(worker.process.pid), reverse=True):
            (tmp_path / f"gate.{pid}").touch()
            await exists(tmp_path / f"loaded.{pid}")
    line = await connected(broker, 4)
    assert line.hello.slots == 4
