"""A worker and a broker, each a process of its own: limits, forced ends, checkpoints, recycling and commands."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tqbroker import App
from tqbroker.cli import cli
from tqbroker.exceptions import OperationalError, TaskRevokedError, TimeLimitExceeded
from tqbroker_worker.commands import COMMANDS

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
        self._broker = self._serve()

    def _serve(self) -> subprocess.Popen[bytes]:
        return self.start("serve", "--data-dir", "data", "--listen", f"unix://{self.folder}/tq.sock")

    def restart_broker(self) -> None:
        """Kills the broker and starts it again over the same data."""
        self._broker.kill()
        self._broker.wait()
        self._broker = self._serve()

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


NAMES: tuple[object, ...] = (None, 5, True, "", [], {}, ["a"], "bad\nname", "x" * 400, "\U0001f40c" * 128)
COUNTS: tuple[object, ...] = (None, True, "1", "", 0, -1, 1.5, 1e300, 10_001, 1 << 63, [], {}, [[[]]])
SPANS: tuple[object, ...] = (True, "1", "", 0, -1, -1e300, 1e300, 10_000_000_000, 1 << 63, [], {})
LISTS: tuple[object, ...] = (5, True, {"a": 1}, [["a"]], [None], [5])

ODD: dict[str, list[dict[str, object]]] = {
    "ping": [],
    "stats": [],
    "registered": [{"taskinfoitems": value} for value in (*LISTS, "rate_limit")],
    "active_queues": [],
    "conf": [],
    "report": [],
    "active": [],
    "reserved": [],
    "query_task": [{}, *({"ids": value} for value in (*LISTS, None))],
    "stacks": [],
    "time_limit": [
        {},
        *({"task_name": value, "hard": 1} for value in NAMES),
        *({"task_name": "tasks.pid", name: value} for name in ("hard", "soft") for value in SPANS),
    ],
    "pool_grow": [{"n": value} for value in COUNTS],
    "pool_shrink": [{"n": value} for value in (*COUNTS, 1, 2)],
    "pool_restart": [],
    "autoscale": [
        {},
        {"max": 1},
        {"max": 1, "min": 2},
        *({"max": value, "min": 1} for value in COUNTS),
        *({"max": 1, "min": value} for value in COUNTS),
    ],
    "add_consumer": [{}, *({"queue": value} for value in NAMES)],
    "cancel_consumer": [{}, {"queue": "default"}, *({"queue": value} for value in NAMES)],
    "shutdown": [],
    "enable_events": [],
    "disable_events": [],
}
"""What each command has to refuse, besides arguments that it does not know. A new command needs its row."""

UNKNOWN: list[dict[str, object]] = [{"colour": 1}, {"": None}, {"bad\nname": 1}, {"x" * 400: 1}, {"self": 1, "desk": 1}]


def test_no_command_with_odd_arguments_changes_a_worker_or_keeps_it_from_serving(site: Site) -> None:
    worker = site.worker("-c", "1", "--autoscale", "1,1")
    control = site.app.control

    def said(command: str, arguments: dict[str, object]) -> Any:
        (answer,) = control.broadcast(command, arguments, reply=True, timeout=SECONDS) or []
        return answer["w@test"]

    def state() -> Any:
        return said("active_queues", {}), said("stats", {})["pool"]["processes"]

    assert ODD.keys() == COMMANDS.keys()
    before = state()
    for command, cases in ODD.items():
        for arguments in (*cases, *UNKNOWN):
            answer = said(command, arguments)
            assert isinstance(answer, dict), (command, arguments, answer)
            assert answer.keys() == {"error"}, (command, arguments, answer)
            assert len(answer["error"]) < 1000, (command, arguments, answer)
            assert "Error: " not in answer["error"], (command, arguments, answer)
    assert state() == before
    assert "Traceback" not in (site.folder / "worker.log").read_text()

    first = site.app.send_task("tasks.pid").get(timeout=SECONDS)
    said("pool_restart", {})
    assert site.app.send_task("tasks.pid").get(timeout=SECONDS) != first
    site.restart_broker()
    assert site.app.send_task("tasks.pid").get(timeout=SECONDS) != first
    wait_for(lambda: control.ping(timeout=SECONDS) == [{"w@test": {"ok": "pong"}}])
    assert worker.poll() is None


@pytest.mark.parametrize(
    ("command", "arguments", "destination"),
    [
        ("", {}, None),
        ("bad\nname", {}, None),
        ("x" * 400, {}, None),
        ("pool_grow", {"n": float("nan")}, None),
        ("pool_grow", {"n": float("inf")}, None),
        ("pool_grow", {"n": "\ud800"}, None),
        ("pool_grow", {"n": "x" * 70_000}, None),
        ("ping", {}, ["bad\nname"]),
        ("ping", {}, [""]),
        ("ping", {}, ["x" * 400]),
    ],
)
def test_a_command_that_no_worker_could_read_is_refused_by_the_broker(
    site: Site, command: str, arguments: dict[str, object], destination: list[str] | None
) -> None:
    with pytest.raises(OperationalError, match=r"(must have|may have|not JSON).*\[INVALID\]"):
        site.app.control.broadcast(command, arguments, destination, reply=True)


def test_a_pidfile_and_a_logfile_serve_a_worker_that_detaches(site: Site) -> None:
    site.start("worker", "-A", "tasks", "-D", "-l", "info", "-f", "my.log", "--pidfile", "my.pid")
    wait_for((site.folder / "ready").exists)
    pid = int((site.folder / "my.pid").read_text())
    assert site.app.send_task("tasks.pid").get(timeout=SECONDS) > 0
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not (site.folder / "my.pid").exists())
    assert "drained" in (site.folder / "my.log").read_text()
