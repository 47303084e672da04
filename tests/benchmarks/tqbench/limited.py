"""A rate over several workers: as many starts as it allows, and never more."""

from __future__ import annotations

from pathlib import Path

from .apps import records
from .rounds import Sample, answer
from .scene import Scene
from .sizes import Sizes

RATE = 500
"""That of the task `limited` in apps/tq_features.py: in no second more starts than this."""
WORKERS = 4
WARM_UP = 200
"""Plain jobs before, so that workers are there."""


def measure(sizes: Sizes, folder: Path) -> Sample:
    """Submits jobs for a little longer than is looked at, and counts the starts by the second."""
    seconds = sizes.limited_s
    count = RATE * (seconds + 1)
    with Scene(folder) as scene:
        for number in range(WORKERS):
            scene.worker(f"limited-{number}", 1)
        scene.step("fill", WARM_UP)
        answer(scene.drain(WARM_UP))
        drained = scene.drain(WARM_UP + count)
        scene.step("limit", count)
        answer(drained)
        foreign = scene.watch.foreign()
        starts = sorted(start.started for start in records.read(scene.marks))
    rate = sum(started < starts[0] + seconds for started in starts) / seconds
    return {
        "jobs": count,
        "per_second": rate,
        "off_percent": 100 * abs(rate - RATE) / RATE,
        "most_in_a_second": most_in_a_second(starts),
        "foreign": foreign,
    }


def most_in_a_second(starts: list[float]) -> int:
    """The most starts of any second, whenever it begins."""
    most = first = 0
    for number, started in enumerate(starts):
        while started - starts[first] >= 1.0:
            first += 1
        most = max(most, number - first + 1)
    return most
