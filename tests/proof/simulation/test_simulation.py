"""A broker, twenty workers and their clients in virtual time, with everything that goes wrong between them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from tests.mutants.catching import catches
from tests.mutants.registry import planted
from tests.proof.amount import amount, seeds
from tests.proof.plugin import WORK
from tests.proof.simulation.world import Report, Scale, simulate

SHORT = Scale(minutes=3.0)
STORMY = Scale(minutes=1.0, workers=8, job_every=0.5, fault_every=2.0)
BUSY = Scale(minutes=10.0)
SLOW = Scale(minutes=300.0, stretch=60.0)


def count(report: Report, counts: Counter[str]) -> None:
    """Adds what a world has seen: `faults` are those that have no place of their own in the total."""
    counts.update(report.faults)
    counts["faults"] += sum(number for kind, number in report.faults.items() if kind not in WORK)
    counts["seeds"] += 1
    counts["minutes"] += round(report.minutes)
    counts["steps"] += report.steps
    counts["jobs"] += report.jobs


@pytest.mark.proof("T30")
@seeds(usual=2, proof=40)
def test_every_promise_holds_whatever_goes_wrong(seed: int, counts: Counter[str]) -> None:
    world = amount_of_world(seed)
    report = simulate(seed, world, "memory" if seed % 4 == 0 and world is not SLOW else "lmdb")
    count(report, counts)
    assert not report.violations, str(report)


def amount_of_world(seed: int) -> Scale:
    """In `make proof` every third world is one in which everything takes its time: hours of faults, hour-long jobs.

    It is too long for the engine in memory, which looks at everything whenever it looks at something.
    """
    return amount(SHORT, SLOW if seed % 3 == 0 else BUSY)


def test_a_seed_gives_the_same_world_again() -> None:
    scale = Scale(minutes=1.5)
    assert simulate(7, scale).trace == simulate(7, scale).trace


CAUGHT_BY = {
    "deadlines_on_wall_clock": (("I1", "I4"), replace(STORMY, only=("clock",))),
    "slot_not_in_the_commit": (("I7",), replace(STORMY, only=("kill",))),
    "stall_not_forgiven": (("I4",), replace(STORMY, only=("stall",), schedules=False)),
}
"""The promises that a bug breaks, and a world that shows it."""


@catches("deadlines_on_wall_clock", "slot_not_in_the_commit", "stall_not_forgiven")
def test_a_world_with_a_bug_breaks_a_promise(mutant: str, counts: Counter[str]) -> None:
    promises, world = CAUGHT_BY[mutant]
    found: list[str] = []
    with planted(mutant):
        for seed in range(1, 9):
            report = simulate(seed, world)
            count(report, counts)
            found += report.violations
            if any(fault.startswith(promises) for fault in found):
                return
    pytest.fail(f"nobody noticed: {found}")
