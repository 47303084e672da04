"""What operators see of a long queue, and what their looking costs a drain: a page of dead letters, a read of all."""

from __future__ import annotations

from pathlib import Path

from .rounds import Sample, answer
from .scene import Scene
from .sizes import Sizes

PAGES = 9
DEAD = 2000
"""Dead letters: more than a page."""


def measure(sizes: Sizes, folder: Path) -> Sample:
    """Dead letters, a long queue behind them; a drain of that, and another one while everything is read."""
    count = sizes.backlog
    with Scene(folder) as scene:
        scene.step("fail", DEAD)
        with scene.worker("failing", 2):
            answer(scene.drain(DEAD))
        scene.step("fill", count)
        page = scene.step("page", PAGES)
        idle = _drain(scene, DEAD + count, count)
        scene.step("fill", count)
        with scene.client("scan") as scanner:
            scanner.wait_until(lambda: "scanning" in scanner.output(), "scanning")
            busy = _drain(scene, DEAD + 2 * count, count)
            scanner.terminate()
            scanned = answer(scanner)
        return {
            "jobs": 2 * count,
            "page_ms": page["page_ms"],
            "idle_per_second": idle,
            "scanned_per_second": scanned["per_second"],
            "share_percent": 100 * busy / idle,
            "foreign": scene.watch.foreign(),
        }


def _drain(scene: Scene, ended: int, jobs: int) -> float:
    drained = scene.drain(ended)
    with scene.worker("draining", 2):
        done = answer(drained)
    return jobs / (done["at"] - done["first"])
