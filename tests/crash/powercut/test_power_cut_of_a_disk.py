"""The power of a real disk with a real file system goes at any moment: what was acknowledged is there."""

from __future__ import annotations

import contextlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from tests.acceptance.harness.site import Site
from tests.acceptance.harness.waiting import until
from tests.crash.powercut.blockreplay import DATA
from tests.crash.powercut.disk import RecordedDisk, lacking
from tests.crash.powercut.recording import load, reported
from tests.crash.powercut.replay import Report
from tests.mutants.catching import catches

pytestmark = [
    pytest.mark.crash,
    pytest.mark.long,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(lacking()), reason=lacking() or "none"),
]

ENOUGH = 4 << 20
"""Bytes that a disk writes before it fails: by then there are some thousand answers."""


def cut(site: Site, images: int, steps: int, mutant: str = "") -> Report:
    """Records a broker under load on a disk of its own, then cuts the disk's power so many times."""
    recorded = RecordedDisk(site.folder / "recorded")
    with recorded.mounted() as files:
        site.data = files / DATA
        broker = site.broker(mutant=mutant)
        with contextlib.suppress(*([AssertionError] if mutant else [])):  # one with a bug may answer anything
            load(site, recorded.acks, 1, steps)
        broker.discard()
        assert mutant or site.left() == []
    log = recorded.log()
    return reported("blockreplay", log.path, log.base, images, 1)


@pytest.mark.proof("T2")
def test_nothing_acknowledged_is_lost_when_the_power_of_a_real_disk_is_cut(site: Site, counts: Counter[str]) -> None:
    report = cut(site, images=150, steps=25)

    print(report)
    counts["images"] += report.images
    assert report.images == 150
    assert not report.failures, report


@pytest.mark.proof("T11")
def test_nothing_acknowledged_is_lost_when_a_real_disk_fails(site: Site, counts: Counter[str]) -> None:
    recorded = RecordedDisk(site.folder / "recorded")
    with recorded.mounted() as files:
        site.data = files / DATA
        broker = site.broker()
        with ThreadPoolExecutor(1) as beside:
            failing = beside.submit(fail_in_the_middle, recorded)
            with pytest.raises(grpc.RpcError):
                load(site, recorded.acks, 1, steps=200)
            failing.result()
        assert broker.wait() == 1
        broker.expect("storage has failed")
    log = recorded.log()
    report = reported("blockreplay", log.path, log.base, 30, 1)

    counts["faults"] += 1
    counts["images"] += report.images
    assert len(list(log.acknowledged(len(log.entries)))) > 100, "nobody was told anything"
    assert not report.failures, report


def fail_in_the_middle(disk: RecordedDisk) -> None:
    """The disk breaks when it has written some megabytes."""
    until(lambda: disk.written() > ENOUGH, "the disk to be written to")
    disk.fail()


@catches("sync_after_commit")
def test_power_cuts_of_a_real_disk_find_what_is_flushed_in_the_wrong_order(
    site: Site, counts: Counter[str], mutant: str
) -> None:
    report = cut(site, images=60, steps=15, mutant=mutant)

    print(f"{mutant}: {report}")
    counts["images"] += report.images
    assert sum(report.failures.values()) > 2, report
