"""One line for each job received and ended, in Celery's words; nothing is built for a level that is not logged."""

from __future__ import annotations

import logging
from collections.abc import Callable

from structlog.stdlib import BoundLogger

from tqbroker._daemon import get_logger
from tqbroker.codec import decode
from tqbroker.exceptions import CodecError
from tqbroker.failures import FailureData
from tqbroker_worker.protocol import Done, Ended, Jobs, Verdict


class JobLog:
    """Lines about jobs. `level` is the least severe level that is logged, for example "info".

    `soon` calls a function after the jobs at hand have been passed on: no job waits for its line.
    """

    def __init__(self, level: str, soon: Callable[..., object]) -> None:
        self._soon = soon
        threshold = logging.getLevelNamesMapping()[level.upper()]
        self.info = threshold <= logging.INFO
        self._errors = threshold <= logging.ERROR
        self._log: BoundLogger = get_logger("tqbroker.worker")

    def received(self, jobs: Jobs) -> None:
        """Jobs arrived from the broker."""
        if self.info:
            self._soon(self._received, jobs)

    def succeeded(self, done: Done, sources: list[Jobs]) -> None:
        """Jobs succeeded."""
        if self.info:
            self._soon(self._succeeded, done, sources)

    def ended(self, ended: Ended, source: Jobs) -> None:
        """A job ended otherwise."""
        if self._errors:
            self._soon(self._ended, ended, source)

    def _received(self, jobs: Jobs) -> None:
        task = jobs.head.task
        for index in range(len(jobs)):
            key = jobs.id_at(index)
            self._log.info(f"Task {task}[{key}] received", id=key, task=task)

    def _succeeded(self, done: Done, sources: list[Jobs]) -> None:
        shown = done.shown or [""] * len(done.tokens)
        for token, source, runtime_us, result in zip(done.tokens, sources, done.runtime_us, shown, strict=True):
            task, key, seconds = source.head.task, source.id_of(token), runtime_us / 1e6
            line = f"Task {task}[{key}] succeeded in {seconds:.6f}s: {result}"
            self._log.info(line, id=key, task=task, runtime=seconds, result=result)

    def _ended(self, ended: Ended, source: Jobs) -> None:
        task, key, failure = source.head.task, source.id_of(ended.token), ended.failure
        if failure is None:
            self._log.warning(f"Task {task}[{key}] cancelled", id=key, task=task)
        elif ended.verdict is Verdict.LOST:
            self._log.error(f"Task {task}[{key}] lost: {failure.message}", id=key, task=task)
        else:
            line = f"Task {task}[{key}] raised unexpected: {_raised(failure)}"
            extra = {"exception": failure.traceback.rstrip()} if failure.traceback else {}
            self._log.error(line, id=key, task=task, runtime=ended.runtime_us / 1e6, **extra)


def _raised(failure: FailureData) -> str:
    """The exception as Python shows it, as far as its arguments could be sent."""
    try:
        args = decode(failure.args, failure.format) if failure.args else [failure.message]
    except CodecError:
        args = [failure.message]
    return f"{failure.type}({', '.join(map(repr, args))})"
