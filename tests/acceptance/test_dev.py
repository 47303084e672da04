"""`tqbroker dev`: one command, and a newcomer's first job runs; a changed file is picked up."""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.acceptance.harness.daemon import Daemon
from tests.acceptance.harness.site import Site
from tests.acceptance.harness.waiting import children_of, is_running


@pytest.fixture
def desk(folder: Path) -> Iterator[Site]:
    """A site whose project folder is empty."""
    place = Site(folder, "first_steps")
    for path in place.project.iterdir():
        path.unlink()
    yield place
    place.close()


def dev(desk: Site, *arguments: str) -> Daemon:
    daemon = desk.daemon("dev", "dev", *arguments, "--listen", desk.address)
    daemon.start()
    daemon.expect(" ready.")
    return daemon


def test_the_example_runs_reloads_and_stops(desk: Site) -> None:
    daemon = dev(desk, "--example")
    source = desk.project / "tasks.py"

    suggested = next(line.text.strip() for line in daemon.log.lines if line.text.startswith("  python -c "))
    done = desk.run(*shlex.split(suggested))
    assert (done.returncode, done.stdout.strip()) == (0, "8"), done.stderr
    assert (desk.project / ".tqbroker").is_dir()

    before = len(daemon.log.lines)
    source.write_text(source.read_text().replace("return x + y", "return x * y"))
    daemon.expect("tasks.py changed", since=before)
    daemon.expect(" ready.", since=before)
    assert desk.run(*shlex.split(suggested)).stdout.strip() == "16"

    processes = children_of(daemon.pid)
    daemon.signal(signal.SIGINT)
    assert daemon.wait() == os.EX_OK
    assert daemon.log.closed(5), "something that dev has started is still there"
    assert len(processes) == 2
    assert not any(map(is_running, processes))


def test_nothing_is_left_behind_by_a_closed_terminal(desk: Site) -> None:
    daemon = dev(desk, "--example")
    processes = children_of(daemon.pid)
    daemon.signal(signal.SIGHUP)
    assert daemon.wait() == os.EX_OK
    assert len(processes) == 2
    assert not any(map(is_running, processes))


def test_a_mistake_in_a_file_is_shown_and_mended_by_the_next_change(desk: Site) -> None:
    daemon = dev(desk, "--example", "tasks:app")
    source = desk.project / "tasks.py"
    good = source.read_text()

    source.write_text(good + "\nthis is no python\n")
    daemon.expect("SyntaxError")
    daemon.expect("starts anew at the next change")
    before = len(daemon.log.lines)
    source.write_text(good)
    daemon.expect(" ready.", since=before)

    assert desk.python("from tasks import add; print(add.delay(2, 3).get(timeout=10))") == "5"


def test_what_was_queued_is_there_after_a_new_start(desk: Site) -> None:
    daemon = dev(desk, "--example")
    job = desk.python("from tasks import slow_add; print(slow_add.apply_async((1, 2), countdown=2).id)")
    assert daemon.stop(30) == os.EX_OK

    dev(desk)

    assert desk.python(f"from tasks import app; print(app.AsyncResult('{job}').get(timeout=15))") == "3"


def test_an_example_is_never_written_over_a_file(desk: Site) -> None:
    (desk.project / "tasks.py").write_text("mine = True\n")

    done = desk.tqbroker("dev", "--example")

    assert done.returncode != os.EX_OK
    assert "tasks.py" in done.stderr
    assert (desk.project / "tasks.py").read_text() == "mine = True\n"


def test_it_greets_only_when_its_own_broker_answers(desk: Site) -> None:
    desk.broker()

    done = desk.tqbroker("dev", "--example", "--listen", desk.address)

    assert done.returncode == 1
    assert f"cannot listen on {desk.address}: another program has it" in done.stderr
    assert "In another terminal" not in done.stdout
    assert "ready" not in done.stdout + done.stderr, "its worker has joined a broker that is not its own"


def test_a_second_one_in_the_folder_is_told_of_the_first(desk: Site) -> None:
    dev(desk, "--example")

    done = desk.tqbroker("dev", "--listen", desk.address)

    assert done.returncode == 1
    assert "this folder already has a `tqbroker dev` running" in done.stderr
    assert "In another terminal" not in done.stdout


def test_the_next_steps_it_prints_work(desk: Site) -> None:
    daemon = dev(desk, "--example")

    shown = next(line.text.strip() for line in daemon.log.lines if line.text.startswith("  tqbroker status"))
    done = desk.run(*shlex.split(shown), TQBROKER_URL="tq://127.0.0.1:1")

    assert done.returncode == os.EX_OK, done.stderr
    assert str(desk.project / ".tqbroker") in done.stdout
