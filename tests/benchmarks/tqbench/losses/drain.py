"""Whatever a server still has is run by a worker, and compared with what clients were told."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from .. import servers
from ..apps import records
from ..processes import POLL, Process, RunError
from ..systems import System

FIRST = 1 << 39
LAST = 1 << 40
"""Numbers of a job that is submitted before all others, and of one behind them: queues are first in, first out, so when
it ran they have had their turn."""
AGE = 5.0
"""Seconds that a rival's queue is there before the run."""
QUIET = 1.0
"""Seconds without another job, after the last one: the slots of a worker overtake each other a little."""
PATIENCE = 60.0
"""Seconds without any job, after which the last one is given up."""
TAKEN = 30.0
"""Seconds in which a server that listens must take a job."""
SETTLE = 5.0
"""Seconds that a server is left alone after its second start, and twice that after its third."""
STARTS = 3
"""How often a server is started in the hope that it works: what it does not hand out then is lost."""


@dataclass(frozen=True)
class Losses:
    """What came of the jobs that were acknowledged."""

    acknowledged: int
    lost: int
    """Acknowledged, and never ran."""
    twice: int
    """Ran more than once."""
    oldest: float = 0.0
    """Seconds between the acknowledgement of the first lost one and the accident."""


def submitter(system: System, environment: dict[str, str], acks: Path, folder: Path, count: int, first: int) -> Process:
    """A client that submits, and writes into `acks` what was acknowledged."""
    command = system.client("submit", count, first)
    return Process(f"{system.name}-submit", command, environment | {"BENCH_ACKS": str(acks)}, folder)


def queue_made(system: System, environment: dict[str, str], folder: Path) -> None:
    """One call by itself, so that there is a queue: in real life it is older than its last jobs.

    RabbitMQ writes the register of its quorum queues with a delay, and finds no younger one again. So a rival gets a
    while; ours needs none.
    """
    with submitter(system, environment, folder / "first", folder, 1, FIRST) as first:
        first.finish(PATIENCE)
    if not system.ours:
        time.sleep(AGE)


def recovered(system: System, data: Path, ports: dict[str, int], folder: Path) -> tuple[Counter[int], int]:
    """How often each job ran that the servers still find in `data`, and how often they were started for that.

    `folder` is for marks and logs. Raises RunError when no start is of use: a server that does not come up, or takes no
    job for half a minute, is ended by SIGTERM and started again.
    """
    marks = folder / "marks"
    marks.mkdir(parents=True)
    start = 1
    while True:
        try:
            with servers.running(system.servers, data, ports) as up:
                time.sleep(SETTLE * (start - 1))
                _drain(system, system.environment(up.urls, marks), marks, folder)
                break
        except RunError:
            if start == STARTS:
                raise
        start += 1
    ran = Counter(record.number for record in records.read(marks))
    del ran[FIRST], ran[LAST]
    return ran, start


def _drain(system: System, environment: dict[str, str], marks: Path, folder: Path) -> None:
    with ExitStack() as stack:
        _submit_last(system, environment, folder)
        workers = [stack.enter_context(_worker(system, command, environment, folder)) for command in system.workers]
        _wait(marks, workers)
        for worker in workers:
            worker.kill()


def compared(acknowledged: dict[int, float], ran: Counter[int], accident: float) -> Losses:
    """`acknowledged` is when each number was, by the same clock as `accident`."""
    lost = acknowledged.keys() - ran.keys()
    oldest = max((accident - acknowledged[number] for number in lost), default=0.0)
    return Losses(len(acknowledged), len(lost), sum(times > 1 for times in ran.values()), max(0.0, oldest))


def _submit_last(system: System, environment: dict[str, str], folder: Path) -> None:
    """Again and again for a while: a server that listens may not be able to take a job yet."""
    acks, deadline = folder / "last", time.monotonic() + TAKEN
    acks.unlink(missing_ok=True)
    while True:
        with submitter(system, environment, acks, folder, 1, LAST) as last:
            last.finish(TAKEN)
            if acks.stat().st_size:
                return
            if time.monotonic() > deadline:
                raise last.failed(f"no job was taken for {TAKEN:.0f} s")


def _worker(system: System, command: tuple[str, ...], environment: dict[str, str], folder: Path) -> Process:
    program, *arguments = command
    return Process(f"{system.name}-worker", [str(system.bin / program), *arguments], environment, folder)


def _wait(marks: Path, workers: list[Process]) -> None:
    """Returns when the last job has run and nothing has followed for a while."""
    count, since, done = 0, time.monotonic(), False
    while not (done and time.monotonic() - since > QUIET):
        time.sleep(POLL)
        if (now := records.count(marks)) != count:
            count, since = now, time.monotonic()
            done = done or any(record.number == LAST for record in records.read(marks))
        elif time.monotonic() - since > PATIENCE:
            outputs = "\n".join(worker.output()[-1000:] for worker in workers)
            raise RunError(f"no job ran for {PATIENCE:.0f} s, and the last one has not\n{outputs}")
