"""Who this worker is to the broker."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from importlib.metadata import version

from tqbroker.v1 import worker_pb2 as pb
from tqbroker_worker.config import WorkerConfig
from tqbroker_worker.protocol import Manifest


@dataclass(frozen=True, slots=True)
class Identity:
    """What the first message of each stream says, apart from leases. `instance` tells it from its namesakes."""

    name: str
    queues: tuple[str, ...]
    tasks: tuple[str, ...]
    slots: int
    pool: str
    instance: bytes = field(default_factory=lambda: os.urandom(16))

    @classmethod
    def of(cls, config: WorkerConfig, manifest: Manifest) -> Identity:
        """From the command line and what the app contains."""
        queues = config.queues or (manifest.default_queue,)
        return cls(config.name, queues, tuple(manifest.tasks), config.concurrency, config.pool)

    def hello(self) -> pb.Hello:
        """The message, without leases."""
        return pb.Hello(
            name=self.name,
            instance=self.instance,
            queues=self.queues,
            tasks=self.tasks,
            slots=self.slots,
            pool=self.pool,
            host=platform.node(),
            pid=os.getpid(),
            version=version("tqbroker"),
        )
