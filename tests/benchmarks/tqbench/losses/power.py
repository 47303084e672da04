"""Clients submit to a server whose data is on a recorded disk. From each moment of the cut it is started again."""

from __future__ import annotations

import random
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.crash.powercut.blocks import BlockLog
from tests.crash.powercut.disk import RecordedDisk, mounted

from .. import servers
from ..apps import records
from ..processes import RunError
from ..rounds import answer
from ..systems import System
from .drain import STARTS, Losses, compared, queue_made, recovered, submitter

FIRST = 0.3
"""Share of the run before the first cut: whoever writes things down now and then has had the time to."""


@dataclass(frozen=True)
class Cut:
    """What one loss of power did."""

    losses: Losses
    seconds: float
    """From the first acknowledgement to the cut."""
    kept: bool
    """Whether a part of what was not flushed had come to the disk; else none of it had."""
    starts: int = 1
    """How often the server had to be started until it took jobs and handed them out."""
    failed: str = ""
    """Why the server did not start again, or its worker could not work; all is lost then."""


def measure(system: System, jobs: int, cuts: int, folder: Path) -> list[Cut]:
    """So many cuts of one run, spread over it. Raises RunError when that run fails, OSError when there is no disk."""
    ports: dict[str, int] = {}
    disk = RecordedDisk(folder / "disk")
    _record(system, jobs, folder, disk, ports)
    log = disk.log()
    acknowledged = _acknowledged(log, len(log.entries))
    first, last = min(acknowledged.values()), max(acknowledged.values())
    share = (last - first) * (1 - FIRST) / cuts
    results = []
    for number in range(cuts):
        seed = random.Random(number)
        moment = last - share * (cuts - number - seed.random())
        log.cut(log.at(moment), folder / "image", seed if number % 2 else None)
        ran, starts, failed = _left(system, folder / "image", disk.point, ports, folder / f"cut-{number}")
        losses = compared(_acknowledged(log, log.at(moment)), ran, moment)
        results.append(Cut(losses, moment - first, bool(number % 2), starts, failed))
    return results


def _record(system: System, jobs: int, folder: Path, disk: RecordedDisk, ports: dict[str, int]) -> None:
    """The run itself. What there was before it is flushed: a server's cookie, its schema, its queues."""
    with disk.mounted() as files, servers.running(system.servers, files, ports) as up:
        environment = system.environment(up.urls, folder)
        queue_made(system, environment, folder)
        subprocess.run(["sync", "--file-system", files], check=True)
        with submitter(system, environment, disk.acks, folder, jobs, 0) as client:
            answer(client)
        up.kill()


def _left(
    system: System, image: Path, point: Path, ports: dict[str, int], folder: Path
) -> tuple[Counter[int], int, str]:
    """What a worker finds on the image, after how many starts, and why it found nothing."""
    try:
        with mounted(image, point) as files:
            return *recovered(system, files, ports, folder), ""
    except RunError as error:
        return Counter(), STARTS, str(error)
    finally:
        image.unlink()


def _acknowledged(log: BlockLog, until: int) -> dict[int, float]:
    """Numbers, and when they were, by the clock of the log."""
    return {record.number: time for time, data in log.acknowledged(until) for record in records.unpacked(data)}
