"""One broker under load from all sides, with everything that its data file was told written down."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import grpc
import msgspec
from tests.acceptance.harness.site import ROOT, Site
from tests.crash.powercut.clients import Board, run_clients
from tests.crash.powercut.contents import contents, opened
from tests.crash.powercut.hands import Hands
from tests.crash.powercut.judge import Judge
from tests.crash.powercut.replay import Report
from tests.crash.powercut.trace import Kind, Marks, read
from tests.crash.powercut.working import problems_of
from tests.proof.preload.disk import disk

from tqbroker_broker.storage.lmdb.opening import DATA_FILE

CLIENTS, WORKERS = 16, 2
TOLD = 100
"""Claims that a broker must have left behind at least: fewer prove little."""
SECONDS = 1800
"""For a replay: it makes some hundred images a second, and a loaded machine far fewer."""


def record(site: Site, seed: int, *, steps: int, mutant: str = "", faults: Sequence[str] = ()) -> Path:
    """The log of a broker from its first start to its kill, while each client made so many requests.

    With `faults` it may end before: then clients are told nothing more.
    """
    log = site.folder / "recording"
    broker = site.broker(mutant=mutant, **disk(site.data, faults, log=log))
    # A broker with a bug may answer anything, and one whose disk fails ends.
    excused = [*([AssertionError] if mutant else []), *([grpc.RpcError] if faults else [])]
    with contextlib.suppress(*excused):
        load(site, log, seed, steps)
    if faults:
        broker.wait()
    broker.discard()
    return log


def load(site: Site, log: Path, seed: int, steps: int) -> None:
    """Puts the site's broker under load, and appends to the log what everybody asked and was told."""
    marks = Marks(log)
    board = Board(site.wire, marks)
    workers = [Hands(board, seed, f"hands-{number}") for number in range(WORKERS)]
    try:
        run_clients(board, seed, CLIENTS, steps)
    finally:
        for worker in workers:
            worker.close()
        marks.close()


def left(site: Site, log: Path) -> list[str]:
    """What is wrong with the store that a broker has left, by all that clients were told; and with going on."""
    judge = Judge()
    for record in read(log):
        if record.kind == Kind.MARK:
            judge.hear(record.data)
    with opened(site.data / DATA_FILE) as env:
        found = contents(env)
    assert len(judge.claims) >= TOLD, f"only {len(judge.claims)} things were acknowledged"
    return [*judge.strange(found), *judge.broken(found), *problems_of(site.data)]


def replayed(log: Path, *, images: int, worked: int, seed: int) -> Report:
    """What came of cutting the power during a recording, in a process of its own."""
    return reported("replay", log, images, worked, seed)


def reported(module: str, *arguments: object) -> Report:
    """What a module of this folder reports, run as a program."""
    command = [sys.executable, "-m", f"tests.crash.powercut.{module}", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr.decode()
    return msgspec.json.decode(done.stdout, type=Report)
