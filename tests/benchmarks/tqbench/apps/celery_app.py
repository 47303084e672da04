"""Celery, on RabbitMQ when BENCH_RABBITMQ is set, else on Redis; results in Redis in both cases, if there is one.

The rivals are imported by name: they live in an environment of their own, where no type checker looks.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from . import work

CONFIRMED = {"broker_transport_options": {"confirm_publish": True}}
RABBITMQ: dict[str, dict[str, Any]] = {
    "default": {},
    "confirmed": CONFIRMED,
    "durable": CONFIRMED | {"task_default_queue_type": "quorum"},
}
"""How what is submitted is kept, by BENCH_VARIANT; with Redis that is the server's matter alone."""
KEPT_BY_WORKERS = {
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
}

rabbitmq = os.environ.get("BENCH_RABBITMQ")
redis = os.environ.get("BENCH_REDIS")
results = f"{redis}/1" if redis else None

app: Any = import_module("celery").Celery("bench", broker=rabbitmq or f"{redis}/0", backend=results)
app.conf.update(KEPT_BY_WORKERS | (RABBITMQ[os.environ["BENCH_VARIANT"]] if rabbitmq else {}))
add: Any = app.task(name="add")(work.add)
record: Any = app.task(name="record", ignore_result=True)(work.record)


class Client:
    """How the driver submits, reads and counts."""

    def __init__(self) -> None:
        self._results: Any = import_module("redis").Redis.from_url(results) if results else None

    def delay(self, x: int, y: int) -> Any:
        return add.delay(x, y)

    def submit(self, number: int) -> None:
        record.delay(number)

    def get(self, handle: Any) -> int:
        total: int = handle.get(timeout=30)
        return total

    def stored(self) -> int:
        count: int = self._results.dbsize()
        return count
