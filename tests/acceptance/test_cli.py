"""The command line as a user types it: commands that submit and look, and their exit codes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.acceptance.harness.site import Site
from tests.acceptance.harness.waiting import free_port

FAILED, USAGE, NOT_FOUND, UNREACHABLE = 1, 2, 3, 4
NOBODY = "0198c0de-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The tasks of the guide with a broker, and a worker started in Celery's order of words."""
    place = Site(tmp_path_factory.mktemp("shop"), "first_steps")
    place.broker()
    worker = place.daemon("worker", "-A", "tasks", "worker", "-l", "INFO", "-c", "2", "-n", "celery@%h")
    worker.start()
    worker.expect(" ready")
    yield place
    place.close()


def printed(site: Site, *arguments: str) -> str:
    """What a command prints that must succeed."""
    done = site.tqbroker(*arguments)
    assert done.returncode == os.EX_OK, done.stdout + done.stderr
    return done.stdout.strip()


def refused(site: Site, code: int, *arguments: str, **environment: str) -> str:
    """What a command says on stderr that must end with this code, and without a traceback of its own."""
    done = site.tqbroker(*arguments, **environment)
    assert done.returncode == code, done.stdout + done.stderr
    assert "tqbroker/commands" not in done.stderr
    return done.stderr


def test_a_worker_takes_the_app_before_its_command_as_celery_does(shop: Site) -> None:
    (worker,) = shop.wire.workers().values()

    assert worker.name.startswith("celery@")
    assert "tasks.add" in worker.tasks
    assert worker.slots == 2


def test_call_prints_the_id_and_result_the_value(shop: Site) -> None:
    job = printed(shop, "call", "tasks.add", "4", "4")

    assert printed(shop, "result", job, "--wait") == "8"
    assert printed(shop, "result", job) == "8"


def test_call_can_wait_for_the_value(shop: Site) -> None:
    assert printed(shop, "call", "tasks.add", "--kwargs", '{"x": 40, "y": 2}', "--wait") == "42"


def test_result_of_a_failed_job_shows_its_traceback(shop: Site) -> None:
    job = printed(shop, "call", "tasks.spend", "5")

    shown = refused(shop, FAILED, "result", job, "--wait")

    assert "cannot spend 5" in shown
    assert "tasks.py" in shown


def test_result_of_an_unknown_job_is_not_found(shop: Site) -> None:
    assert NOBODY in refused(shop, NOT_FOUND, "result", NOBODY, "--wait")


def test_status_shows_broker_queue_and_worker(shop: Site) -> None:
    printed(shop, "call", "tasks.add", "1", "1", "--wait")

    shown = printed(shop, "status")
    data = json.loads(printed(shop, "status", "--json"))

    for part in (str(shop.data), "default", "celery@", "fsync", "connected"):
        assert part in shown
    assert data["queues"][0]["name"] == "default"
    assert data["queues"][0]["succeeded"] >= 1


def test_a_broker_that_is_away_is_one_sentence_and_its_own_code(shop: Site) -> None:
    url = f"tq://127.0.0.1:{free_port()}"
    commands = [("status",), ("call", "tasks.add", "1", "1"), ("result", NOBODY)]

    with ThreadPoolExecutor() as pool:  # each tries until its deadline of five seconds
        said = [*pool.map(lambda command: refused(shop, UNREACHABLE, *command, TQBROKER_URL=url), commands)]

    for sentence in said:
        assert len(sentence.splitlines()) == 1
        assert url.removeprefix("tq://") in sentence


def test_what_is_no_json_is_a_usage_error_that_says_how_to_write_it(shop: Site) -> None:
    assert "'\"hello\"'" in refused(shop, USAGE, "call", "tasks.add", "hello", "1")


def test_a_worker_without_an_app_that_exists_says_what_to_write(shop: Site) -> None:
    assert "-A" in refused(shop, USAGE, "worker")
    assert "nothing_here" in refused(shop, USAGE, "worker", "-A", "nothing_here")


def test_a_worker_whose_app_does_not_load_shows_why(shop: Site) -> None:
    (shop.project / "broken.py").write_text("import tqbroker\nraise RuntimeError('not today')\n")

    done = shop.tqbroker("worker", "-A", "broken")

    assert done.returncode == FAILED
    assert "not today" in done.stderr
    assert "broken.py" in done.stderr


def test_a_url_of_another_broker_is_answered_with_what_to_write(shop: Site) -> None:
    assert "tq://" in refused(shop, USAGE, "status", "--broker", "pyamqp://guest@localhost//")


def test_a_message_says_which_commands_there_are(shop: Site) -> None:
    shown = printed(shop, "--help")

    for command in ("serve", "worker", "dev", "call", "result", "status"):
        assert f"\n  {command}" in shown
    assert printed(shop, "--version").startswith("tqbroker ")
