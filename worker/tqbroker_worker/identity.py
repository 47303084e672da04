"""Who this worker is to the broker."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version

from tqbroker.exceptions import ImproperlyConfigured
from tqbroker.routing import DIRECT
from tqbroker.schedule_messages import declared_message
from tqbroker.schedule_values import Declared
from tqbroker.v1 import worker_pb2 as pb
from tqbroker_worker.config import WorkerConfig
from tqbroker_worker.protocol import Manifest, TaskLimits


@dataclass(frozen=True, slots=True)
class Identity:
    """What the first message of each stream says, apart from leases. `instance` tells it from its namesakes.

    `limits` are those that the app declares for its tasks, by the task's name; `schedules` those that it declares,
    None when it says nothing of schedules, under the name `app`.
    """

    name: str
    queues: tuple[str, ...]
    tasks: tuple[str, ...]
    slots: int
    pool: str
    instance: bytes = field(default_factory=lambda: os.urandom(16))
    labels: tuple[str, ...] = ()
    limits: tuple[tuple[str, TaskLimits], ...] = ()
    app: str = ""
    schedules: tuple[Declared, ...] | None = None

    @classmethod
    def of(cls, config: WorkerConfig, manifest: Manifest) -> Identity:
        """From the command line and what the app contains. Raises ImproperlyConfigured when no queue is left."""
        named = (*(config.queues or manifest.queues), *([f"{DIRECT}{config.name}"] if manifest.settings.direct else []))
        queues = tuple(dict.fromkeys(queue for queue in named if queue not in config.exclude))
        if not queues:
            raise ImproperlyConfigured(f"-X leaves no queue to take jobs from: {', '.join(named)} are all excluded")
        return cls(
            config.name,
            queues,
            tuple(manifest.tasks),
            config.slots,
            config.kind,
            labels=config.labels,
            limits=tuple(_limits(manifest)),
            app=manifest.app,
            schedules=None if manifest.schedules is None else tuple(manifest.schedules),
        )

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
            version=_version(),
            labels=self.labels,
            limits=[_rule(task, limits) for task, limits in self.limits],
            schedules=None if self.schedules is None else declared_message(self.app, self.schedules),
        )


@cache
def _version() -> str:
    """Ours; finding out takes a millisecond, and a worker whose broker is away says hello every second."""
    return version("tqbroker")


def _limits(manifest: Manifest) -> list[tuple[str, TaskLimits]]:
    """The limits of every task that has some of its own, or gets the app's default rate."""
    default = manifest.settings.limits
    found = ((task, manifest.limits.get(task, default)) for task in manifest.tasks)
    return [(task, limits) for task, limits in found if limits.rates or limits.max_concurrency]


def _rule(task: str, limits: TaskLimits) -> pb.LimitRule:
    rates = [pb.Rate(count=count, period_ms=period_ms) for count, period_ms in limits.rates]
    return pb.LimitRule(name=f"task:{task}", concurrency=limits.max_concurrency, rates=rates)
