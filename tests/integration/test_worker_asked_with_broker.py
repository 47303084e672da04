"""A worker and a broker, each a process of its own: limits, forced ends, checkpoints, recycling and commands."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tqbroker import App
from tqbroker.cli import cli
from tqbroker.exceptions import TaskRevokedError, TimeLimitExceeded

SECONDS = 30.0

TASKS = """
import os, signal, time
from pathlib import Path
from tqbroker import App
from tqbroker.signals import worker_ready, worker_shutting_down

app = App("tasks")

@worker_ready.connect
def ready(sender, **_):
    Path("ready").write_text(str(sender))

@worker_shutting_down.connect
def going(sender, **_):
    Path("going").write_text(str(sender))

def failed(self, exc, task_id, args, kwargs, einfo):
    Path(args[0] + ".failed").write_text(type(exc).__name__)

@app.task(bind=True, on_failure=failed)
def until(self, path):
    Path(path + ".started").touch()
    while not Path(path).exists():
        time.sleep(0.01)
    return "seen"

@app.task
def pid():
    return os.getpid()

@app.task(bind=True)
def resumes(self):
    if self.request.checkpoint is None:
        self.checkpoint({"at": 7})
        os.kill(os.getpid(), signal.SIGSEGV)
    return self.request.checkpoint
"""


class Site:
    """A broker and workers in a folder with tasks.py."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"tq+unix://{folder}/tq.sock"
        self.app = App("tasks", broker=self.url, submit_timeout=SECONDS)
        self._all: list[subprocess.Popen[bytes]] = []
        self.start("serve", "--data-dir", "data", "--listen", f"unix://{folder}/tq.sock")

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tqbroker", *arguments]
        with (self.folder / f"{arguments[0]}.log").open("ab") as log:
            environ = {**os.environ, "TQBROKER_URL": self.url}
            process = subprocess.Popen(command, cwd=self.folder, env=environ, stdout=log, stderr=log)
        self._all.append(process)
        return process

    def worker(self, *arguments: str) -> subprocess.Popen[bytes]:
        """A worker that is ready."""
        process = self.start("worker", "-A", "tasks", "-l", "info", "-n", "w@test", *arguments)
        wait_for((self.folder / "ready").exists)
        return process

    def close(self) -> None:
        for process in self._all:
            if process.poll() is None:
                process.kill()
            process.wait()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A broker; workers are started by the test."""
    (tmp_path / "tasks.py").write_text(TASKS)
    site = Site(tmp_path)
    yield site
    site.close()


def wait_for(condition: Callable[[], bool]) -> None:
    """Waits for something that another process does."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_a_job_over_its_hard_limit_fails_runs_its_hooks_and_the_next_one_runs(site: Site) -> None:
    site.worker("-c", "1", "--time-limit", "0.5")
    gate = str(site.folder / "gate")
    result = site.app.send_task("tasks.until", (gate,))
    behind = site.app.send_task("tasks.pid")
    with pytest.raises(TimeLimitExceeded, match=r"hard time limit \(0.5s\) exceeded"):
        result.get(timeout=SECONDS)
    assert behind.get(timeout=SECONDS) > 0
    failed = Path(gate + ".failed")
    wait_for(lambda: failed.exists() and failed.read_text() == "TimeLimitExceeded")


@pytest.mark.parametrize("pool", ["process", "thread"])
def test_a_running_job_that_is_revoked_with_terminate_ends(site: Site, pool: str) -> None:
    site.worker("-c", "2", "-P", pool)
    gate = str(site.folder / "gate")
    result = site.app.send_task("tasks.until", (gate,))
    wait_for(Path(gate + ".started").exists)
    site.app.control.revoke(result.id, terminate=True)
    with pytest.raises(TaskRevokedError):
        result.get(timeout=SECONDS)
    assert site.app.send_task("tasks.pid").get(timeout=SECONDS) > 0


def test_an_attempt_after_a_crash_gets_the_checkpoint_of_the_one_before(site: Site) -> None:
    site.worker("-c", "1")
    assert site.app.send_task("tasks.resumes").get(timeout=SECONDS) == {"at": 7}


def test_children_are_replaced_again_and_again_and_every_job_runs_once(site: Site) -> None:
    site.worker("-c", "2", "--max-tasks-per-child", "10")
    with site.app.batch():
        results = [site.app.send_task("tasks.pid") for _ in range(100)]
    pids = [result.get(timeout=SECONDS) for result in results]
    assert len(set(pids)) >= 10
    assert max(pids.count(pid) for pid in set(pids)) <= 10
    assert " lost" not in (site.folder / "worker.log").read_text()


@pytest.mark.parametrize("line", ["inspect ping", "inspect ping --json", "control pool_grow 1 --json"])
def test_asking_when_no_worker_is_there_fails(site: Site, line: str) -> None:
    done = CliRunner().invoke(cli, [*line.split(), "-b", site.url])
    assert (done.exit_code, "no worker is connected" in done.stderr) == (1, True)


def test_operators_ask_through_the_broker(site: Site) -> None:
    worker = site.worker("-c", "1")
    gate = str(site.folder / "gate")
    result = site.app.send_task("tasks.until", (gate,))
    wait_for(Path(gate + ".started").exists)
    control = site.app.control
    assert control.ping() == [{"w@test": {"ok": "pong"}}]
    inspect = control.inspect(timeout=5.0)
    assert [item["id"] for item in inspect.active()["w@test"]] == [result.id]
    assert "tasks.pid" in inspect.registered()["w@test"]
    assert inspect.stats()["w@test"]["pool"]["max-concurrency"] == 1
    control.pool_grow(1)
    assert site.app.send_task("tasks.pid").get(timeout=SECONDS) > 0
    control.add_consumer("mail")
    assert site.app.send_task("tasks.pid", queue="mail").get(timeout=SECONDS) > 0
    Path(gate).touch()
    assert result.get(timeout=SECONDS) == "seen"
    control.shutdown()
    assert worker.wait(SECONDS) == 0
    assert (site.folder / "ready").read_text() == (site.folder / "going").read_text() == "w@test"


def test_a_pidfile_and_a_logfile_serve_a_worker_that_detaches(site: Site) -> None:
    site.start("worker", "-A", "tasks", "-D", "-l", "info", "-f", "my.log", "--pidfile", "my.pid")
    wait_for((site.folder / "ready").exists)
    pid = int((site.folder / "my.pid").read_text())
    assert site.app.send_task("tasks.pid").get(timeout=SECONDS) > 0
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not (site.folder / "my.pid").exists())
    assert "drained" in (site.folder / "my.log").read_text()
