"""What a worker does before its first job, and workers that are started from Python."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.harness.waiting import PATIENCE, until
from tests.acceptance.harness.workshop import Workshop

from tqbroker import App

SCRIPT = """
import sys
from tqbroker import App, Queue

shop = App("program", task_queues=[
    Queue("bounded", max_length=5, overflow="refuse", message_ttl=3600),
    Queue("kept", max_length=7),
])
shop.select_queues(["bounded", "direct"])

@shop.task
def double(x):
    return 2 * x

if __name__ == "__main__":
    shop.worker_main(["-n", "w@script", "-c", "1", "--loglevel=info"])
"""


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    place = Workshop(tmp_path)
    place.broker()
    yield place
    place.close()


def rules(app: App) -> dict[str, Any]:
    return {name: (rule.max_length, rule.overflow, rule.ttl_ms) for name, rule in app.operator.queue_rules().items()}


def test_a_script_is_a_worker_and_gives_queues_the_bounds_that_nobody_has_given_them(
    shop: Workshop, tmp_path: Path
) -> None:
    assert shop.tqbroker("queues", "set", "kept", "--max-length", "3").returncode == 0
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "program.py").write_text(SCRIPT)
    environment = {**os.environ, "TQBROKER_URL": shop.url}
    with subprocess.Popen([sys.executable, str(folder / "program.py")], cwd=tmp_path, env=environment) as process:
        try:
            job = shop.app.send_task("program.double", (4,), queue="bounded")
            assert job.get(timeout=PATIENCE) == 8
            until(lambda: "bounded" in rules(shop.app), "the rules of the queues")
            assert rules(shop.app)["bounded"] == (5, "refuse", 3_600_000)
            assert rules(shop.app)["kept"] == (3, "refuse", 0)
            (worker,) = shop.app.control.inspect(timeout=5).active_queues().values()
            assert [queue["name"] for queue in worker] == ["bounded", "direct"]
        finally:
            process.terminate()
        assert process.wait(PATIENCE) == 0


def test_what_waits_is_cancelled_before_the_first_job_if_asked_for(shop: Workshop) -> None:
    waiting = [shop.app.send_task("tasks.nothing", (), queue="old", countdown=delay) for delay in (0, 3600)]
    elsewhere = shop.app.send_task("tasks.nothing", (), queue="other")
    shop.worker("-Q", "old", "--purge", "--yes")
    until(lambda: [job.state for job in waiting] == ["REVOKED", "REVOKED"], "the jobs to be cancelled")
    assert elsewhere.state == "PENDING"


def test_an_autoscaled_worker_is_given_other_bounds(shop: Workshop) -> None:
    shop.worker("--autoscale", "2,1")
    (answer,) = shop.app.control.autoscale(4, 2, timeout=5)
    assert list(answer.values()) == [{"ok": "autoscale now max=4 min=2"}]
    shown = shop.tqbroker("control", "autoscale", "5", "3")
    assert "max=5 min=3" in shown.stdout


def test_a_worker_goes_to_the_background_with_its_files(shop: Workshop) -> None:
    who = ("--uid", str(os.getuid()), "--gid", str(os.getgid())) if os.getuid() == 0 else ()
    files = ("--workdir", str(shop.project), "--pidfile", "%n.pid", "--logfile", "%n.log", "--umask", "077")
    done = shop.tqbroker("worker", "-A", "tasks", "-c", "1", "-n", "back@test", "-D", *files, *who)
    assert done.returncode == 0, done.stderr
    assert shop.app.send_task("tasks.hold", ("back-1", "back"), queue="default")
    shop.noted("start", "back")
    pid = int((shop.project / "back.pid").read_text())
    assert (shop.project / "back.pid").stat().st_mode & 0o777 == 0o600
    shop.open_gate("back")
    shop.noted("end", "back")
    os.kill(pid, signal.SIGTERM)
    until(lambda: not (shop.project / "back.pid").exists(), "the worker to end")
    assert "back@test ready." in (shop.project / "back.log").read_text()


def test_a_bug_report_names_versions_and_settings_without_passwords() -> None:
    report = App(broker="tq://localhost:1", worker_concurrency=3).bugreport()
    assert "tqbroker:" in report
    assert "worker_concurrency: 3" in report
