"""Who is measured, and with which settings: what their documentation gives by default, plus what durability needs."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
ROOT = HERE.parents[1]
OUR_BIN = Path(sys.executable).parent
RIVALS_BIN = ROOT / ".venv-rivals" / "bin"
RIVALS_PACKAGES = ("celery[redis]", "dramatiq[rabbitmq,redis]", "rq")

OURS = "tqbroker"
QUORUM = "celery-rabbitmq"
"""The rival that a bar of design section 10 is a multiple of."""


@dataclass(frozen=True)
class System:
    """One task queue as it is run here. `workers` are the commands of its worker processes, two slots in all."""

    name: str
    app: str
    servers: tuple[str, ...]
    workers: tuple[tuple[str, ...], ...]
    settings: str
    package: str
    bin: Path = RIVALS_BIN
    variant: str = "durable"
    """Which of the app's settings: those of the app that has a choice."""

    @property
    def ours(self) -> bool:
        return self.name == OURS

    def environment(self, urls: dict[str, str], marks: Path) -> dict[str, str]:
        """What its client and worker processes see."""
        own = {"BENCH_MARKS": str(marks), "BENCH_VARIANT": self.variant, "NO_COLOR": "1"}
        return plain_environment() | urls | own

    def client(self, step: str, *numbers: int) -> list[str]:
        """The command of a client process that does one step."""
        return [str(self.bin / "python"), "-m", "tqbench.apps.driver", self.app, step, *map(str, numbers)]


def plain_environment() -> dict[str, str]:
    """Ours without anybody's settings: a TQBROKER_... of the caller must not change what is measured.

    A PYTHONPATH does on purpose: by it another checkout is measured.
    """
    path = os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH"))))
    return {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ} | {"PYTHONPATH": path}


CELERY_WORKER = (("celery", "-A", "tqbench.apps.celery_app", "worker", "--loglevel=warning", "-c", "2"),)
RQ_WORKER = ("rq", "worker", "--quiet", "--worker-class", "rq.worker.SimpleWorker", "bench")

SYSTEMS = (
    System(
        OURS,
        "tq_app",
        ("tqbroker",),
        (("tqbroker", "worker", "-A", "tqbench.apps.tq_app", "--loglevel=warning", "-c", "2"),),
        "defaults: every answer after its fsync; 2 processes",
        "tqbroker",
        OUR_BIN,
    ),
    System(
        "celery-redis",
        "celery_app",
        ("redis-durable",),
        CELERY_WORKER,
        "prefork 2, task_acks_late, reject_on_worker_lost, results in the same Redis; appendonly, appendfsync always",
        "celery",
    ),
    System(
        QUORUM,
        "celery_app",
        ("rabbitmq", "redis"),
        CELERY_WORKER,
        "prefork 2, quorum queue, publisher confirms, task_acks_late, reject_on_worker_lost; results in Redis with its "
        "default snapshots (not durable, to its favour)",
        "celery",
    ),
    System(
        "dramatiq-rabbitmq",
        "dramatiq_app",
        ("rabbitmq", "redis"),
        (("dramatiq", "tqbench.apps.dramatiq_app", "--processes", "2"),),
        "2 processes of 8 threads (its default), durable queue, confirm_delivery; results in Redis with its default "
        "snapshots (not durable, to its favour)",
        "dramatiq",
    ),
    System(
        "rq-redis",
        "rq_app",
        ("redis-durable",),
        (RQ_WORKER, RQ_WORKER),
        "2 SimpleWorker processes (faster than its default of a fork per job); appendonly, appendfsync always",
        "rq",
    ),
)
