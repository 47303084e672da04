"""Loggers for task bodies."""

from __future__ import annotations

import logging

from tqbroker.context import running

__all__ = ["get_task_logger"]


class _TaskFields(logging.Filter):
    """Adds `task_name` and `task_id` to records, for formats to use; "???" outside of a task, as in Celery."""

    def filter(self, record: logging.LogRecord) -> bool:
        current = running()
        record.task_name = current[0].name if current else "???"
        record.task_id = (current[1].id if current else None) or "???"
        return True


_fields = _TaskFields()


def get_task_logger(name: str) -> logging.Logger:
    """The standard logger of this name, whose records carry `task_name` and `task_id` of the job being run."""
    logger = logging.getLogger(name)
    logger.addFilter(_fields)  # the same filter a second time is ignored
    return logger
