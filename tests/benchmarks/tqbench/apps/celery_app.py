"""Celery, on RabbitMQ quorum queues when BENCH_RABBITMQ is set, else on Redis; results in Redis in both cases.

The rivals are imported by name: they live in an environment of their own, where no type checker looks.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from . import work

QUORUM = {
    "task_default_queue_type": "quorum",
    "broker_transport_options": {"confirm_publish": True},
}
DURABLE = {
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
}

rabbitmq = os.environ.get("BENCH_RABBITMQ")
results = os.environ["BENCH_REDIS"] + "/1"

app: Any = import_module("celery").Celery("bench", broker=rabbitmq or os.environ["BENCH_REDIS"] + "/0", backend=results)
app.conf.update(DURABLE | (QUORUM if rabbitmq else {}))
add: Any = app.task(name="add")(work.add)


class Client:
    """How the driver submits, reads and counts."""

    def __init__(self) -> None:
        self._results: Any = import_module("redis").Redis.from_url(results)

    def delay(self, x: int, y: int) -> Any:
        return add.delay(x, y)

    def get(self, handle: Any) -> int:
        total: int = handle.get(timeout=30)
        return total

    def stored(self) -> int:
        count: int = self._results.dbsize()
        return count
