"""Programs of all kinds call tasks: they fork, have pools, threads and loops. Nobody hangs, nothing runs twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from tests.acceptance.harness.site import ROOT, Site
from tests.mutants.catching import catches
from tests.proof.amount import amount

HANGS = 55.0
"""Seconds for one program; what hangs says where it stands a little before."""

pytestmark = pytest.mark.proof("T32")

firsts = count(100_000, 100_000)
"""Where the numbers of each program's calls begin."""


@pytest.fixture
def place(folder: Path, counts: Counter[str]) -> Iterator[Site]:
    """A broker and a worker: what one program leaves behind when it fails is not mixed with the calls of another."""
    site = Site(folder, counts=counts)
    site.broker()
    site.worker()
    yield site
    site.close()
    assert site.left() == []


def ended(place: Site, program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program, at its end."""
    command = [sys.executable, "-m", f"tests.acceptance.hosts.{program}", str(next(firsts)), *arguments]
    paths = os.pathsep.join([str(ROOT), place.environment.get("PYTHONPATH", "")])
    return place.run(*command, timeout=HANGS, PYTHONPATH=paths, **environment)


def run(place: Site, counts: Counter[str], program: str, *arguments: str, **environment: str) -> None:
    """A program that must end well; no job of it was lost, or ran twice."""
    done = ended(place, program, *arguments, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    counts["programs"] += 1
    place.check(lost=0)


def grpc_with(support: str) -> dict[str, str]:
    """What programs set who have gRPC servers or channels of their own."""
    return {"GRPC_ENABLE_FORK_SUPPORT": support} if support else {}


SUPPORT = [pytest.param("", id="as-it-is"), pytest.param("0", id="off"), pytest.param("1", id="on")]


@pytest.mark.parametrize(
    "support", [SUPPORT[0], *(pytest.param(*each.values, marks=pytest.mark.long) for each in SUPPORT[1:])]
)
@pytest.mark.parametrize("program", ["forking", "busy"])
def test_parent_and_children_go_on_after_a_fork(place: Site, program: str, support: str, counts: Counter[str]) -> None:
    run(place, counts, program, **grpc_with(support))


@pytest.mark.parametrize(
    "support", ["", pytest.param("0", marks=pytest.mark.long), pytest.param("1", marks=pytest.mark.long)]
)
def test_workers_of_a_server_that_has_loaded_the_app_before_are_killed_and_replaced(
    place: Site, support: str, counts: Counter[str]
) -> None:
    rounds = amount(4, 30)
    run(place, counts, "preload", str(rounds), **grpc_with(support))
    counts["kills"] += rounds


@pytest.mark.long
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("support", ["", "0", "1"])
def test_processes_of_a_pool_call_tasks(place: Site, method: str, support: str, counts: Counter[str]) -> None:
    run(place, counts, "pools", method, **grpc_with(support))


@pytest.mark.parametrize("program", ["batches", "loops", "threads"])
def test_batches_loops_and_threads_are_forked_in_their_middle(place: Site, program: str, counts: Counter[str]) -> None:
    run(place, counts, program)


@pytest.mark.parametrize(
    "how",
    [
        "atexit",
        pytest.param("child", marks=pytest.mark.long),
        pytest.param("coroutines", marks=pytest.mark.long),
        pytest.param("at once", marks=pytest.mark.long),
    ],
)
def test_a_program_ends_in_the_middle_of_everything(place: Site, how: str, counts: Counter[str]) -> None:
    run(place, counts, "endings", how)


@pytest.mark.long
@catches("a_child_uses_the_channel_of_its_parent")
def test_a_client_that_is_not_ready_for_a_fork_is_caught(place: Site, mutant: str) -> None:
    done = ended(place, "busy", TQ_MUTANT=mutant, TQ_HANGS="10")

    assert done.returncode == -signal.SIGALRM, done.stderr
    assert "most recent call first" in done.stderr, "it says where it stands"


@pytest.mark.long
def test_a_client_that_is_ready_for_a_fork_ends_as_soon(place: Site, counts: Counter[str]) -> None:
    run(place, counts, "busy", TQ_HANGS="10")
