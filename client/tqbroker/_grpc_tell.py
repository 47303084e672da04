"""Callbacks for the ends of jobs, from a thread that lasts as long as there is somebody to be told."""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tqbroker._grpc_stream import Harvest
from tqbroker._grpc_wait import WATCHED

if TYPE_CHECKING:
    from tqbroker._grpc_wait import Waiter, Watch
    from tqbroker.ids import Key
    from tqbroker.transport import JobInfo

Callback = Callable[["JobInfo"], object]

TOLD = 10 * WATCHED
"""Jobs that are watched at once: half of what a broker lets one connection watch, which others wait on as well."""

log = logging.getLogger("tqbroker")


class Teller:
    """All callbacks of one connection."""

    def __init__(self, waiter: Waiter) -> None:
        self._waiter = waiter
        self._lock = threading.Lock()
        self._pending: dict[Key, list[Callback]] = {}
        self._unwatched: deque[Key] = deque()
        self._watched = 0
        self._watch: Watch | None = None
        self._harvest = Harvest()
        self._thread: threading.Thread | None = None

    def tell(self, keys: Sequence[Key], callback: Callback) -> None:
        """See Transport.tell."""
        with self._lock:
            new = [key for key in dict.fromkeys(keys) if key not in self._pending]
            for key in keys:
                self._pending.setdefault(key, []).append(callback)
            self._unwatched.extend(new)
            self._fill()
            if self._thread is None and self._pending:
                thread = threading.Thread(target=self._run, name="tqbroker-teller", daemon=True)
                thread.start()
                self._thread = thread

    def stop(self) -> None:
        """Nobody is told any more."""
        with self._lock:
            self._pending.clear()
            self._unwatched.clear()

    def _fill(self) -> None:
        """Watches more of the pending jobs, as far as there is room; under the lock."""
        while self._watch is not None and self._unwatched and self._watched < TOLD:
            count = min(len(self._unwatched), WATCHED, TOLD - self._watched)
            self._watched += count
            self._watch.add_all([self._unwatched.popleft() for _ in range(count)], self._harvest)

    def _run(self) -> None:
        watch: Watch | None = None
        while self._goes_on():
            try:
                watch = self._waiter.again(watch, math.inf)
                if watch is not None:
                    self._follow(watch)
            except Exception:
                log.exception("cannot follow the ends of jobs any more: callbacks of `then` are not called")
                self.stop()

    def _goes_on(self) -> bool:
        """Whether somebody is to be told. If not this thread ends, and the next call starts another."""
        with self._lock:
            self._watch = None
            if not self._pending:
                self._thread = None
            return bool(self._pending)

    def _follow(self, watch: Watch) -> None:
        """Tells of ends on this line until it breaks or nobody is left."""
        harvest = Harvest()
        with self._lock:
            self._watch, self._harvest = watch, harvest
            self._unwatched, self._watched = deque(self._pending), 0
            self._fill()
        while self._left() and watch.line.wait(harvest, math.inf):
            for info in watch.line.gather(harvest):
                self._call(info)

    def _left(self) -> bool:
        with self._lock:
            return bool(self._pending)

    def _call(self, info: JobInfo) -> None:
        with self._lock:
            callbacks = self._pending.pop(info.key, [])
            self._watched -= 1
            self._fill()
        for callback in callbacks:
            try:
                callback(info)
            except BaseException:  # SystemExit too: the others are still to be told
                log.exception("a callback of `then` raised")
