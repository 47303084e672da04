"""Client and command line against a real `tqbroker serve`, over a unix socket."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.acceptance.harness.waiting import until

from tqbroker import App, AsyncResult
from tqbroker._grpc_stream import Ticket
from tqbroker._grpc_wait import Watch
from tqbroker.cli import cli
from tqbroker.exceptions import OperationalError, TaskRevokedError
from tqbroker.ids import Key
from tqbroker.states import Phase, RevokeEffect


class Broker:
    """A broker process that can be killed and started again on the same data."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"tq+unix://{self._folder}/sock"

    def start(self) -> None:
        command = [sys.executable, "-m", "tqbroker", "serve", "--listen", f"unix:{self._folder}/sock"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen([*command, "--data-dir", str(self._folder / "data")], stderr=log)

    def stop(self, how: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait(20)


@pytest.fixture
def broker() -> Iterator[Broker]:
    with tempfile.TemporaryDirectory(prefix="tq") as folder:
        broker = Broker(Path(folder))
        broker.start()
        yield broker
        broker.stop(signal.SIGKILL)


@pytest.fixture
def app(broker: Broker) -> Iterator[App]:
    app = App("tasks", broker=broker.url, submit_timeout=20, request_timeout=20)
    yield app
    app.close()


def test_calls_made_while_the_broker_starts_wait_for_it(app: App) -> None:
    result = app.send_task("tasks.add", (4, 4), queue="mail", countdown=60)

    assert (result.state, result.phase, result.name, result.args) == ("PENDING", Phase.SCHEDULED, "tasks.add", (4, 4))


def test_the_same_call_is_known_and_another_under_its_id_is_refused(app: App) -> None:
    app.send_task("tasks.add", (1,), task_id="mine", countdown=60, headers={"a": 1})
    app.send_task("tasks.add", (1,), task_id="mine", countdown=60, headers={"a": 1})
    with pytest.raises(OperationalError) as caught:
        app.send_task("tasks.add", (2,), task_id="mine", countdown=60)

    assert (caught.value.reason, caught.value.rejected) == ("ID_CONFLICT", True)


def test_what_is_acknowledged_survives_kill_9_and_a_wait_goes_on(
    broker: Broker, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()
    add = Watch.add

    def noted(watch: Watch, key: Key) -> Ticket:
        ticket = add(watch, key)
        begun.set()
        return ticket

    monkeypatch.setattr(Watch, "add", noted)
    results = [app.send_task("tasks.add", (n,)) for n in range(50)]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(results[0].get, timeout=60)
        assert begun.wait(10)
        broker.stop(signal.SIGKILL)
        broker.start()

        assert {result.state for result in results} == {"PENDING"}
        assert results[0].revoke() is RevokeEffect.CANCELLED
        assert isinstance(waiting.exception(timeout=60), TaskRevokedError)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_in_the_middle_of_a_load_loses_and_doubles_nothing(
    broker: Broker, app: App, how: signal.Signals
) -> None:
    done, enough = threading.Event(), threading.Event()
    results: list[AsyncResult[object]] = []

    def load(thread: int) -> None:
        count = 0
        while not done.is_set() or count < 30:
            results.append(app.send_task("tasks.add", (thread, count)))
            count += 1
            if len(results) >= 40:
                enough.set()

    with ThreadPoolExecutor(4) as pool:
        loads = [pool.submit(load, thread) for thread in range(4)]
        many = pool.submit(app.task(name="tasks.many")(lambda n: n).delay_many, [(n,) for n in range(20_000)])
        assert enough.wait(60)
        broker.stop(how)
        broker.start()
        done.set()
        for each in loads:
            each.result(timeout=60)
        results += many.result(timeout=60)

    [queue] = app.transport.broker(20).queues
    assert queue.queued == len(results) == len(set(results))


def test_closing_one_app_does_not_disturb_calls_of_another(broker: Broker, app: App) -> None:
    other = App("other", broker=broker.url)
    done = threading.Event()

    def close_often() -> None:
        while not done.wait(0.05):
            other.close()

    with ThreadPoolExecutor(5) as pool:
        closing = pool.submit(close_often)
        sent = [pool.submit(app.send_task, "tasks.add", (number, 1)) for number in range(2000)]
        assert len({each.result(60).id for each in sent}) == 2000
        done.set()
        closing.result()


def test_an_app_that_is_closed_while_others_use_it_leaves_no_thread_behind(broker: Broker, app: App) -> None:
    def calls() -> None:
        for number in range(100):
            app.send_task("tasks.add", (number, 1))

    app.send_task("tasks.add", (0, 1))
    before = threading.active_count()  # with one connection
    with ThreadPoolExecutor(3) as pool:
        sent = [pool.submit(calls) for _ in range(3)]
        while not all(each.done() for each in sent):
            app.close()
            wait(sent, 0.05)
        assert [each.result() for each in sent] == [None] * 3
    app.close()

    until(lambda: threading.active_count() <= before, "the threads of all connections to end")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


def test_the_commands_submit_show_and_exit_with_their_codes(broker: Broker, app: App) -> None:
    made = run("-b", broker.url, "call", "tasks.add", "4", "-4", "--kwargs", '{"z": null}', "--id", "mine")
    shown = json.loads(run("result", "mine", "-b", broker.url, "--json").output)

    assert (made.output, made.exit_code) == ("mine\n", 0)
    assert (app.AsyncResult("mine").args, app.AsyncResult("mine").kwargs) == ((4, -4), {"z": None})
    assert (shown["id"], shown["state"], shown["task"]) == ("mine", "PENDING", "tasks.add")
    assert run("result", "mine", "-b", broker.url).exit_code == 1
    assert run("result", "mine", "-b", broker.url, "--wait", "--timeout", "0.2").exit_code == 1
    assert run("result", "nobody", "-b", broker.url, "--wait").exit_code == 3
    app.AsyncResult("mine").revoke()
    revoked = run("result", "mine", "-b", broker.url, "--wait")
    assert (revoked.exit_code, "TaskRevokedError: job mine was cancelled" in revoked.output) == (1, True)


def test_status_shows_the_queues(broker: Broker, app: App) -> None:
    app.send_task("tasks.add", queue="mail")

    text = run("status", "-b", broker.url)
    data = json.loads(run("status", "-b", broker.url, "--json").output)

    assert text.exit_code == 0
    assert "\nmail   1 " in text.output
    assert [(queue["name"], queue["queued"]) for queue in data["queues"]] == [("mail", 1)]


def test_without_a_broker_the_commands_exit_with_4(tmp_path: Path) -> None:
    (tmp_path / "nobody_here.py").write_text(
        f"from tqbroker import App\napp = App(broker='tq+unix://{tmp_path}/none', request_timeout=0.3)"
    )
    command = [sys.executable, "-m", "tqbroker", "-A", "nobody_here", "status"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30)

    assert (done.returncode, done.stdout) == (4, "")
    assert "no broker answered at unix:" in done.stderr
