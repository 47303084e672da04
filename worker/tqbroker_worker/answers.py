"""What a child tells an operator who asks: at once, whatever its slots do."""

from __future__ import annotations

import os
import resource
import sys
import threading
import traceback
from typing import Any

import msgspec

from tqbroker.app import App
from tqbroker_worker.protocol import Answered, Ask

MAX_STACK = 64 * 1024
"""Characters of one thread's stack."""


def answer(app: App, question: Ask) -> Answered:
    """The answer, or what went wrong."""
    try:
        value = _ANSWERS[question.command](app)
        return Answered(question.number, body=msgspec.json.encode(value, enc_hook=repr))
    except KeyError:
        known = ", ".join(sorted(_ANSWERS))
        return Answered(question.number, f"a child knows no command {question.command!r}: it knows {known}")
    except Exception as error:
        return Answered(question.number, f"{type(error).__name__}: {error}")


def _stacks(_app: App) -> dict[str, str]:
    """What each thread is doing, by its name."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return {
        f"{names.get(number, 'thread')} ({number})": "".join(traceback.format_stack(frame))[-MAX_STACK:]
        for number, frame in sys._current_frames().items()
        if number != threading.get_ident()
    }


def _conf(app: App) -> dict[str, Any]:
    """The app's settings."""
    return {name: value for name, value in app.conf.items() if name != "broker_url"}


def _registered(app: App) -> dict[str, dict[str, Any]]:
    """The tasks with what bounds them."""
    names = ("rate_limit", "max_concurrency", "time_limit", "soft_time_limit", "max_retries")
    return {task.name: {name: getattr(task, name) for name in names} for task in app.tasks.values()}


def _usage(_app: App) -> dict[str, float]:
    """What the process has used. `maxrss_kib`: most memory it ever had."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    scale = 1024 if sys.platform == "darwin" else 1
    return {
        "pid": os.getpid(),
        "utime": used.ru_utime,
        "stime": used.ru_stime,
        "maxrss_kib": used.ru_maxrss // scale,
        "threads": threading.active_count(),
    }


_ANSWERS = {"stacks": _stacks, "conf": _conf, "registered": _registered, "usage": _usage}
