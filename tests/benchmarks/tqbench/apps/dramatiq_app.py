"""Dramatiq, on RabbitMQ when BENCH_RABBITMQ is set, else on Redis; results in Redis, if there are both."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from . import work

rabbitmq = os.environ.get("BENCH_RABBITMQ")
redis = os.environ.get("BENCH_REDIS")
results = f"{redis}/1" if rabbitmq and redis else None
CONFIRMED = os.environ["BENCH_VARIANT"] != "default"
"""Whether RabbitMQ confirms what it has been sent."""

dramatiq: Any = import_module("dramatiq")
brokers: Any = import_module(f"dramatiq.brokers.{'rabbitmq' if rabbitmq else 'redis'}")
broker: Any = (
    brokers.RabbitmqBroker(url=rabbitmq, confirm_delivery=CONFIRMED) if rabbitmq else brokers.RedisBroker(url=redis)
)
if results:
    backend: Any = import_module("dramatiq.results.backends").RedisBackend(url=results)
    broker.add_middleware(import_module("dramatiq.results").Results(backend=backend))
dramatiq.set_broker(broker)
add: Any = dramatiq.actor(store_results=True)(work.add) if results else dramatiq.actor(work.add)
record: Any = dramatiq.actor(work.record)


class Client:
    """How the driver submits, reads and counts."""

    def __init__(self) -> None:
        self._results: Any = import_module("redis").Redis.from_url(results) if results else None

    def delay(self, x: int, y: int) -> Any:
        return add.send(x, y)

    def submit(self, number: int) -> None:
        record.send(number)

    def get(self, handle: Any) -> int:
        total: int = handle.get_result(block=True, timeout=30_000)
        return total

    def stored(self) -> int:
        count: int = self._results.dbsize()
        return count
