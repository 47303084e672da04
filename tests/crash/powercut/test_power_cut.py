"""The power goes at any moment: what was acknowledged is there, byte for byte, and the store is sound."""

from __future__ import annotations

from collections import Counter

import pytest
from tests.acceptance.harness.site import Site
from tests.crash.powercut.recording import record, replayed
from tests.mutants.catching import catches
from tests.proof.amount import PROOF, amount, seeds
from tests.proof.preload.disk import disk

pytestmark = [pytest.mark.crash, pytest.mark.timeout(2000 if PROOF else 300)]


@pytest.mark.proof("T1")
@seeds(1, 4)
def test_nothing_acknowledged_is_lost_whenever_the_power_is_cut(site: Site, counts: Counter[str], seed: int) -> None:
    log = record(site, seed, steps=amount(25, 60))
    report = replayed(log, images=amount(3000, 6000), worked=amount(5, 40), seed=seed)

    print(f"seed {seed}: {report}")
    counts["images"] += report.images
    assert report.images > amount(1500, 4000)
    assert report.states > 30, "too few commits to say anything"
    assert not report.failures, f"seed {seed}: {report}"


@pytest.mark.proof("T1")
@pytest.mark.long
def test_a_shorter_load_loses_nothing_when_every_single_moment_of_it_is_tried(site: Site, counts: Counter[str]) -> None:
    report = replayed(record(site, 5, steps=12), images=10**6, worked=0, seed=5)

    print(report)
    counts["images"] += report.images
    assert report.moments == report.possible > 500
    assert not report.failures, report


@pytest.mark.proof("T1")
def test_a_new_store_is_usable_whenever_the_power_is_cut_during_the_first_start(
    site: Site, counts: Counter[str]
) -> None:
    log = site.folder / "log"
    site.broker(**disk(site.data, log=log)).discard()
    report = replayed(log, images=10**6, worked=5, seed=1)

    counts["images"] += report.images
    assert report.images > 20
    assert not report.failures, report


@catches("reply_before_commit", "sync_after_commit")
def test_the_replay_finds_what_is_acknowledged_too_early(site: Site, counts: Counter[str], mutant: str) -> None:
    finds(site, counts, mutant, {"reply_before_commit": "lost", "sync_after_commit": "unusable"}[mutant])


@catches("count_drifts")
def test_the_replay_finds_rows_that_do_not_agree(site: Site, counts: Counter[str], mutant: str) -> None:
    finds(site, counts, mutant, "unsound")


@catches("no_flush", "no_metasync")
@pytest.mark.long
def test_the_replay_finds_what_is_flushed_too_late(site: Site, counts: Counter[str], mutant: str) -> None:
    finds(site, counts, mutant, "lost")


def finds(site: Site, counts: Counter[str], mutant: str, kind: str) -> None:
    """A broker with a bug is recorded; many images are wrong in the way that follows from it."""
    report = replayed(record(site, 1, steps=10, mutant=mutant), images=800, worked=0, seed=1)

    print(f"{mutant}: {report}")
    counts["images"] += report.images
    assert report.failures.get(kind, 0) > 0, report
