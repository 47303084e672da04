"""What the two daemons share: structured logs on stderr, and signals that ask an asyncio program to stop.

Imported by daemons only, and only when they start: applications that submit jobs never pay for it.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor

LEVELS = ("debug", "info", "warning", "error", "critical")


def configure_logging(
    level: str,
    stream: TextIO | None = None,
    *,
    formatter: logging.Formatter | None = None,
    color: bool | None = None,
    fields: Processor | None = None,
) -> logging.Handler:
    """Logs to stderr: for people on a terminal or with `color`, as one JSON object a line otherwise.

    `level` is one of debug, info, warning, error, critical in any case; ValueError otherwise. What libraries log
    through the standard library comes out in the same form. `formatter` decides how lines look instead, `fields` adds
    to each event. Calling it again replaces the earlier configuration. Returns what writes the lines.
    """
    if level.lower() not in LEVELS:
        raise ValueError(f"unknown log level {level!r}: use one of {', '.join(LEVELS)}")
    out = stream or sys.stderr
    shared = [*_shared_processors(), *([fields] if fields is not None else [])]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        formatter
        or structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=_rendering(out.isatty(), color))
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    return handler


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger whose events carry `name`: `log.info("worker_joined", worker=name)`."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def _shared_processors() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]


def _rendering(terminal: bool, color: bool | None) -> list[Processor]:
    drop_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    if terminal or color:
        plain, colors = structlog.dev.plain_traceback, color is not False
        return [drop_meta, _drop_repeated, structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain)]
    return [drop_meta, structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]


def _drop_repeated(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Our lines about a job say these in their words; as fields they are for programs."""
    if str(event.get("logger", "")).startswith("tqbroker."):
        for name in ("id", "task", "runtime", "result"):
            event.pop(name, None)
    return event


class StopSignals:
    """Signals as events of an asyncio program: the first asks to drain, the second to hurry, the third not to wait.

    SIGTERM and SIGINT, and SIGHUP (a closed terminal) unless the program was started to outlive it (nohup), or gives it
    another meaning (`hangup=False`).
    Use inside a running loop, in its main thread::

        with StopSignals() as stop:
            await stop.first.wait()
    """

    def __init__(self, hangup: bool = True) -> None:
        self.first = asyncio.Event()
        self.second = asyncio.Event()
        self.third = asyncio.Event()
        self._numbers = [signal.SIGTERM, signal.SIGINT]
        if hangup and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            self._numbers.append(signal.SIGHUP)
        self.name = ""
        """Name of the signal that came first, for the log; empty before."""

    def __enter__(self) -> StopSignals:
        loop = asyncio.get_running_loop()
        for number in self._numbers:
            loop.add_signal_handler(number, self.received, number)
        return self

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        for number in self._numbers:
            loop.remove_signal_handler(number)

    def received(self, number: signal.Signals) -> None:
        """Called for each signal; also what another part of the program calls to ask for a stop itself."""
        if self.second.is_set():
            self.third.set()
        elif self.first.is_set():
            self.second.set()
        else:
            self.name = number.name
            self.first.set()
