"""Backups for those who read slowly, go away or are left alone, and on a disk that is nearly full."""

from __future__ import annotations

import os
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.acceptance.harness.fixtures import judge
from tests.acceptance.harness.footprint import MIB, footprint
from tests.acceptance.harness.load import Load, submit_many
from tests.acceptance.harness.site import Site
from tests.acceptance.harness.waiting import until
from tests.crash.saved import Backup, copies, fill

from tqbroker.v1 import admin_pb2

pytestmark = [pytest.mark.crash, pytest.mark.proof("T27")]


@pytest.mark.long
def test_a_broker_killed_while_it_sends_leaves_no_backup(site: Site, counts: Counter[str]) -> None:
    broker = site.broker()
    fill(site, 40)
    backup = Backup(site, "monday")
    until(lambda: backup.partial.exists() and backup.partial.stat().st_size > 0, "the first bytes", pause=0.0005)
    broker.kill()

    assert not backup.ended()
    assert backup.client.wait() in (1, 4)
    site.started(broker)
    assert Backup(site, "tuesday").ended()
    counts["backups"] += 1


@pytest.mark.long
def test_who_reads_slowly_costs_the_broker_neither_memory_nor_time(site: Site, counts: Counter[str]) -> None:
    broker = site.broker()
    fill(site, 100)
    before = most = footprint(broker.pid).anonymous
    call: Any = site.wire.admin.Backup(admin_pb2.BackupRequest(), timeout=60)
    with Load(site.calls.mark, site.history, 10**6, threads=1) as load:
        end = time.monotonic() + 10
        while time.monotonic() < end:
            next(call)
            most = max(most, footprint(broker.pid).anonymous)
            time.sleep(0.1)  # the slowness itself
        load.stop()

    assert most - before < 16 * MIB
    assert load.longest < 1
    call.cancel()
    until(lambda: not copies(broker), "the copy to be gone")
    counts["backups"] += 1


# -- a disk that is nearly full ----------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(site: Site, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A file system of 160 MiB under the data directory."""
    site.data.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=160m,mode=0700", "tqbroker-test", str(site.data)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("needs root, and may mount nothing here")
    yield site.data
    try:
        judge(site, request.node)
    finally:
        subprocess.run(["umount", str(site.data)], check=True)


@pytest.mark.long
def test_a_backup_gives_way_when_the_disk_fills_up(site: Site, small_disk: Path, counts: Counter[str]) -> None:
    """The copy stops before it takes the room of the store, and jobs are taken in all the time."""
    broker = site.broker(TQ_TESTING="1", TQ_FAILPOINT="in_backup:1=sleep:3")
    fill(site, 30)
    call = site.wire.admin.Backup(admin_pb2.BackupRequest(), timeout=60)
    until(lambda: copies(broker), "the copy to begin")
    submit_many(site.calls.mark, site.history, 10)
    (small_disk / "filler").write_bytes(bytes(free(small_disk) - 20 * MIB))
    with pytest.raises(grpc.RpcError) as failure:
        list(call)
    submit_many(site.calls.mark, site.history, 10)

    assert "bytes free" in str(failure.value)
    until(lambda: not copies(broker), "the copy to be gone")
    done = site.tqbroker("backup", site.folder / "monday")
    assert done.returncode == 1
    assert "NO_ROOM" in done.stderr
    (small_disk / "filler").unlink()
    assert Backup(site, "monday").ended()
    site.worker()
    site.check(lost=0)
    counts["faults"] += 2
    counts["backups"] += 1


def free(folder: Path) -> int:
    """Bytes that the disk of a folder has free."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize
