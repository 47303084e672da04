"""What is printed becomes lines of the log, whole and in bounds."""

from __future__ import annotations

import io
import logging

import pytest

from tqbroker_worker.stdouts import MAX_LINE, Redirected


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_a_line_is_logged_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    out = Redirected(io.StringIO(), logging.WARNING)
    print("one", 2, end="", file=out)
    assert lines(caplog) == []
    print(" and more\n\nnext", file=out)
    assert lines(caplog) == ["one 2 and more", "next"]
    assert {record.name for record in caplog.records} == {"tqbroker.redirected"}


def test_a_line_that_does_not_end_is_logged_at_the_bound(caplog: pytest.LogCaptureFixture) -> None:
    out = Redirected(io.StringIO(), logging.WARNING)
    out.write("x" * (MAX_LINE + 1))
    assert [len(line) for line in lines(caplog)] == [MAX_LINE + 1]


def test_a_handler_that_prints_does_not_call_itself() -> None:
    before = io.StringIO()
    out = Redirected(before, logging.WARNING)

    class Printing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            print("handled", record.getMessage(), file=out)

    handler, logger = Printing(), logging.getLogger("tqbroker.redirected")
    logger.addHandler(handler)
    try:
        print("words", file=out)
    finally:
        logger.removeHandler(handler)
    assert before.getvalue() == "handled words\n"
