"""Waiting in steps, for those who want to hear of a job while it has not ended."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from tqbroker.outcomes import meta_of

if TYPE_CHECKING:
    from tqbroker.app import App
    from tqbroker.ids import Key
    from tqbroker.transport import JobInfo

OnMessage = Callable[[dict[str, Any]], object]
OnInterval = Callable[[], object]


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


def _steps(timeout: float | None, interval: float) -> Iterator[float]:
    """How many seconds to wait in each step until `timeout` is over."""
    if interval <= 0:
        raise ValueError(f"interval={interval!r}: it is the number of seconds between two calls, more than 0")
    end = math.inf if timeout is None else time.monotonic() + timeout
    while (left := end - time.monotonic()) > 0:
        yield min(interval, left)
