"""A worker and a broker, each a process of its own; the broker is stopped while jobs run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tqbroker import App

SECONDS = 30.0
JOBS = 50

TASKS = """
import asyncio
from pathlib import Path
from tqbroker import App

app = App("tasks")

@app.task
async def until(path, number):
    with open(path + ".runs", "a") as runs:
        runs.write(f"{number}\\n")
    while not Path(path).exists():
        await asyncio.sleep(0.02)
    return number

@app.task
def add(x, y):
    return x + y

@app.task(bind=True, autoretry_for=(ValueError,), retry_backoff=0.05, retry_jitter=False, default_retry_delay=0.05)
def stages(self, stage):
    done = (self.request.checkpoint or []) + [self.request.retries]
    self.checkpoint(done)
    if self.request.retries == 0:
        raise ValueError("first")
    if self.request.retries == 1:
        self.retry(args=(stage + "!",), countdown=0.05)
    return [stage, done]

@app.task(bind=True, max_retries=1, default_retry_delay=0)
def never(self):
    try:
        raise KeyError("gone")
    except KeyError as error:
        raise self.retry(exc=error)

@app.task(bind=True)
def loading(self, path):
    self.update_state(state="LOADING", meta={"rows": 3})
    while not Path(path).exists() and not self.request.cancelled:
        __import__("time").sleep(0.02)
    return self.request.cancelled
"""


class Processes:
    """Starts programs of the command line in a folder, and ends them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"tq+unix://{folder}/tq.sock"
        self._all: list[subprocess.Popen[bytes]] = []

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        environ = {**os.environ, "TQBROKER_URL": self.url}
        command = [sys.executable, "-m", "tqbroker", *arguments]
        with (self.folder / f"{arguments[0]}.log").open("ab") as log:
            process = subprocess.Popen(command, cwd=self.folder, env=environ, stdout=log, stderr=log)
        self._all.append(process)
        return process

    def broker(self) -> subprocess.Popen[bytes]:
        return self.start("serve", "--data-dir", "data", "--listen", f"unix://{self.folder}/tq.sock")

    def worker(self, *arguments: str) -> subprocess.Popen[bytes]:
        return self.start("worker", "-A", "tasks", "-l", "info", *arguments)

    def close(self) -> None:
        for process in self._all:
            if process.poll() is None:
                process.kill()
            process.wait()


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """A folder with tasks.py, and what runs in it."""
    (tmp_path / "tasks.py").write_text(TASKS)
    processes = Processes(tmp_path)
    yield processes
    processes.close()


def wait_for(condition: Callable[[], bool]) -> None:
    """Waits for something that another process does."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_jobs_run_on_through_a_restart_of_the_broker_and_none_runs_twice(processes: Processes, how: int) -> None:
    broker = processes.broker()
    processes.worker("-P", "asyncio", "-c", str(JOBS))
    app = App("tasks", broker=processes.url, submit_timeout=SECONDS)
    gate = processes.folder / "gate"
    runs = processes.folder / "gate.runs"
    results = [app.send_task("tasks.until", (str(gate), number)) for number in range(JOBS)]
    wait_for(lambda: runs.exists() and len(runs.read_text().splitlines()) == JOBS)
    broker.send_signal(how)
    broker.wait(SECONDS)
    processes.broker()
    gate.touch()
    assert [result.get(timeout=SECONDS) for result in results] == list(range(JOBS))
    assert sorted(map(int, runs.read_text().splitlines())) == list(range(JOBS))


def test_a_thousand_short_jobs_survive_a_broker_that_is_killed_among_them(processes: Processes) -> None:
    broker = processes.broker()
    processes.worker("-c", "2")
    app = App("tasks", broker=processes.url, submit_timeout=SECONDS)
    results = [app.send_task("tasks.add", (number, 1)) for number in range(10)]
    assert results[-1].get(timeout=SECONDS) == 10
    with app.batch():
        results = [app.send_task("tasks.add", (number, 1)) for number in range(1000)]
    broker.kill()
    broker.wait(SECONDS)
    processes.broker()
    assert [result.get(timeout=SECONDS) for result in results] == [number + 1 for number in range(1000)]


def test_a_worker_that_is_killed_gets_its_jobs_again_under_its_name(processes: Processes) -> None:
    processes.broker()
    worker = processes.worker("-P", "asyncio", "-c", "4", "-n", "w@test")
    app = App("tasks", broker=processes.url, submit_timeout=SECONDS)
    gate = processes.folder / "gate"
    runs = processes.folder / "gate.runs"
    results = [app.send_task("tasks.until", (str(gate), number)) for number in range(6)]
    wait_for(lambda: runs.exists() and len(runs.read_text().splitlines()) == 4)
    worker.kill()
    worker.wait(SECONDS)
    gate.touch()
    processes.worker("-P", "asyncio", "-c", "4", "-n", "w@test")
    assert [result.get(timeout=SECONDS) for result in results] == list(range(6))
    assert sorted(map(int, runs.read_text().splitlines())) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 5]


def test_a_worker_that_is_told_to_stop_finishes_what_runs_and_leaves_the_rest(processes: Processes) -> None:
    processes.broker()
    worker = processes.worker("-c", "2")
    app = App("tasks", broker=processes.url, submit_timeout=SECONDS)
    gate = processes.folder / "gate"
    runs = processes.folder / "gate.runs"
    results = [app.send_task("tasks.until", (str(gate), number)) for number in range(4)]
    wait_for(lambda: runs.exists() and len(runs.read_text().splitlines()) == 2)
    worker.send_signal(signal.SIGTERM)
    wait_for(lambda: b"stopping, 2 running" in (processes.folder / "worker.log").read_bytes())
    gate.touch()
    assert worker.wait(SECONDS) == 0
    assert [result.state for result in results] == ["SUCCESS", "SUCCESS", "PENDING", "PENDING"]
    processes.worker("-c", "2")
    assert [result.get(timeout=SECONDS) for result in results] == list(range(4))
    assert sorted(map(int, runs.read_text().splitlines())) == list(range(4))


def test_retries_keep_their_id_their_checkpoint_and_their_new_arguments(processes: Processes) -> None:
    processes.broker()
    processes.worker("-c", "2")
    app = App("tasks", broker=processes.url, submit_timeout=SECONDS)
    result = app.send_task("tasks.stages", ("a",))
    assert result.get(timeout=SECONDS) == ["a!", [0, 1, 2]]
    assert result.retries == 2


def test_after_its_last_retry_a_job_fails_with_what_it_raised(processes: Processes) -> None:
    processes.broker()
    processes.worker("-c", "1")
    app = App("tasks", broker=processes.url, submit_timeout=SECONDS)
    result = app.send_task("tasks.never")
    with pytest.raises(KeyError, match="gone"):
        result.get(timeout=SECONDS)
    assert (result.retries, result.state) == (1, "FAILURE")


def test_a_running_job_hears_that_it_is_cancelled_and_may_still_succeed(processes: Processes) -> None:
    processes.broker()
    processes.worker("-c", "1")
    app = App("tasks", broker=processes.url, submit_timeout=SECONDS)
    result = app.send_task("tasks.loading", (str(processes.folder / "never"),))
    wait_for(lambda: result.state == "LOADING")
    assert result.info == {"rows": 3}
    result.revoke()
    assert result.get(timeout=SECONDS) is True
