"""The figures that the design asks for, and how ours compare with them."""

from __future__ import annotations

from dataclasses import dataclass

QUORUM_FACTOR = 1.3
"""A sequential durable call must be this much faster than Celery's over a RabbitMQ quorum queue, in the same run."""


@dataclass(frozen=True)
class Target:
    """One line of the table. `must` and `aim` are in `unit`; None: not asked for, only shown."""

    work: str
    field: str
    title: str
    unit: str
    must: float | None = None
    aim: float | None = None
    more_is_better: bool = False
    ratio: bool = False
    """Whether rivals are measured as well."""


TARGETS = (
    Target("calls", "per_second", "delay(), one after the other", "/s", aim=1000, more_is_better=True, ratio=True),
    Target("calls", "p50_ms", "  p50", "ms"),
    Target("calls", "p99_ms", "  p99", "ms"),
    Target("threads", "per_second", "delay() from 4 threads", "/s", more_is_better=True),
    Target("bulk", "per_second", "delay_many()", "/s", must=150_000, more_is_better=True),
    Target("drain", "per_second", "drain, 2 slots, results stored", "/s", must=50_000, more_is_better=True, ratio=True),
    Target("drain", "per_second_with_start", "  start of the worker included", "/s", more_is_better=True),
    Target("round_trips", "p50_ms", "delay().get(), idle, p50", "ms", must=2.6, aim=1.8, ratio=True),
    Target("round_trips", "p99_ms", "delay().get(), idle, p99", "ms", must=4.5, aim=3.5, ratio=True),
    Target("footprint", "heap_bytes_per_job", "broker heap per queued job", "bytes", must=5),
    Target("footprint", "disk_bytes_per_job", "disk per queued job", "bytes"),
    Target("startup", "import_ms", "import", "ms", must=40, ratio=True),
    Target("startup", "help_ms", "--help", "ms", must=150, ratio=True),
)


def verdict(value: float, must: float | None, aim: float | None, more_is_better: bool) -> str:
    """In words, with the distance to what was missed."""

    def missed(bar: float) -> float:
        return (bar - value if more_is_better else value - bar) / bar

    if must is not None and missed(must) > 0:
        return f"MISSED by {missed(must):.0%}"
    if aim is not None and missed(aim) > 0:
        return f"{'met, ' if must is not None else ''}aim missed by {missed(aim):.0%}"
    return "met" if must is not None or aim is not None else ""
