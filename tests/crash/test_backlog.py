"""A broker with ten million queued jobs dies, and hands out the first of them two seconds after it is started again."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from tests.benchmarks.tqbench import backlog

JOBS = 10_000_000
SECONDS, MEGABYTES, FILLING = 2.0, 150.0, 90.0
"""On a machine that starts a broker without any job within a second; on one that is busy so much more."""

pytestmark = [pytest.mark.crash, pytest.mark.long, pytest.mark.proof("T17"), pytest.mark.timeout(600)]


def test_ten_million_queued_jobs_neither_slow_a_start_down_nor_fill_the_memory(
    folder: Path, counts: Counter[str]
) -> None:
    figures = backlog.measure(JOBS, folder)

    counts["jobs"] += JOBS
    counts["kills"] += 1
    counts["ms to the first job"] = round(figures[backlog.FIRST] * 1000)
    counts["MB of memory"] = round(figures[backlog.DRAINING])
    counts["ms to start without a job"] = round(figures[backlog.EMPTY] * 1000)
    counts["seconds to fill"] = round(figures[backlog.FILLING])
    slow = max(1.0, figures[backlog.EMPTY])
    assert figures[backlog.READY] < SECONDS * slow
    assert figures[backlog.FIRST] < SECONDS * slow
    assert max(figures[backlog.ALONE], figures[backlog.DRAINING]) < MEGABYTES
    assert figures[backlog.FILLING] < FILLING * slow
