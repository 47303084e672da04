"""What a worker's log shows of what tasks say, and settings of the app that are its worker's."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.integration.worker_harness import Broker, Line, Start, Worker, connected, exists, slots_are, success

from tqbroker.v1 import worker_pb2 as pb

APP = """
import logging, os, subprocess, sys
from tqbroker import App
from tqbroker.utils.log import get_task_logger

logging.getLogger("at.import").warning("while loading")
app = App("tasks", broker="tq://localhost:1")
plain, of_task = logging.getLogger("shop.mail"), get_task_logger("shop.task")

@app.task(name="tasks.talk")
def talk():
    plain.warning("plain %s", "words")
    of_task.warning("task words")
    print("printed", "words")
    print("and complaints", file=sys.stderr)
    subprocess.run([sys.executable, "-c", "print('from a program')"], stdout=sys.stdout)
    return os.getpid()
"""


async def talked(broker: Broker, worker: Worker) -> tuple[str, str, Line]:
    """Runs the task; gives the id of its job, and all that the worker logged."""
    line = await connected(broker)
    (job,) = await line.deliver("talk", ())
    await line.until(lambda request: request.successes)
    worker.signal(signal.SIGTERM)
    await line.until(lambda request: request.leaving)
    return str(job), (await worker.end())[1], line


def write(folder: Path, more: str = "") -> None:
    (folder / "shop.py").write_text(APP + more)


async def test_every_line_of_a_task_names_its_job(broker: Broker, start: Start, tmp_path: Path) -> None:
    write(tmp_path)
    worker = await start("-c", "1", app="shop")
    job, err, _ = await talked(broker, worker)
    lines: list[dict[str, Any]] = [json.loads(each) for each in err.splitlines() if each.startswith("{")]
    said = {each["event"]: each for each in lines}
    for event, logger in (
        ("plain words", "shop.mail"),
        ("task words", "shop.task"),
        ("printed words", "tqbroker.redirected"),
        ("and complaints", "tqbroker.redirected"),
    ):
        line = said[event]
        assert (line["logger"], line["level"], line["task"], line["id"]) == (logger, "warning", "tasks.talk", job)
        assert "task_name" not in line
    assert "id" not in said["while loading"]
    assert f"Task tasks.talk[{job}] received" in said


@pytest.mark.parametrize("hijacked", [True, False])
async def test_formats_are_those_of_the_settings_and_handlers_of_the_app_go_or_stay(
    broker: Broker, start: Start, tmp_path: Path, hijacked: bool
) -> None:
    write(
        tmp_path,
        f"""
app.conf.worker_log_format = "LINE %(levelname)s %(message)s"
app.conf.worker_task_log_format = "TASK %(task_name)s %(task_id)s %(message)s"
app.conf.worker_redirect_stdouts_level = "ERROR"
app.conf.worker_hijack_root_logger = {hijacked}
logging.basicConfig(filename="own.log", format="%(message)s")
""",
    )
    worker = await start("-c", "1", app="shop")
    job, err, _ = await talked(broker, worker)
    assert f"LINE INFO Task tasks.talk[{job}] received" in err
    lines = [f"TASK tasks.talk {job} {said}" for said in ("plain words", "task words", "printed words")]
    assert [each in err for each in lines] == [hijacked] * 3
    own = (tmp_path / "own.log").read_text().splitlines()
    assert ("plain words" in own) == (not hijacked)


async def test_an_app_may_leave_what_is_printed_as_it_is(broker: Broker, start: Start, tmp_path: Path) -> None:
    write(tmp_path, "app.conf.worker_redirect_stdouts = False\n")
    worker = await start("-c", "1", app="shop")
    _, err, _ = await talked(broker, worker)
    assert "and complaints" in err.splitlines()


async def test_an_app_says_which_queues_are_taken_from_and_whether_commands_are(
    broker: Broker, start: Start, tmp_path: Path
) -> None:
    settings = "dict(worker_enable_remote_control=False, worker_direct=True, task_queues=['a', 'b'])"
    write(tmp_path, f"app.conf.update({settings})\n")
    await start("-c", "1", app="shop")
    line = await connected(broker)
    assert list(line.hello.queues) == ["default", "a", "b", "worker:w@test"]
    await line.deliver("talk", ())
    assert success(await line.until(lambda request: request.successes))
    await line.say(commands=[{"command": 7, "name": "ping", "arguments": b"{}"}])
    (reply,) = (await line.until(lambda request: request.replies)).replies
    assert "worker_enable_remote_control=False" in reply.error


@pytest.mark.parametrize("quit_at_once", [False, True])
async def test_what_runs_has_its_time_after_the_second_signal(
    broker: Broker, start: Start, tmp_path: Path, quit_at_once: bool
) -> None:
    write(
        tmp_path,
        """
import time
from pathlib import Path
app.conf.worker_soft_shutdown_timeout = 600

@app.task(name="tasks.until")
def until(path):
    Path(path + ".started").touch()
    while not Path(path).exists():
        time.sleep(0.01)
    return "seen"
""",
    )
    worker = await start("-c", "1", app="shop")
    line = await connected(broker)
    await line.deliver("until", (str(tmp_path / "gate"),))
    await exists(tmp_path / "gate.started")
    if quit_at_once:
        worker.signal(signal.SIGQUIT)
    else:
        worker.signal(signal.SIGTERM)
        await line.until(lambda request: request.HasField("credit") and request.credit.window == 0)
        worker.signal(signal.SIGTERM)
    (tmp_path / "gate").touch()
    assert success(await line.until(lambda request: request.successes)) == [(1, "seen")]
    await line.until(lambda request: request.leaving)
    code, err = await worker.end()
    assert code == 0
    assert "what runs has 600s" in err or quit_at_once


async def test_a_child_that_hangs_while_it_loads_the_app_is_replaced(
    broker: Broker, start: Start, tmp_path: Path
) -> None:
    write(
        tmp_path,
        """
import time
from pathlib import Path
app.conf.worker_proc_alive_timeout = 5

if Path("hang").exists():
    Path("hung").touch()
    time.sleep(600)

@app.task(name="tasks.killed")
def killed():
    os.kill(os.getpid(), 9)
""",
    )
    worker = await start("-c", "1", app="shop")
    line = await connected(broker)
    (tmp_path / "hang").touch()
    await line.deliver("killed", ())
    assert (await line.until(lambda request: request.endings)).endings[0].verdict == pb.VERDICT_LOST
    await exists(tmp_path / "hung")
    (tmp_path / "hang").unlink()
    await slots_are(line, 1)
    await line.deliver("talk", (), first=2)
    assert success(await line.until(lambda request: request.successes))
    worker.signal(signal.SIGTERM)
    await line.until(lambda request: request.leaving)
    assert "has not loaded the app within 5s" in (await worker.end())[1]
