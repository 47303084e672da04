"""What a queued job costs the broker while nobody works: memory of its own, and disk."""

from __future__ import annotations

from pathlib import Path

from . import servers
from .load import Watch
from .memory import disk_bytes, settled_bytes
from .processes import Process
from .rounds import Sample, answer
from .sizes import Sizes
from .systems import System


def measure(system: System, sizes: Sizes, folder: Path) -> Sample:
    """Fills a queue twice. The first filling pays for buffers and caches once; the second one is what a job costs."""
    folder.mkdir(parents=True)
    watch = Watch()
    with servers.running(system.servers, folder) as up:
        broker, data = up.processes[0].pid, folder / system.servers[0]
        environment = system.environment(up.urls, folder)

        def fill(count: int) -> tuple[int, int]:
            with Process("fill", system.client("bulk", count), environment, folder) as client:
                answer(client)
            return settled_bytes(broker), disk_bytes(data)

        empty = settled_bytes(broker)
        first, first_disk = fill(sizes.footprint_first)
        full, full_disk = fill(sizes.footprint_more)
    return {
        "jobs": sizes.footprint_more,
        "heap_bytes_per_job": (full - first) / sizes.footprint_more,
        "disk_bytes_per_job": (full_disk - first_disk) / sizes.footprint_more,
        "empty_mib": empty / 2**20,
        "full_mib": full / 2**20,
        "foreign": watch.foreign(),
    }
