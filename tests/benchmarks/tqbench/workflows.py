"""Chords and groups beside the same jobs without: what it costs that the broker counts, hands over and goes on."""

from __future__ import annotations

from pathlib import Path

from .memory import Peak, settled_bytes
from .rounds import Sample, answer
from .scene import Scene
from .sizes import Sizes

KINDS = ("plain", "group", "chord")


def measure(sizes: Sizes, folder: Path) -> Sample:
    """Jobs, groups and chords of three sizes; the large chord while the broker is watched; a long chain."""
    with Scene(folder, "tq_workflows") as scene:
        scene.worker("workflows", 2)
        small = scene.step("compare", sizes.chord // 10, sizes.chord_rounds)
        middle = scene.step("compare", sizes.chord, sizes.chord_rounds)
        large = {f"{kind}_s": scene.step(kind, sizes.chord_large)["seconds"] for kind in KINDS[:-1]}
        chord = _watched_chord(scene, sizes.chord_large)
        link_ms = scene.step("links", sizes.links)["link_ms"]
        return {
            "jobs": sizes.chord,
            "group_ratio": middle["group_ratio"],
            "chord_ratio": middle["chord_ratio"],
            **_each_us("small", small, sizes.chord // 10),
            **_each_us("middle", middle, sizes.chord),
            **_each_us("large", large | chord, sizes.chord_large),
            **chord,
            "link_ms": link_ms,
            "foreign": scene.watch.foreign(),
        }


def _each_us(name: str, seconds: Sample, count: int) -> Sample:
    """Microseconds of a job, by kind."""
    return {f"{name}_{kind}_us": 1e6 * seconds[f"{kind}_s"] / count for kind in KINDS}


def _watched_chord(scene: Scene, count: int) -> Sample:
    """One chord: how long it takes, what memory the broker has at most, and how long it lets others wait."""
    before = settled_bytes(scene.broker.pid)
    with scene.client("probe") as prober:
        prober.wait_until(lambda: "probing" in prober.output(), "probing")
        with Peak(scene.broker.pid) as peak:
            seconds = scene.step("chord", count)["seconds"]
        prober.terminate()
        probed = answer(prober)
    return {
        "chord_s": seconds,
        "chord_heap_mib": (peak.bytes - before) / 2**20,
        "chord_kept_mib": (settled_bytes(scene.broker.pid) - before) / 2**20,
        "chord_longest_ms": probed["longest_ms"],
        "chord_p99_ms": probed["p99_ms"],
    }
