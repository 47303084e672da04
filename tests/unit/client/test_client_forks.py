"""Before a fork the client waits for the threads of gRPC, those that have only just begun included."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from tqbroker._grpc_forks import settle

TASK = 7
"""A thread that Python does not know."""


@pytest.fixture
def looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits of `settle`, in which the threads of `tmp_path` are those of this process; the third ends them."""
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            shutil.rmtree(tmp_path / str(TASK))

    monkeypatch.setattr("tqbroker._grpc_forks._TASKS", tmp_path)
    monkeypatch.setattr("tqbroker._grpc_forks.time.sleep", wait)
    return waits


def thread(folder: Path, number: int, name: str, state: str) -> None:
    """A thread as /proc shows it."""
    (folder / str(number)).mkdir()
    (folder / str(number) / "stat").write_text(f"{number} ({name}) {state} 1 1 1 0 -1\n")


@pytest.mark.parametrize(
    ("name", "state"),
    [("grpc_shutdown", "S"), ("event_engine", "R"), ("python", "R"), ("my (odd) name", "D")],
)
def test_a_thread_of_grpc_is_waited_for_also_before_it_has_its_name(
    tmp_path: Path, looks: list[float], name: str, state: str
) -> None:
    thread(tmp_path, TASK, name, state)

    settle()

    assert len(looks) == 3


def test_threads_of_python_and_those_of_other_libraries_that_sleep_are_not_waited_for(
    tmp_path: Path, looks: list[float]
) -> None:
    thread(tmp_path, TASK, "python", "S")
    thread(tmp_path, threading.get_native_id(), "python", "R")

    settle()

    assert not looks
