"""Many delayed jobs: what they cost while they wait, and whether each runs once although the broker is killed twice."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from statistics import quantiles

from .apps import records
from .memory import settled_bytes, tree_bytes
from .processes import RunError
from .rounds import Sample, answer
from .scene import Scene
from .sizes import Sizes

KILLS = (0.3, 0.6)
"""Where in the span of the due times the broker is killed and started again."""
SHARE_BEFORE = 2
"""One in so many jobs is there before the memory that the others cost is measured, and pays for buffers and caches."""


def measure(sizes: Sizes, folder: Path) -> Sample:
    """Fills, waits for the due times, kills the broker meanwhile, and counts the starts. Raises RunError."""
    count, before = sizes.delayed, sizes.delayed // SHARE_BEFORE
    with Scene(folder) as scene:
        worker = scene.worker("delayed", 2)
        due = time.time() + sizes.delayed_lead_s
        times = int(1000 * due), int(1000 * sizes.delayed_span_s)
        scene.step("delay", 0, before, *times)
        broker_then, worker_then = settled_bytes(scene.broker.pid), tree_bytes(worker.pid)
        filled = scene.step("delay", before, count - before, *times)
        broker_now, worker_now = settled_bytes(scene.broker.pid), tree_bytes(worker.pid)
        if time.time() > due:
            raise RunError(f"{count:,} delayed jobs took longer to store than {sizes.delayed_lead_s:g} s: give more")
        drained = scene.drain(count)
        for share in KILLS:
            time.sleep(max(0.0, due + share * sizes.delayed_span_s - time.time()))
            scene.restart_broker()
        done = answer(drained)["at_unix"]
        foreign = scene.watch.foreign()
        starts = list(records.read(scene.marks))
    return {
        "jobs": count,
        "fill_per_second": filled["per_second"],
        "heap_bytes_per_job": (broker_now - broker_then) / (count - before),
        "worker_mib": (worker_now - worker_then) / 2**20,
        "behind_s": done - due - sizes.delayed_span_s,
        **_starts(starts, count, before, due, sizes.delayed_span_s),
        "foreign": foreign,
    }


def _starts(starts: list[records.Record], count: int, before: int, due: float, span: float) -> Sample:
    """How often each job has started, and how late. Raises RunError when one has not."""
    runs = Counter(start.number for start in starts)
    if missing := count - len(runs):
        raise RunError(f"{missing:,} of {count:,} delayed jobs have not run, though all have succeeded")
    lost = {start.number for start in starts if start.lost_leases}
    repeated = [number for number, times in runs.items() if times > 1]

    def due_of(number: int) -> float:
        return due + span * (number / before if number < before else (number - before) / (count - before))

    late = quantiles((start.started - due_of(start.number) for start in starts), n=100)
    return {
        "repeated": len(repeated),
        "unexplained": len([number for number in repeated if number not in lost]),
        "late_p50_ms": 1000 * late[49],
        "late_p99_ms": 1000 * late[98],
    }
