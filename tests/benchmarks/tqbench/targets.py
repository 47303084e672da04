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
    Target("delayed", "heap_bytes_per_job", "broker heap per delayed job", "bytes", must=5),
    Target("delayed", "worker_mib", "  growth of the worker", "MiB", must=1),
    Target("delayed", "fill_per_second", "  stored, a time for each", "/s", more_is_better=True),
    Target("delayed", "unexplained", "  ran twice at two kill -9", "jobs", must=0),
    Target("delayed", "late_p50_ms", "  start after due, p50", "ms"),
    Target("delayed", "late_p99_ms", "  start after due, p99", "ms"),
    Target("delayed", "behind_s", "  all done after the last due", "s"),
    Target("lanes", "heap_bytes_per_lane", "broker heap per ordering key", "bytes", must=500),
    Target("lanes", "open_s", "  listens again after kill -9", "s", must=2),
    Target("lanes", "fill_per_second", "  stored, a key each", "/s", more_is_better=True),
    Target("lanes", "per_second", "  drained, 2 slots", "/s", more_is_better=True),
    Target("limited", "off_percent", "500/s over 4 workers: off by", "%", must=2),
    Target("limited", "most_in_a_second", "  most starts in a second", ""),
    Target("operators", "page_ms", "page of 1,000 dead letters", "ms"),
    Target("operators", "share_percent", "drain while all is read, of idle", "%", aim=90, more_is_better=True),
    Target("workflows", "chord_ratio", "chord, of the same jobs alone", "x", must=2),
    Target("workflows", "group_ratio", "group, of the same jobs alone", "x", must=2),
    Target("workflows", "small_plain_us", "  a tenth as many: a job alone", "us"),
    Target("workflows", "small_group_us", "    of a group", "us"),
    Target("workflows", "small_chord_us", "    of a chord", "us"),
    Target("workflows", "middle_plain_us", "  as many: a job alone", "us"),
    Target("workflows", "middle_group_us", "    of a group", "us"),
    Target("workflows", "middle_chord_us", "    of a chord", "us"),
    Target("workflows", "large_plain_us", "  ten times as many: a job alone", "us"),
    Target("workflows", "large_group_us", "    of a group", "us"),
    Target("workflows", "large_chord_us", "    of a chord", "us"),
    Target("workflows", "chord_s", "  that chord in all", "s"),
    Target("workflows", "chord_heap_mib", "    heap of the broker, at most", "MiB"),
    Target("workflows", "chord_kept_mib", "    heap of the broker, afterwards", "MiB"),
    Target("workflows", "chord_longest_ms", "    longest wait for a health check", "ms"),
    Target("workflows", "chord_p99_ms", "    p99 of these waits", "ms"),
    Target("workflows", "link_ms", "a link of a chain", "ms"),
    Target("startup", "import_ms", "import", "ms", must=40, ratio=True),
    Target("startup", "help_ms", "--help", "ms", must=150, ratio=True),
)


def verdict(value: float, must: float | None, aim: float | None, more_is_better: bool) -> str:
    """In words, with the distance to what was missed."""

    def missed(bar: float) -> float:
        return (bar - value if more_is_better else value - bar) / (bar or 1)

    if must is not None and missed(must) > 0:
        return f"MISSED by {missed(must):.0%}" if must else "MISSED"
    if aim is not None and missed(aim) > 0:
        return f"{'met, ' if must is not None else ''}aim missed by {missed(aim):.0%}"
    return "met" if must is not None or aim is not None else ""
