"""One broker under load from all sides, with everything that its data file was told written down."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import msgspec
from tests.acceptance.harness.site import ROOT, Site
from tests.crash.powercut.clients import Board, run_clients
from tests.crash.powercut.hands import Hands
from tests.crash.powercut.replay import Report
from tests.crash.powercut.trace import Marks
from tests.proof.preload.disk import disk

CLIENTS, WORKERS = 16, 2
SECONDS = 1800
"""For a replay: it makes some hundred images a second, and a loaded machine far fewer."""


def record(site: Site, seed: int, *, steps: int, mutant: str = "") -> Path:
    """The log of a broker from its first start to its kill, while each client made so many requests."""
    log = site.folder / "recording"
    broker = site.broker(mutant=mutant, **disk(site.data, log=log))
    marks = Marks(log)
    board = Board(site.wire, marks)
    workers = [Hands(board, seed, f"hands-{number}") for number in range(WORKERS)]
    try:
        with contextlib.suppress(*([AssertionError] if mutant else [])):  # one with a bug may answer anything
            run_clients(board, seed, CLIENTS, steps)
    finally:
        for worker in workers:
            worker.close()
        broker.discard()
        marks.close()
    return log


def replayed(log: Path, *, images: int, worked: int, seed: int) -> Report:
    """What came of cutting the power during a recording, in a process of its own."""
    command = [sys.executable, "-m", "tests.crash.powercut.replay", *map(str, (log, images, worked, seed))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr.decode()
    return msgspec.json.decode(done.stdout, type=Report)
