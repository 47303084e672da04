"""One job on its way through an executor, from the moment it is begun."""

from __future__ import annotations

from time import perf_counter, time
from typing import Any

from tqbroker.request import Request
from tqbroker_worker.delivery import Job
from tqbroker_worker.plans import Plan

_NO_CALL: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})


class Attempt:
    """One job on its way through an executor. `request` and `plan` are there once it is decoded."""

    __slots__ = ("call", "clock", "job", "plan", "request", "started_ms")

    def __init__(self, job: Job) -> None:
        self.job = job
        self.started_ms = int(time() * 1000)
        self.clock = perf_counter()
        self.plan: Plan | None = None
        self.request: Request | None = None
        self.call: tuple[tuple[Any, ...], dict[str, Any]] = _NO_CALL

    def runtime_us(self) -> int:
        """Microseconds since it began."""
        return int((perf_counter() - self.clock) * 1_000_000)
