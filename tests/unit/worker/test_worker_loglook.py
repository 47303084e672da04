"""Lines of the log in formats of the app's settings."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from tqbroker import App, context
from tqbroker_worker.loglook import Lines, add_job
from tqbroker_worker.protocol import LogLook

LOOK = LogLook("%(levelname)s %(message)s", "%(task_name)s %(task_id)s %(message)s")


def record(level: int, message: Any, *args: Any) -> logging.LogRecord:
    return logging.LogRecord("shop", level, __file__, 1, message, args, None)


def test_a_line_has_the_format_for_tasks_only_while_a_job_runs() -> None:
    lines, task = Lines(LOOK), App().task(name="shop.mail")(print)
    assert lines.format(record(logging.INFO, "%d jobs", 3)) == "INFO 3 jobs"
    token = context.push(task, context.Request("id-1", task.name))
    try:
        assert lines.format(record(logging.INFO, "%d jobs", 3)) == "shop.mail id-1 3 jobs"
        assert add_job(None, "info", {"event": "x", "task_name": "?", "task_id": "?"}) == {
            "event": "x",
            "task": "shop.mail",
            "id": "id-1",
        }
    finally:
        context.pop(token)


def test_an_event_is_its_text_with_the_traceback_below() -> None:
    event = {"event": "Task failed", "exception": "Traceback: ...", "id": 5}
    assert Lines(LOOK).format(record(logging.ERROR, event)) == "ERROR Task failed\nTraceback: ..."


@pytest.mark.parametrize(("level", "colored"), [(logging.INFO, False), (logging.ERROR, True)])
def test_colors_are_by_level(level: int, colored: bool) -> None:
    lines = Lines(LOOK)
    lines.colors = True
    assert ("\x1b[" in lines.format(record(level, "words"))) == colored
