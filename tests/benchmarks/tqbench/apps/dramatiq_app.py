"""Dramatiq on RabbitMQ with publisher confirms, results in Redis."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from . import work

results = os.environ["BENCH_REDIS"] + "/1"

dramatiq: Any = import_module("dramatiq")
broker: Any = import_module("dramatiq.brokers.rabbitmq").RabbitmqBroker(
    url=os.environ["BENCH_RABBITMQ"], confirm_delivery=True
)
backend: Any = import_module("dramatiq.results.backends").RedisBackend(url=results)
broker.add_middleware(import_module("dramatiq.results").Results(backend=backend))
dramatiq.set_broker(broker)
add: Any = dramatiq.actor(store_results=True)(work.add)


class Client:
    """How the driver submits, reads and counts."""

    def __init__(self) -> None:
        self._results: Any = import_module("redis").Redis.from_url(results)

    def delay(self, x: int, y: int) -> Any:
        return add.send(x, y)

    def get(self, handle: Any) -> int:
        total: int = handle.get_result(block=True, timeout=30_000)
        return total

    def stored(self) -> int:
        count: int = self._results.dbsize()
        return count
