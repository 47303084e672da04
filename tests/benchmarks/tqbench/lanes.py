"""As many lanes as customers, each with one or two queued jobs: memory, opening, and how fast they are drained."""

from __future__ import annotations

from pathlib import Path

from .memory import settled_bytes
from .rounds import Sample, answer
from .scene import Scene
from .sizes import Sizes

SHARE_BEFORE = 4
"""One in so many lanes is there before the memory that the others cost is measured, and pays for buffers and caches."""


def measure(sizes: Sizes, folder: Path) -> Sample:
    """Fills, kills and restarts the broker, and drains."""
    before = sizes.lanes // SHARE_BEFORE
    more = sizes.lanes - before
    with Scene(folder) as scene:
        jobs = scene.step("lanes", 0, before)["jobs"]
        first = settled_bytes(scene.broker.pid)
        filled = scene.step("lanes", before, more)
        full = settled_bytes(scene.broker.pid)
        opened = scene.restart_broker()
        jobs += filled["jobs"]
        drained = scene.drain(int(jobs))
        scene.worker("lanes", 2)
        done = answer(drained)
        return {
            "jobs": jobs,
            "fill_per_second": filled["per_second"],
            "heap_bytes_per_lane": (full - first) / more,
            "open_s": opened,
            "per_second": jobs / (done["at"] - done["first"]),
            "foreign": scene.watch.foreign(),
        }
