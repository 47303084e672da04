"""What a worker prints when it starts, so that one sees at once what it is connected to and what it runs."""

from __future__ import annotations

import os
from importlib.metadata import version

from tqbroker.registry import is_builtin
from tqbroker_worker.config import WorkerConfig
from tqbroker_worker.identity import Identity
from tqbroker_worker.protocol import Manifest


def banner(config: WorkerConfig, manifest: Manifest, identity: Identity, url: str) -> str:
    """The text, several lines."""
    lines = [
        f" -------------- {identity.name}  tqbroker {version('tqbroker')}, pid {os.getpid()}",
        "",
        " [config]",
        f" .> app:         {manifest.app or config.app}",
        f" .> broker:      {url}",
        f" .> concurrency: {identity.slots} ({identity.pool})",
        "",
        " [queues]",
        *(f" .> {queue}" for queue in identity.queues),
        "",
        " [tasks]",
        *(f"  . {task}" for task in identity.tasks if not is_builtin(task)),
        "",
    ]
    return "\n".join(lines)
