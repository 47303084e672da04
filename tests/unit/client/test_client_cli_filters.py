"""What the operator's commands refuse before they ask a broker, and how they read times and filters."""

from __future__ import annotations

import time

import pytest
from click.testing import CliRunner

from tqbroker import cli
from tqbroker.commands.filters import job_filter
from tqbroker.commands.tables import duration, size
from tqbroker.operations import JobFilter
from tqbroker.states import Phase

EVERYTHING = {"queue": "", "task": "", "stamps": (), "worker": "", "error": "", "since": None, "until": None}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("jobs cancel", "--all"),
        ("jobs cancel some-id --queue mail", "either jobs by their ids"),
        ("jobs cancel some-id --all", "either jobs by their ids"),
        ("jobs list --since yesterday", "10m"),
        ("jobs list --state unknown", "queued"),
        ("jobs reschedule some-id", "--countdown"),
        ("jobs reschedule some-id --eta soon", "ISO time"),
        ("jobs reschedule some-id --countdown -1", "-1"),
        ("jobs move some-id", "--to-queue"),
        ("jobs move some-id --priority 10", "10"),
        ("dead redrive some-id other-id --args [1]", "one job"),
        ("dead redrive --all --rate often", "10/s"),
        ("queues set mail", "--max-length"),
        ("queues set mail --overflow burst", "drop-oldest"),
        ("queues set mail --weight acme", "acme=3"),
        ("limits set task:x", "--concurrency"),
        ("limits set task:x --rate 1/w", "10/s"),
        ("control pool_grow many", "many"),
        ("control add_consumer", "QUEUE"),
        ("control time_limit tasks.add soon", "number of seconds"),
        ("control rate_limit tasks.add often", "10/s"),
        ("inspect ping everybody", "no arguments"),
        ("inspect query_task", "ID"),
        ("jobs move some-id --to-queue=", "--to-queue is empty"),
        ("jobs list --stamp customer", "customer=12"),
        ("control explode", "explode"),
        ("inspect everything", "everything"),
        ("events --type task-lost-and-found", "task-failed"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error_that_says_what_to_write(line: str, said: str) -> None:
    result = CliRunner().invoke(cli.cli, line.split())

    assert result.exit_code == 2, result.output
    assert said in result.output


def test_a_filter_reads_times_as_iso_or_as_so_long_ago() -> None:
    before = time.time() * 1000
    wanted = job_filter({Phase.FAILED}, {**EVERYTHING, "since": "2h", "until": "2030-01-01T00:00+00:00"})

    assert -1 <= wanted.submitted_after_ms - (before - 7_200_000) < 60_000
    assert wanted.submitted_before_ms == 1_893_456_000_000
    assert wanted.phases == {Phase.FAILED}
    assert job_filter((), dict(EVERYTHING)) == JobFilter()


def test_times_and_sizes_are_shown_in_the_largest_unit_that_fits() -> None:
    assert [duration(each) for each in (0, 0.25, 59, 3600, 90_000)] == ["0 s", "250 ms", "59 s", "1 h", "1 d"]
    assert [size(each) for each in (10, 2048, 3 << 20, 5 << 30)] == ["10 B", "2 KiB", "3 MiB", "5.0 GiB"]
