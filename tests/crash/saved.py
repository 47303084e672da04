"""Backups that a test takes while it breaks things, and what must be in them."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from tests.acceptance.harness.daemon import Daemon
from tests.acceptance.harness.site import Site
from tests.acceptance.harness.waiting import PATIENCE
from tests.contracts.harness import CONFIG
from tests.proof.stores import faults_of

from tqbroker import codec
from tqbroker.v1 import job_pb2
from tqbroker_broker.answers import Job
from tqbroker_broker.records import State, Time
from tqbroker_broker.storage import create_engine
from tqbroker_broker.storage.lmdb.copying import COPY_FILE

NOW = Time(1_800_000_000_000, 1000.0)


def fill(site: Site, megabytes: int = 16) -> None:
    """More than a connection holds, so that a backup takes a while to come."""
    for _ in range(megabytes):
        site.calls.app.send_task("tasks.big", ["x" * 1_000_000], queue="aside")


def copies(broker: Daemon) -> list[str]:
    """Copies of the store that the broker has open."""
    folder = Path(f"/proc/{broker.pid}/fd")
    links = [os.readlink(each) for each in folder.iterdir() if each.is_symlink()]
    return [link for link in links if COPY_FILE in link]


class Due(NamedTuple):
    """What was known when a backup was asked for: acknowledged jobs by number, and those of them that had succeeded."""

    acknowledged: dict[int, str]
    succeeded: frozenset[str]


class Backup:
    """One run of `tqbroker backup`, begun with what is due in it."""

    def __init__(self, site: Site, name: str, *, mutant: str = "") -> None:
        self.file = site.folder / name
        self.partial = self.file.with_name(name + ".partial")
        self.due = _due(site)
        self.client: Daemon = site.daemon(name, "backup", self.file, "--no-verify", mutant=mutant)
        self.client.start()

    def ended(self) -> bool:
        """Waits for its end; whether there is a backup. It must say so itself, and else leave nothing."""
        code = self.client.wait(2 * PATIENCE)
        text = self.client.log.closed(PATIENCE) and self.client.log.text()
        assert self.file.exists() == (code == 0), f"exit code {code}: {text}"
        assert not self.partial.exists(), text
        assert "Traceback" not in str(text), text
        return code == 0


def _due(site: Site) -> Due:
    acknowledged = dict(site.history.read().acknowledged)
    statuses = site.wire.statuses(list(acknowledged.values()))
    return Due(acknowledged, frozenset(job for job, seen in statuses.items() if seen.state == job_pb2.STATE_SUCCEEDED))


def missing(data: Path, due: Due) -> list[str]:
    """What is not in a restored store as it must be, in words."""
    return asyncio.run(_missing(data, due))


async def _missing(data: Path, due: Due) -> list[str]:
    found = faults_of(data)
    engine = create_engine(f"lmdb:{data}", CONFIG)
    await engine.open(NOW)
    try:
        for number, text in due.acknowledged.items():
            (job,) = await engine.get([UUID(text).bytes], with_args=True)
            found += _wrong(number, text, job, done=text in due.succeeded)
    finally:
        await engine.close()
    return found


def _wrong(number: int, text: str, job: Job, *, done: bool) -> list[str]:
    if job.state is State.SUCCEEDED:
        value = codec.decode(job.result, job.result_format)
        return [] if value == number else [f"job {text} of call {number} has the result {value!r}"]
    if done or job.state is not State.QUEUED:
        return [f"job {text} of call {number} is {job.state.name}, it had {'succeeded' if done else 'been stored'}"]
    positional, _ = codec.decode_call(job.args)
    return [] if positional == (number,) else [f"job {text} of call {number} has the arguments {positional!r}"]
