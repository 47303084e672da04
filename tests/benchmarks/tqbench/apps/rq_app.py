"""RQ on Redis."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from . import work


class Client:
    """How the driver submits, reads and counts."""

    def __init__(self) -> None:
        redis: Any = import_module("redis").Redis.from_url(os.environ["BENCH_REDIS"])
        self._queue: Any = import_module("rq").Queue("bench", connection=redis)

    def delay(self, x: int, y: int) -> Any:
        return self._queue.enqueue(work.add, x, y)

    def submit(self, number: int) -> None:
        self._queue.enqueue(work.record, number)

    def get(self, handle: Any) -> int:
        total: int = handle.latest_result(timeout=30).return_value
        return total

    def stored(self) -> int:
        count: int = self._queue.finished_job_registry.get_job_count(cleanup=False)
        return count
