"""One line for each job received and ended, in Celery's words; nothing is built for a level that is not logged."""

from __future__ import annotations

import logging
from collections.abc import Callable

from structlog.stdlib import BoundLogger

from tqbroker._daemon import get_logger
from tqbroker.codec import decode
from tqbroker.exceptions import CodecError
from tqbroker.failures import FailureData
from tqbroker.ids import text_of
from tqbroker_worker.jobs import Jobs
from tqbroker_worker.protocol import Done, Ended, Verdict


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
        name, failure = f"Task {source.head.task}[{source.id_of(ended.token)}]", ended.failure
        fields: dict[str, object] = {"id": source.id_of(ended.token), "task": source.head.task}
        match ended.verdict:
            case Verdict.CANCELLED:
                self._log.warning(f"{name} revoked" + (f" ({failure.message})" if failure else ""), **fields)
            case Verdict.LOST:
                self._log.error(f"{name} lost: {failure.message if failure else ''}", **fields)
            case Verdict.RETRY:
                shown = ended.shown or f"Retry in {ended.retry_in_ms / 1000:g}s"
                self._log.info(f"{name} retry: {shown}", **fields)
            case Verdict.REJECTED:
                self._log.warning(f"{name} rejected: {_raised(failure) if failure else ''}", **fields)
            case Verdict.REQUEUED if failure is not None and not failure.traceback:
                self._log.warning(f"{name} not started, put back to its queue: {failure.message}", **fields)
            case Verdict.REQUEUED:
                self._log.info(f"{name} rejected: put back to its queue", **fields)
            case Verdict.REPLACED:
                self._log.info(f"{name} replaced by workflow {text_of(ended.workflow)}", **fields)
            case Verdict.FAILED:
                self._failed(name, ended, fields | {"runtime": ended.runtime_us / 1e6})

    def _failed(self, name: str, ended: Ended, fields: dict[str, object]) -> None:
        failure = ended.failure
        assert failure is not None
        if ended.expected:
            self._log.info(f"{name} raised expected: {_raised(failure)}", **fields)
            return
        if failure.type == "TimeLimitExceeded" and not failure.traceback:
            self._log.error(f"{name}: {failure.message}", **fields)
            return
        if failure.traceback:
            fields["exception"] = failure.traceback.rstrip()
        self._log.error(f"{name} raised unexpected: {_raised(failure)}", **fields)


def _raised(failure: FailureData) -> str:
    """The exception as Python shows it, as far as its arguments could be sent."""
    try:
        args = decode(failure.args, failure.format) if failure.args else []
    except CodecError:
        args = [failure.message]
    said = args or ([failure.message] if failure.message else [])
    return f"{failure.type}({', '.join(map(repr, said))})"
