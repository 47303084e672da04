"""How the log of a worker looks: as the settings of the app say, and with the job at hand on the lines of its task."""

from __future__ import annotations

import logging
from typing import Any

from structlog.typing import EventDict

from tqbroker._daemon import configure_logging
from tqbroker.context import running
from tqbroker_worker.protocol import LogLook

_COLORS = {logging.DEBUG: 34, logging.WARNING: 33, logging.ERROR: 31, logging.CRITICAL: 35}
"""Celery's, as numbers of the terminal; INFO has none."""
_PLAIN = LogLook()


def set_up(level: str, look: LogLook = _PLAIN) -> logging.Handler:
    """Configures logging; of earlier handlers none is left. Returns the one that writes."""
    formatter = Lines(look) if look.line or look.task_line else None
    handler = configure_logging(level, formatter=formatter, color=look.color, fields=add_job)
    if formatter is not None:
        formatter.colors = _terminal(handler) if look.color is None else look.color
    return handler


def add_job(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Says which job a line is about: what runs here and now."""
    current = running()
    if current is not None:
        for name in ("task_name", "task_id"):  # of get_task_logger: the same
            event.pop(name, None)
        event.setdefault("task", current[0].name)
        event.setdefault("id", current[1].id)
    elif event.get("task_name") == "???":
        del event["task_name"], event["task_id"]
    return event


class Lines(logging.Formatter):
    """Lines in formats of logging.Formatter, one for what is logged while a job runs, and one for all else.

    Events of structlog are their text. `%(task_name)s` and `%(task_id)s` are "???" outside of a job, as in Celery.
    """

    def __init__(self, look: LogLook) -> None:
        super().__init__()
        self.colors = False
        self._line = logging.Formatter(look.line or None)
        self._task_line = logging.Formatter(look.task_line or look.line or None)

    def format(self, record: logging.LogRecord) -> str:
        """One line, and a traceback below it if there is one."""
        record = logging.makeLogRecord(record.__dict__)
        current = running()
        record.task_name = current[0].name if current else "???"
        record.task_id = (current[1].id if current else None) or "???"
        below = _take_event(record)
        text = (self._line if current is None else self._task_line).format(record) + below
        color = _COLORS.get(record.levelno) if self.colors else None
        return text if color is None else f"\x1b[1;{color}m{text}\x1b[0m"


def _take_event(record: logging.LogRecord) -> str:
    """Makes the event of structlog that a record carries its message; gives the traceback in it."""
    event = record.msg
    if not isinstance(event, dict):
        return ""
    record.msg, record.args = str(event.get("event", "")), ()
    trace = event.get("exception")
    return f"\n{trace}" if isinstance(trace, str) else ""


def _terminal(handler: logging.Handler) -> bool:
    return isinstance(handler, logging.StreamHandler) and handler.stream.isatty()
