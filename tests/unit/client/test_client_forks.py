"""Before a fork the client waits for the threads of gRPC, those that it cannot see yet included."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from tqbroker import _grpc_forks
from tqbroker._grpc_forks import settle

TASK = 7
"""A thread that Python does not know."""


class Looks(list[float]):
    """The waits between two looks at the threads. After the wait with the number `last` there are none."""

    last = 3


@pytest.fixture
def looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Looks:
    """The waits of `settle`, in which the threads of `tmp_path` are those of this process; its clock is their sum."""
    waits = Looks()

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == waits.last:
            shutil.rmtree(tmp_path / str(TASK))

    monkeypatch.setattr("tqbroker._grpc_forks._TASKS", tmp_path)
    monkeypatch.setattr("tqbroker._grpc_forks._half", False)
    monkeypatch.setattr("tqbroker._grpc_forks._held", False)
    monkeypatch.setattr("tqbroker._grpc_forks._restless", False)
    monkeypatch.setattr("tqbroker._grpc_forks.time.sleep", wait)
    monkeypatch.setattr("tqbroker._grpc_forks.time.monotonic", lambda: sum(waits))
    monkeypatch.delenv("GRPC_ENABLE_FORK_SUPPORT", raising=False)
    return waits


def thread(folder: Path, number: int, name: str, state: str) -> None:
    """A thread as /proc shows it."""
    (folder / str(number)).mkdir()
    (folder / str(number) / "stat").write_bytes(os.fsencode(f"{number} ({name}) {state} 1 1 1 0 -1\n"))


@pytest.mark.parametrize(
    ("name", "state"),
    [("grpc_shutdown", "S"), ("event_engine", "R"), ("python", "R"), ("my (odd) name", "D"), ("half a \udcc3", "R")],
)
def test_a_thread_of_grpc_is_waited_for_also_before_it_has_its_name(
    tmp_path: Path, looks: Looks, name: str, state: str
) -> None:
    thread(tmp_path, TASK, name, state)

    settle()

    assert len(looks) == 3


def test_threads_of_python_and_those_of_other_libraries_that_sleep_are_not_waited_for(
    tmp_path: Path, looks: Looks
) -> None:
    thread(tmp_path, TASK, "python", "S")
    thread(tmp_path, threading.get_native_id(), "python", "R")

    settle()

    assert not looks


def test_a_thread_that_ends_while_it_is_looked_at_may_have_begun_another_and_all_are_looked_at_again(
    tmp_path: Path, looks: Looks
) -> None:
    (tmp_path / str(TASK)).mkdir()

    settle()

    assert len(looks) == 3


def test_threads_of_grpc_that_want_to_run_are_waited_for_however_slow_the_machine_is(
    tmp_path: Path, looks: Looks
) -> None:
    thread(tmp_path, TASK, "event_engine", "R")
    looks.last = 500

    settle()

    assert len(looks) == looks.last


@pytest.mark.parametrize(("state", "support", "longest"), [("S", "0", 0.26), ("R", "0", 2.01), ("R", "1", 0.26)])
def test_threads_of_grpc_that_go_on_are_waited_for_up_to_a_bound(
    tmp_path: Path, looks: Looks, monkeypatch: pytest.MonkeyPatch, state: str, support: str, longest: float
) -> None:
    monkeypatch.setenv("GRPC_ENABLE_FORK_SUPPORT", support)
    thread(tmp_path, TASK, "event_engine", state)
    looks.last = 10_000

    settle()

    assert longest - 0.02 < sum(looks) < longest


@pytest.mark.parametrize(
    ("name", "loaded", "restless"),
    [("event_engine", True, True), ("python", True, False), ("event_engine", False, False)],
)
def test_threads_that_serve_no_channel_of_ours_are_remembered_and_not_waited_for(
    tmp_path: Path, looks: Looks, monkeypatch: pytest.MonkeyPatch, name: str, loaded: bool, restless: bool
) -> None:
    monkeypatch.setattr("tqbroker._grpc_forks.sys", SimpleNamespace(modules={"grpc": None} if loaded else {}))
    thread(tmp_path, TASK, name, "R")

    _grpc_forks._before_fork()
    _grpc_forks._after_fork_here()

    assert not looks
    assert _grpc_forks._restless is restless
