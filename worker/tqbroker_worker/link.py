"""The child's end of the socket: jobs in, outcomes out, shared by the threads that run jobs and the watchdog.

Whoever has nothing to do reads the socket itself, so that a job starts without a hop between threads.
"""

from __future__ import annotations

import os
import socket
import threading
from collections import deque
from collections.abc import Callable
from itertools import repeat
from time import monotonic

from tqbroker.ids import Key
from tqbroker_worker.execute import Job, Success
from tqbroker_worker.pipe import READ_BYTES, Frames, frame
from tqbroker_worker.progress import Progress
from tqbroker_worker.protocol import (
    UUID_BYTES,
    Cancel,
    Done,
    Ended,
    HandBack,
    Jobs,
    Stop,
    Unstarted,
    Up,
    decode_down,
    encode,
)

BATCH = 32
"""Results in one message at most. Those not yet sent are lost with the child, and their jobs run again."""
BATCH_BYTES = 1 << 18
"""Bytes of results after which a message is sent."""
LINGER = 0.0005
"""Seconds a result may wait for others while jobs follow each other."""


class Link:
    """What the parent gave and what it gets. `format` is that of the results.

    `on_cancel` gets the tokens of started jobs that somebody cancelled; `listeners` are called when jobs, or the wish
    to stop, have arrived, by whichever thread reads.
    """

    def __init__(self, sock: socket.socket, progress: Progress, format: str) -> None:  # noqa: A002
        self.stopped = False
        self.waiting_since = 0.0
        self.started = 0
        self.finished = 0
        self.on_cancel: Callable[[list[int]], None] = lambda _tokens: None
        self.listeners: list[Callable[[], None]] = []
        self._sock = sock
        self._progress = progress
        self._format = format
        self._frames = Frames()
        self._jobs: deque[Job] = deque()
        self._taking = threading.Lock()
        self._reading = threading.Lock()
        self._writing = threading.RLock()
        self._clear()

    # -- jobs in ------------------------------------------------------------------------------------------------------

    def next(self) -> Job | None:
        """The next job to run, waiting for one if need be; None when it is time to end."""
        while True:
            if (job := self.take()) is not None:
                return job
            self.flush()
            if self.stopped:
                return None
            with self._reading:
                if not self._jobs and not self.stopped:
                    self._receive(0)

    def take(self) -> Job | None:
        """The next job if one is here. It counts as started from now on."""
        with self._taking:
            if not self._jobs:
                return None
            self.started += 1
            self._progress.started = self.started
            return self._jobs.popleft()

    def poll(self) -> bool:
        """Reads what has arrived without waiting, unless another thread is reading. False once the parent is gone."""
        if self._reading.acquire(blocking=False):
            try:
                while self._receive(socket.MSG_DONTWAIT):
                    pass
            finally:
                self._reading.release()
        return not self.stopped

    def waiting(self) -> bool:
        """Whether jobs are here that nobody has started."""
        return bool(self._jobs)

    def _receive(self, flags: int) -> bool:
        try:
            data = self._sock.recv(READ_BYTES, flags)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self.parent_gone()
        for body in self._frames.feed(data):
            self._handle(decode_down(body))
        return True

    def parent_gone(self) -> None:
        """Nobody wants our outcomes any more, and the jobs will be given to others: end at once."""
        os._exit(1)

    def _handle(self, message: Jobs | Cancel | HandBack | Stop) -> None:
        if isinstance(message, Jobs):
            self._accept(message)
            self._tell()
        elif isinstance(message, Cancel):
            self._cancel(set(message.tokens))
        elif isinstance(message, HandBack):
            self.hand_back()
        else:
            self.stopped = True
            self._tell()

    def _tell(self) -> None:
        for listener in self.listeners:
            listener()

    def _accept(self, jobs: Jobs) -> None:
        uuids = jobs.uuids
        ids: list[str] | list[bytes] = jobs.texts or [
            uuids[at : at + UUID_BYTES] for at in range(0, len(uuids), UUID_BYTES)
        ]
        columns = zip(
            repeat(jobs.head), _keys(ids), jobs.tokens, jobs.args, jobs.retries or repeat(0), jobs.lost or repeat(0)
        )
        with self._taking:
            if not self._jobs:
                self.waiting_since = monotonic()
            self._jobs.extend(map(Job._make, columns))

    def _cancel(self, tokens: set[int]) -> None:
        with self._taking:
            back = [job.token for job in self._jobs if job.token in tokens]
            self._jobs = deque(job for job in self._jobs if job.token not in tokens)
        if back:
            self._send(Unstarted(back))
        if running := tokens.difference(back):
            self.on_cancel(list(running))

    def hand_back(self, overdue: bool = False) -> None:
        """Gives every job that is not started back to the parent. `overdue`: without being asked."""
        with self._taking:
            back = [job.token for job in self._jobs]
            self._jobs.clear()
        if back:
            self.flush()
            self._send(Unstarted(back, overdue))

    # -- outcomes out -------------------------------------------------------------------------------------------------

    def report(self, outcome: Success | Ended) -> None:
        """Tells the parent of an outcome: a failure at once, successes in batches while jobs follow each other."""
        with self._writing:
            self.finished += 1
            if isinstance(outcome, Ended):
                self.flush()
                self._send(outcome)
                return
            if not self._tokens:
                self._oldest = monotonic()
            self._tokens.append(outcome.token)
            self._results.append(outcome.result)
            self._started_ms.append(outcome.started_ms)
            self._runtime_us.append(outcome.runtime_us)
            if outcome.shown:
                self._shown.append(outcome.shown)
            self._bytes += len(outcome.result)
            if len(self._tokens) >= BATCH or self._bytes >= BATCH_BYTES or monotonic() - self._oldest > LINGER:
                self.flush()

    def flush(self) -> None:
        """Sends the successes that wait."""
        with self._writing:
            if self._tokens:
                done = Done(self._format, self._tokens, self._results, self._started_ms, self._runtime_us, self._shown)
                self._clear()
                self._send(done)

    def send(self, message: Up) -> None:
        """Sends one message at once."""
        self._send(message)

    def _send(self, message: Up) -> None:
        with self._writing:
            try:
                self._sock.sendall(frame(encode(message)))
            except OSError:
                self.parent_gone()

    def _clear(self) -> None:
        self._tokens: list[int] = []
        self._results: list[bytes] = []
        self._started_ms: list[int] = []
        self._runtime_us: list[int] = []
        self._shown: list[str] = []
        self._bytes = 0
        self._oldest = 0.0


def _keys(ids: list[str] | list[bytes]) -> list[Key]:
    return list(ids)
