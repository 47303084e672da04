"""Chords and groups beside the same jobs without: what it costs that the broker counts, hands over and goes on."""

from __future__ import annotations

from pathlib import Path

from .memory import Peak, settled_bytes
from .rounds import Sample, answer
from .scene import Scene
from .sizes import Sizes


def measure(sizes: Sizes, folder: Path) -> Sample:
    """Jobs, groups and chords in turn, of two sizes; one large chord, while the broker is watched; a long chain."""
    with Scene(folder, "tq_workflows") as scene:
        scene.worker("workflows", 2)
        small = scene.step("compare", sizes.chord // 10, sizes.chord_rounds)
        middle = scene.step("compare", sizes.chord, sizes.chord_rounds)
        large = _large(scene, sizes.chord_large)
        chain = scene.step("links", sizes.links)
        return {
            "jobs": sizes.chord,
            **middle,
            "group_ratio": middle["group_s"] / middle["plain_s"],
            "chord_ratio": middle["chord_s"] / middle["plain_s"],
            "plain_us": 1e6 * middle["plain_s"] / sizes.chord,
            "group_us": 1e6 * middle["group_s"] / sizes.chord,
            "chord_us": 1e6 * middle["chord_s"] / sizes.chord,
            "small_group_us": 1e7 * small["group_s"] / sizes.chord,
            "small_chord_us": 1e7 * small["chord_s"] / sizes.chord,
            **large,
            **chain,
            "foreign": scene.watch.foreign(),
        }


def _large(scene: Scene, count: int) -> Sample:
    """One chord: how long it takes, what memory the broker has at most, and how long it lets others wait."""
    before = settled_bytes(scene.broker.pid)
    with scene.client("probe") as prober:
        prober.wait_until(lambda: "probing" in prober.output(), "probing")
        with Peak(scene.broker.pid) as peak:
            seconds = scene.step("once", count)["seconds"]
        prober.terminate()
        probed = answer(prober)
    return {
        "large_s": seconds,
        "large_chord_us": 1e6 * seconds / count,
        "large_heap_mib": (peak.bytes - before) / 2**20,
        "large_kept_mib": (settled_bytes(scene.broker.pid) - before) / 2**20,
        "large_longest_ms": probed["longest_ms"],
        "large_p99_ms": probed["p99_ms"],
    }
