"""Hearing of jobs: in steps while they have not ended, or once they have."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from tqbroker.outcomes import meta_of

if TYPE_CHECKING:
    from tqbroker.app import App
    from tqbroker.async_result import AsyncResult
    from tqbroker.ids import Key
    from tqbroker.transport import JobInfo

OnMessage = Callable[[dict[str, Any]], object]
OnInterval = Callable[[], object]

T = TypeVar("T")


def watch(
    app: App,
    key: Key,
    timeout: float | None,
    interval: float,
    on_message: OnMessage | None,
    on_interval: OnInterval | None,
) -> JobInfo | None:
    """The job once it has ended; None after `timeout` seconds. See AsyncResult.get for the rest."""
    said: dict[str, Any] = {}
    for left in _steps(timeout, interval):
        info = app.transport.wait(key, left, app.conf.request_timeout)
        if info is not None:
            if on_message is not None:
                on_message(meta_of(info))
            return info
        if on_interval is not None:
            on_interval()
        if on_message is not None:
            meta = meta_of(app.transport.get([key], app.conf.request_timeout)[0])
            if meta != said:
                said = meta
                on_message(meta)
    return None


def ends(
    app: App, keys: list[Key], timeout: float | None, interval: float, on_interval: OnInterval | None
) -> Iterator[JobInfo]:
    """Each of these jobs once it has ended, see Transport.ends; with `on_interval` in steps, and that after each."""
    if on_interval is None:
        yield from app.transport.ends(keys, timeout, app.conf.request_timeout)
        return
    left = dict.fromkeys(keys)
    for seconds in _steps(timeout, interval):
        for info in app.transport.ends(list(left), seconds, app.conf.request_timeout):
            left.pop(info.key, None)
            yield info
        if not left:
            return
        on_interval()


def then(
    whole: T,
    jobs: Sequence[AsyncResult[Any]],
    callback: Callable[[T], object],
    on_error: Callable[[Exception], object] | None,
) -> None:
    """Calls `callback` with the whole when all of these jobs have ended: at once, or from a thread."""

    def call() -> None:
        try:
            callback(whole)
        except Exception as error:
            if on_error is None:
                raise
            on_error(error)

    by_key = {job._key: job for job in jobs}
    left = set(by_key)

    def heard(info: JobInfo) -> None:
        by_key[info.key]._keep(info)
        left.discard(info.key)
        if not left:
            call()

    if left:
        jobs[0].app.transport.tell(list(by_key), heard)
    else:
        call()


def _steps(timeout: float | None, interval: float) -> Iterator[float]:
    """How many seconds to wait in each step until `timeout` is over."""
    if interval <= 0:
        raise ValueError(f"interval={interval!r}: it is the number of seconds between two calls, more than 0")
    end = math.inf if timeout is None else time.monotonic() + timeout
    while (left := end - time.monotonic()) > 0:
        yield min(interval, left)
