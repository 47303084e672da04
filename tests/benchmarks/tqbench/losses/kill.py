"""Clients submit, the server is killed with SIGKILL half-way and started again, they go on."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from .. import servers
from ..apps import records
from ..processes import POLL, Process
from ..systems import System
from .drain import Losses, compared, queue_made, recovered, submitter

GIVEN_UP = 30.0
"""Seconds after the restart for the second half of the calls."""


@dataclass(frozen=True)
class Kill:
    """What one kill -9 of the server did."""

    losses: Losses
    per_second: float
    """Acknowledgements until the kill."""
    hung: bool
    """Whether the client still waited for an answer when it was given up, long after the server was there again."""
    starts: int
    """How often it had to be started, beyond that, until it took jobs and handed them out."""


def measure(system: System, jobs: int, folder: Path) -> Kill:
    """Loses what the system loses. Raises RunError when it does not come to that."""
    folder.mkdir(parents=True)
    acks, ports = folder / "acks", dict[str, int]()
    with ExitStack() as stack:
        up = stack.enter_context(servers.running(system.servers, folder, ports))
        environment = system.environment(up.urls, folder)
        queue_made(system, environment, folder)
        client = stack.enter_context(submitter(system, environment, acks, folder, jobs, 0))
        client.wait_until(lambda: _size(acks) >= jobs // 2 * len(records.packed(0)), "half-way")
        up.kill()
        killed = time.time()
        stack.enter_context(servers.running(system.servers, folder, ports))
        hung = not _ends(client)
    ran, starts = recovered(system, folder, ports, folder / "drain")
    acknowledged = {record.number: record.started for record in records.unpacked(acks.read_bytes())}
    before = [moment for moment in acknowledged.values() if moment < killed]
    return Kill(compared(acknowledged, ran, killed), len(before) / (max(before) - min(before)), hung, starts)


def _ends(client: Process) -> bool:
    """Whether the client comes to its end; else it is killed, and calls without an answer count neither way."""
    deadline = time.monotonic() + GIVEN_UP
    while client.running():
        if time.monotonic() > deadline:
            client.kill()
            return False
        time.sleep(POLL)
    client.finish(0)
    return True


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
