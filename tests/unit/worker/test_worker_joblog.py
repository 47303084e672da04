from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pytest
import structlog

from tqbroker._daemon import configure_logging
from tqbroker.failures import FailureData, failure_of
from tqbroker_worker.joblog import JobLog
from tqbroker_worker.jobs import Jobs
from tqbroker_worker.protocol import Done, Ended, Verdict

MakeJobs = Callable[..., Jobs]


@pytest.fixture
def out() -> Iterator[StringIO]:
    """What was logged; the logging of the test process is put back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    out = StringIO()
    configure_logging("info", out)
    yield out
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(out: StringIO) -> list[dict[str, Any]]:
    """Every line that was logged."""
    return [json.loads(line) for line in out.getvalue().splitlines()]


def job_log(level: str = "info") -> JobLog:
    return JobLog(level, lambda function, *arguments: function(*arguments))


def test_received_and_succeeded_are_told_in_celerys_words(out: StringIO, make_jobs: MakeJobs) -> None:
    jobs = make_jobs(1, texts=True)
    job_log().received(jobs)
    job_log().succeeded(Done("json", [1], [b"8"], [5], [1200], ["8"]), [jobs])
    received, succeeded = lines(out)
    assert received["event"] == "Task tasks.add[job-1] received"
    assert succeeded["event"] == "Task tasks.add[job-1] succeeded in 0.001200s: 8"
    assert (succeeded["id"], succeeded["task"], succeeded["runtime"], succeeded["result"]) == (
        "job-1",
        "tasks.add",
        0.0012,
        "8",
    )


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.usefixtures("out")
def test_on_a_terminal_a_line_says_nothing_twice(make_jobs: MakeJobs) -> None:
    terminal = Terminal()
    configure_logging("info", terminal)
    job_log().succeeded(Done("json", [1], [b"8"], [5], [1200], ["8"]), [make_jobs(1, texts=True)])
    line = terminal.getvalue()
    assert "Task tasks.add[job-1] succeeded in 0.001200s: 8" in line
    assert line.count("job-1") == line.count("tasks.add") == line.count("0.0012") == 1


def test_a_failure_is_an_error_with_its_traceback(out: StringIO, make_jobs: MakeJobs) -> None:
    try:
        raise ValueError("no", 3)
    except ValueError as error:
        failure = failure_of(error)
    job_log().ended(Ended(1, Verdict.FAILED, failure, 5, 1200), make_jobs(1, texts=True))
    (line,) = lines(out)
    assert line["event"] == "Task tasks.add[job-1] raised unexpected: ValueError('no', 3)"
    assert line["level"] == "error"
    assert __file__ in line["exception"]


def test_a_cancelled_job_is_a_warning(out: StringIO, make_jobs: MakeJobs) -> None:
    job_log().ended(Ended(1, Verdict.CANCELLED, None), make_jobs(1, texts=True))
    (line,) = lines(out)
    assert (line["event"], line["level"]) == ("Task tasks.add[job-1] revoked", "warning")


def test_nothing_is_built_for_a_level_that_is_not_logged(make_jobs: MakeJobs) -> None:
    def never(*_: object) -> None:
        raise AssertionError

    quiet = JobLog("warning", never)
    quiet.received(make_jobs(1))
    quiet.succeeded(Done("json", [1], [b"8"], [5], [1200], []), [make_jobs(1)])


@pytest.mark.parametrize(
    ("ended", "line", "level"),
    [
        (
            Ended(1, Verdict.RETRY, None, retry_in_ms=5000, shown="Retry in 5s: ValueError('no')"),
            "Task tasks.add[job-1] retry: Retry in 5s: ValueError('no')",
            "info",
        ),
        (
            Ended(1, Verdict.FAILED, FailureData("KeyError", "builtins", "x", "Traceback"), expected=True),
            "Task tasks.add[job-1] raised expected: KeyError('x')",
            "info",
        ),
        (
            Ended(1, Verdict.FAILED, FailureData("TimeLimitExceeded", "tqbroker.exceptions", "hard time limit (2s)")),
            "Task tasks.add[job-1]: hard time limit (2s)",
            "error",
        ),
        (
            Ended(
                1, Verdict.CANCELLED, FailureData("TaskRevokedError", "tqbroker.exceptions", "terminated by SIGTERM")
            ),
            "Task tasks.add[job-1] revoked (terminated by SIGTERM)",
            "warning",
        ),
        (
            Ended(1, Verdict.REJECTED, FailureData("Reject", "tqbroker.exceptions", "no room")),
            "Task tasks.add[job-1] rejected: Reject('no room')",
            "warning",
        ),
        (
            Ended(1, Verdict.REQUEUED, FailureData("OperationalError", "tqbroker.exceptions", "no answer")),
            "Task tasks.add[job-1] not started, put back to its queue: no answer",
            "warning",
        ),
        (
            Ended(1, Verdict.REPLACED, None, workflow=bytes(16)),
            "Task tasks.add[job-1] replaced by workflow 00000000-0000-0000-0000-000000000000",
            "info",
        ),
        (Ended(1, Verdict.REQUEUED, None), "Task tasks.add[job-1] rejected: put back to its queue", "info"),
        (
            Ended(1, Verdict.LOST, FailureData("WorkerLostError", "tqbroker.exceptions", "the child died")),
            "Task tasks.add[job-1] lost: the child died",
            "error",
        ),
    ],
)
def test_each_way_to_end_has_its_line(out: StringIO, make_jobs: MakeJobs, ended: Ended, line: str, level: str) -> None:
    job_log().ended(ended, make_jobs(1, texts=True))
    (shown,) = lines(out)
    assert (shown["event"], shown["level"]) == (line, level)
    assert "exception" not in shown
