"""One delivery to one outcome: decode, call, encode. Whatever the task does, an outcome comes back."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Callable, Coroutine
from contextvars import Token, copy_context
from time import perf_counter, time
from types import CoroutineType, TracebackType
from typing import Any, NamedTuple

from tqbroker import context
from tqbroker._failpoint import hit
from tqbroker.app import App
from tqbroker.codec import decode, decode_call, encode
from tqbroker.context import Request, Running
from tqbroker.exceptions import EncodeError
from tqbroker.failures import failure_of
from tqbroker.ids import Key, text_of
from tqbroker.task import Task
from tqbroker_worker.protocol import Ended, Head, Verdict

MAX_RESULT = 1 << 20
"""Bytes a result may have; the broker refuses larger ones."""
MAX_SHOWN = 1024
_BEFORE_THE_TASK = (__file__, os.path.dirname(asyncio.__file__), os.path.dirname(concurrent.futures.__file__))


class Job(NamedTuple):
    """One delivery. `id` is the 16 bytes of a UUID, or a text."""

    head: Head
    id: Key
    token: int
    args: bytes
    retries: int
    lost: int


class Success(NamedTuple):
    """What a job returned: encoded, and as the log shows it ("" when it does not)."""

    token: int
    result: bytes
    started_ms: int
    runtime_us: int
    shown: str


class _Start(NamedTuple):
    started_ms: int
    clock: float


class Executor:
    """Runs jobs of one app, in the thread or the loop of the caller.

    `worker` is the name that tasks see as `self.request.hostname`. With `show` results are also made readable, for
    the log.
    """

    def __init__(self, app: App, worker: str, show: bool) -> None:
        self.format = app.conf.result_serializer
        self._tasks = app.tasks
        self._worker = worker
        self._show = show
        self._loops = threading.local()

    def run(self, job: Job) -> Success | Ended:
        """Runs a job here; an `async def` task runs in an event loop that this thread keeps for such tasks."""
        start = _Start(int(time() * 1000), perf_counter())
        try:
            value = copy_context().run(self._call, job)
            return self._success(job, start, value)
        except BaseException as error:  # SystemExit too: a task does not end its worker
            return self._failure(job, start, error)

    async def run_async(self, job: Job, revoked: Callable[[int], bool]) -> Success | Ended:
        """Runs a job in the current loop; a plain function runs in a thread. `revoked` tells who cancelled it."""
        start = _Start(int(time() * 1000), perf_counter())
        try:
            call, token = self._prepare(job)
            try:
                if self._tasks[job.head.task].is_async:
                    value = await call()
                else:
                    value = await asyncio.to_thread(call)
            finally:
                context.pop(token)
            return self._success(job, start, value)
        except asyncio.CancelledError as error:
            if revoked(job.token):
                return Ended(job.token, Verdict.CANCELLED, None, start.started_ms, _runtime(start))
            return self._failure(job, start, error)
        except BaseException as error:
            return self._failure(job, start, error)

    def close(self) -> None:
        """Ends the event loop of this thread, if async tasks ever ran in it."""
        runner: asyncio.Runner | None = getattr(self._loops, "runner", None)
        if runner is not None:
            runner.close()
            del self._loops.runner

    def _call(self, job: Job) -> Any:
        """What the task returns. It runs in a context that ends with it: what it sets there, no other job sees."""
        call, _ = self._prepare(job)
        value = call()
        return self._await(value) if type(value) is CoroutineType else value

    def _prepare(self, job: Job) -> tuple[Callable[[], Any], Token[Running | None]]:
        """The call to make, with its request in place."""
        head = job.head
        task = self._tasks[head.task]
        args, kwargs = decode_call(job.args, head.format)
        hit("child_before_run")
        token = context.push(task, self._request(task, job, args, kwargs))
        run = task.run
        return (lambda: run(*args, **kwargs)), token

    def _request(self, task: Task[..., Any], job: Job, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Request:
        head = job.head
        return Request(
            text_of(job.id),
            task.name,
            args,
            kwargs,
            retries=job.retries,
            lost_leases=job.lost,
            hostname=self._worker,
            queue=head.queue,
            priority=head.priority,
            headers=decode(head.headers, head.format) if head.headers else None,
            fence=job.token,
            ignore_result=head.ignore_result,
        )

    def _success(self, job: Job, start: _Start, value: Any) -> Success:
        runtime_us = _runtime(start)
        hit("child_after_run")
        result = b"" if job.head.ignore_result else encode(value, self.format)
        if len(result) > MAX_RESULT:
            raise EncodeError(
                f"the result of {job.head.task} has {len(result)} bytes, at most {MAX_RESULT} are allowed: "
                "store it elsewhere and return where, or set ignore_result=True"
            )
        return Success(job.token, result, start.started_ms, runtime_us, _shown(value) if self._show else "")

    def _failure(self, job: Job, start: _Start, error: BaseException) -> Ended:
        error = error.with_traceback(of_the_user(error.__traceback__))
        return Ended(job.token, Verdict.FAILED, failure_of(error, self.format), start.started_ms, _runtime(start))

    def _await(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        runner: asyncio.Runner | None = getattr(self._loops, "runner", None)
        if runner is None:
            runner = self._loops.runner = asyncio.Runner()
        return runner.run(coroutine, context=copy_context())  # the runner's own one is that of its first job


def of_the_user(trace: TracebackType | None, before: tuple[str, ...] = _BEFORE_THE_TASK) -> TracebackType | None:
    """A traceback without the frames at its begin whose files start with one of `before`: they help nobody.

    None when no others are there, as after a call with the wrong arguments.
    """
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(before):
        trace = trace.tb_next
    return trace


def _runtime(start: _Start) -> int:
    return int((perf_counter() - start.clock) * 1_000_000)


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except Exception as error:
        return f"<repr() raised {type(error).__name__}>"
    return (text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}...") or "<empty repr()>"
