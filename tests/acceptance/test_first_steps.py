"""The first-steps guide, to the letter, with real processes: what a newcomer does in the first ten minutes."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from tests.acceptance.harness.daemon import Daemon
from tests.acceptance.harness.site import Site
from tests.acceptance.harness.waiting import PATIENCE, until

from tqbroker import App
from tqbroker.exceptions import OperationalError, UnknownJob

NOBODY = "0198c0de-0000-7000-8000-000000000000"


class Guide(Site):
    """The guide's folder, with its broker and its worker running."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "first_steps")
        self.server: Daemon = self.broker()
        self.helper: Daemon = self.daemon("worker", "worker", "-A", "tasks", "--loglevel=info")
        self.helper.start()
        self.helper.expect("ready")


@pytest.fixture(scope="module")
def guide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guide]:
    place = Guide(tmp_path_factory.mktemp("guide"))
    yield place
    place.close()


@pytest.fixture(scope="module")
def tasks(guide: Guide) -> Iterator[ModuleType]:
    """The guide's tasks.py, imported here as an application would."""
    spec = spec_from_file_location("tasks", guide.project / "tasks.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TQBROKER_URL", guide.url)
        patch.setitem(sys.modules, "tasks", module)
        spec.loader.exec_module(module)
        yield module
        module.app.close()


def running(tasks: ModuleType) -> list[str]:
    """Ids of the jobs that workers have started."""
    return [job["id"] for jobs in tasks.app.control.inspect().active().values() for job in jobs]


def elapsed_until_timeout(tasks: ModuleType, timeout: float) -> float:
    """How long `get` waits for a job that takes twice as long; afterwards the job is seen to its end."""
    result = tasks.slow_add.delay(4, 4, 2 * timeout)
    begun = time.monotonic()
    with pytest.raises(TimeoutError, match="has not ended"):
        result.get(timeout=timeout)
    elapsed = time.monotonic() - begun
    assert result.get(timeout=PATIENCE) == 8
    return elapsed


def test_a_worker_introduces_itself(guide: Guide) -> None:
    banner = guide.helper.log.text()

    for part in (guide.url, "tasks", "process", "default", "tasks.add", "tasks.slow_add", "tasks.spend", "ready"):
        assert part in banner


def test_a_call_is_seen_in_the_log_of_the_worker(guide: Guide) -> None:
    job = guide.python("from tasks import add; result = add.delay(4, 4); print(result.id)")

    guide.helper.expect(f"Task tasks.add[{job}] received")
    line = guide.helper.expect(f"Task tasks.add[{job}] succeeded in ")
    assert re.search(r"succeeded in [\d.e-]+s: 8\b", line.text)


def test_a_result_is_there_within_a_second(tasks: ModuleType) -> None:
    assert tasks.add.delay(4, 4).get(timeout=1) == 8


def test_a_call_without_a_broker_is_a_plain_call(tasks: ModuleType) -> None:
    assert tasks.add(4, 4) == 8


def test_a_job_of_one_second_is_not_ready_and_then_ready(tasks: ModuleType) -> None:
    result = tasks.slow_add.delay(4, 4)

    assert result.ready() is False
    assert result.state in ("PENDING", "STARTED")
    assert result.get(timeout=PATIENCE) == 8
    assert result.ready() is True
    assert result.state == "SUCCESS"
    assert result.successful()


def test_get_gives_up_at_its_timeout_and_the_job_goes_on(tasks: ModuleType) -> None:
    """Never early; and not late by more than a tenth of a second, if a busy machine lets it once in three times."""
    elapsed = [elapsed_until_timeout(tasks, 1.0)]
    while min(elapsed) > 1.1 and len(elapsed) < 3:
        elapsed.append(elapsed_until_timeout(tasks, 1.0))

    assert 1.0 <= min(elapsed) <= 1.1, elapsed


def test_a_failure_is_raised_as_its_own_class_and_tells_where_it_happened(guide: Guide, tasks: ModuleType) -> None:
    source = (guide.project / "tasks.py").read_text().splitlines()
    line = next(number for number, text in enumerate(source, 1) if "raise NotEnoughError" in text)
    result = tasks.spend.delay(5)

    with pytest.raises(tasks.NotEnoughError, match="cannot spend 5"):
        result.get(timeout=PATIENCE)

    assert result.failed()
    assert result.state == "FAILURE"
    assert f'tasks.py", line {line}' in result.traceback
    assert "cannot spend 5" in result.traceback
    guide.helper.expect(f"[{result.id}] raised")


def test_a_result_can_be_read_again_and_by_another_process_that_has_only_the_id(
    guide: Guide, tasks: ModuleType
) -> None:
    result = tasks.add.delay(20, 22)
    assert [result.get(timeout=PATIENCE), tasks.app.AsyncResult(result.id).get(timeout=1)] == [42, 42]

    printed = guide.python(
        f"from tasks import app; result = app.AsyncResult('{result.id}'); "
        "print(result.get(timeout=1), result.get(timeout=1), result.state)"
    )

    assert printed == "42 42 SUCCESS"


def test_a_result_outlives_its_caller(guide: Guide, tasks: ModuleType) -> None:
    caller = guide.run(
        sys.executable,
        "-c",
        "import os; from tasks import slow_add; "
        "print(slow_add.delay(1, 2, 0.3).id, flush=True); os.kill(os.getpid(), 9)",
    )

    assert caller.returncode == -signal.SIGKILL
    assert tasks.app.AsyncResult(caller.stdout.strip()).get(timeout=PATIENCE) == 3


def test_wrong_arguments_are_an_error_before_anything_is_sent(guide: Guide, tasks: ModuleType) -> None:
    before = guide.wire.counts()

    with pytest.raises(TypeError, match="add"):
        tasks.add.delay(4)
    with pytest.raises(TypeError, match="z"):
        tasks.add.delay(4, 4, z=1)

    assert guide.wire.counts() == before


def test_an_id_that_nobody_has_seen_is_unknown_at_once(tasks: ModuleType) -> None:
    result = tasks.app.AsyncResult(NOBODY)
    begun = time.monotonic()

    with pytest.raises(UnknownJob, match=NOBODY):
        result.get(timeout=PATIENCE)

    assert time.monotonic() - begun < 1
    assert result.state == "UNKNOWN"
    assert result.ready() is False


def test_a_call_to_a_broker_that_is_away_ends_within_its_deadline(guide: Guide, tasks: ModuleType) -> None:
    away = App("tasks", broker="tq://127.0.0.1:9", submit_timeout=1.0)
    begun = time.monotonic()

    with pytest.raises(OperationalError) as raised:
        away.send_task("tasks.add", (4, 4))

    assert time.monotonic() - begun < 2
    assert raised.value.outcome == "rejected"
    assert raised.value.task_ids
    assert raised.value.task_ids[0] in str(raised.value)
    assert tasks.app.conf.submit_timeout == 5.0
    away.close()


def test_a_result_survives_kill_9_of_the_broker(guide: Guide, tasks: ModuleType) -> None:
    good, bad = tasks.add.delay(3, 4), tasks.spend.delay(1)
    until(good.ready, "the first job to end")
    until(bad.ready, "the second job to end")

    guide.server.kill()
    guide.started(guide.server)

    assert tasks.app.AsyncResult(good.id).get(timeout=PATIENCE) == 7
    with pytest.raises(tasks.NotEnoughError):
        tasks.app.AsyncResult(bad.id).get(timeout=PATIENCE)
    assert "tasks.py" in (tasks.app.AsyncResult(bad.id).traceback or "")


def test_a_waiting_get_returns_although_the_broker_is_killed_meanwhile(guide: Guide, tasks: ModuleType) -> None:
    guide.wire.connected(guide.helper.pid)
    result = tasks.slow_add.delay(4, 4, 1.0)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(result.get, timeout=PATIENCE)
        until(lambda: tasks.app.AsyncResult(result.id).state == "STARTED", "the job to start")
        guide.server.kill()
        guide.started(guide.server)

        assert waiting.result(PATIENCE) == 8


def test_a_worker_drains_on_the_first_signal(guide: Guide, tasks: ModuleType) -> None:
    """Last here, because it ends the worker."""
    guide.wire.connected(guide.helper.pid)
    result = tasks.slow_add.delay(4, 4, 0.7)
    until(lambda: running(tasks) == [result.id], "the job to start")  # what is handed out and not started goes back

    assert guide.helper.stop() == os.EX_OK
    assert result.get(timeout=1) == 8
    assert guide.wire.workers() == {}
