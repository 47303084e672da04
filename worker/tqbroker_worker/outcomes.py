"""How an attempt ended, as what the parent is told of it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
from time import time
from types import TracebackType
from typing import Any, NamedTuple

from tqbroker import states
from tqbroker.codec import encode_call
from tqbroker.exceptions import EncodeError, Reject, Replaced, Retry
from tqbroker.failures import FailureData, clean, failure_of, message_of
from tqbroker.request import Request
from tqbroker.result import AsyncResult
from tqbroker.retrying import Call, Ending, delay_ms
from tqbroker.task_body import TaskBody
from tqbroker.trail import MAX_CHILDREN
from tqbroker_worker.delivery import Job, Success
from tqbroker_worker.places import Trail
from tqbroker_worker.protocol import Ended, Verdict

MAX_ARGS = 8 << 20
"""Bytes of new arguments for a retry; no broker can be set to take more, and one message must hold them."""

_HERE = os.path.dirname(__file__)
_OURS = ("coroutines", "endings", "execute", "guard", "slots")
_BEFORE_THE_TASK = (
    *(os.path.join(_HERE, f"{name}.py") for name in _OURS),
    os.path.join(os.path.dirname(states.__file__), "models.py"),
    os.path.dirname(asyncio.__file__),
    os.path.dirname(concurrent.futures.__file__),
)


class Times(NamedTuple):
    """When an attempt began, in milliseconds since 1970, and how long it took, in microseconds."""

    started_ms: int
    runtime_us: int


def trail_of(request: Request | None) -> Trail | None:
    """What a body has submitted, if anything."""
    if request is None or not request.trail:
        return None
    keys = [result._key for result in request.trail[:MAX_CHILDREN] if isinstance(result, AsyncResult)]
    uuids = b"".join(key for key in keys if isinstance(key, bytes))
    return Trail(uuids, [key for key in keys if isinstance(key, str)])


def ended(job: Job, times: Times, ending: Ending, task: TaskBody | None, format: str) -> Success | Ended:  # noqa: A002
    """The outcome of an attempt that returned nothing to send. Raises EncodeError for new arguments of a retry."""
    error = ending.value
    if ending.state == states.IGNORED:
        if isinstance(error, Replaced):
            return Ended(job.token, Verdict.REPLACED, None, *times, workflow=error.workflow)
        return Success(job.token, b"", *times, "ignored")
    if ending.state == states.RETRY:
        return _retry(job, times, error, format)
    verdict = Verdict.FAILED
    if ending.state == states.REVOKED:
        verdict = Verdict.CANCELLED
    elif isinstance(error, Reject) and ending.state == states.REJECTED:
        verdict = Verdict.REQUEUED if error.requeue else Verdict.REJECTED
    failure = None if verdict is Verdict.CANCELLED else failure_in_task(error, format)
    expected = task is not None and isinstance(error, _classes(task.throws))
    return Ended(job.token, verdict, failure, *times, expected=expected)


def _retry(job: Job, times: Times, retry: Retry, format: str) -> Ended:  # noqa: A002
    return Ended(
        job.token,
        Verdict.RETRY,
        failure_in_task(retry if retry.exc is None else retry.exc, format),
        *times,
        retry_in_ms=delay_ms(retry, time()),
        args=b"" if retry.call is None else _new_arguments(job, retry.call),
        shown=message_of(retry),
    )


def _new_arguments(job: Job, call: Call) -> bytes:
    args = encode_call(*call, job.head.format)
    if len(args) > MAX_ARGS:
        raise EncodeError(
            f"the new arguments of {job.head.task} have {len(args)} bytes, at most {MAX_ARGS} are allowed: leave out "
            "args and kwargs, and the next attempt gets what this one got"
        )
    return args


def failure_in_task(error: BaseException, format: str) -> FailureData:  # noqa: A002
    """The failure with a traceback that begins in the task."""
    return failure_of(error.with_traceback(of_the_user(error.__traceback__)), format)


def of_the_user(trace: TracebackType | None, before: tuple[str, ...] = _BEFORE_THE_TASK) -> TracebackType | None:
    """A traceback without the frames at its begin whose files start with one of `before`: they help nobody.

    None when no others are there, as after a call with the wrong arguments.
    """
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(before):
        trace = trace.tb_next
    return trace


def shown(value: Any, most: int) -> str:
    """A result as the log shows it."""
    try:
        text = clean(repr(value))
    except BaseException as error:  # SystemExit too
        return f"<repr() raised {type(error).__name__}>"
    return (text if len(text) <= most else f"{text[:most]}...") or "<empty repr()>"


def _classes(value: Any) -> tuple[type[BaseException], ...]:
    return (value,) if isinstance(value, type) else tuple(value or ())
