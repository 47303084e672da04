"""The child's end of the socket: jobs in, outcomes out, shared by the threads that run jobs and the watchdog.

Whoever has nothing to do reads the socket itself, so that a job starts without a hop between threads.
"""

from __future__ import annotations

import os
import select
import socket
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic

from tqbroker_worker.delivery import Job, Success, jobs_of
from tqbroker_worker.jobs import Jobs
from tqbroker_worker.pipe import READ_BYTES, Frames, frame
from tqbroker_worker.places import Trail
from tqbroker_worker.progress import Progress
from tqbroker_worker.protocol import (
    Cancel,
    Done,
    Down,
    Ended,
    Failed,
    Fire,
    HandBack,
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
MAX_ERRANDS = 10_000
"""Signals and hooks that may wait for a slot; beyond, the oldest are dropped."""

Errand = Failed | Fire


class Link:
    """What the parent gave and what it gets. `format` is that of the results.

    What others do with what comes in: `on_cancel` gets the tokens of started jobs that somebody cancelled, whether by
    force, and the signal for it; `on_other` gets messages that are answered at once, `on_errand` those that are to run
    user code, between jobs. `listeners` are called when there is something to run, or the wish to stop, by whichever
    thread reads. `on_outcome` is called with a job's token before its outcome is sent.
    """

    def __init__(self, sock: socket.socket, progress: Progress, format: str) -> None:  # noqa: A002
        self.stopped = False
        self.waiting_since = 0.0
        self.started = 0
        self.finished = 0
        self.on_cancel: Callable[[list[int], bool, str], None] = lambda _tokens, _force, _signal: None
        self.on_other: Callable[[Down], None] = lambda _message: None
        self.on_errand: Callable[[Errand], None] = lambda _errand: None
        self.on_outcome: Callable[[int], None] | None = None
        self.listeners: list[Callable[[], None]] = []
        self._sock = sock
        self._progress = progress
        self._format = format
        self._frames = Frames()
        self._jobs: deque[Job] = deque()
        self._errands: deque[Errand] = deque(maxlen=MAX_ERRANDS)
        self._taking = threading.Lock()
        self._reading = threading.Lock()
        self._writing = threading.RLock()
        self._clear()

    # -- jobs in ------------------------------------------------------------------------------------------------------

    def next(self) -> Job | None:
        """The next job to run, waiting for one if need be; None when it is time to end."""
        while True:
            if self._errands:
                self.run_errands()
            if (job := self.take()) is not None:
                return job
            self.flush()
            if self.stopped:
                return None
            with self._reading:
                if not self._jobs and not self._errands and not self.stopped:
                    self._receive(0)

    def take(self) -> Job | None:
        """The next job if one is here. It counts as started from now on."""
        with self._taking:
            if not self._jobs:
                return None
            self.started += 1
            self._progress.started = self.started
            return self._jobs.popleft()

    def run_errands(self) -> None:
        """Does what is to be done between jobs, in the calling thread."""
        while True:
            with self._taking:
                if not self._errands:
                    return
                errand = self._errands.popleft()
            self.on_errand(errand)

    def pump(self, seconds: float) -> bool:
        """Waits for at most so long for something to come in, and handles it. False at once if another thread reads."""
        if not self._reading.acquire(blocking=False):
            return False
        try:
            ready, _, _ = select.select([self._sock], [], [], seconds)
            if ready:
                self._receive(socket.MSG_DONTWAIT)
        finally:
            self._reading.release()
        return True

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

    def _handle(self, message: Down) -> None:
        if isinstance(message, Jobs):
            self._accept(message)
            self._tell()
        elif isinstance(message, Cancel):
            self._cancel(message)
        elif isinstance(message, HandBack):
            self.hand_back()
        elif isinstance(message, Stop):
            self.stopped = True
            self._tell()
        elif isinstance(message, Failed | Fire):
            with self._taking:
                self._errands.append(message)
            self._tell()
        else:
            self.on_other(message)

    def _tell(self) -> None:
        for listener in self.listeners:
            listener()

    def _accept(self, jobs: Jobs) -> None:
        with self._taking:
            if not self._jobs:
                self.waiting_since = monotonic()
            self._jobs.extend(jobs_of(jobs))

    def _cancel(self, message: Cancel) -> None:
        tokens = set(message.tokens)
        with self._taking:
            back = [job.token for job in self._jobs if job.token in tokens]
            self._jobs = deque(job for job in self._jobs if job.token not in tokens)
        if back:
            self._send(Unstarted(back))
        if running := tokens.difference(back):
            self.on_cancel(list(running), message.force, message.signal)

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
        if self.on_outcome is not None:
            self.on_outcome(outcome.token)
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
            if outcome.trail is not None:
                self._trails[len(self._tokens) - 1] = outcome.trail
                self._bytes += outcome.trail.size()
            if outcome.shown:
                self._shown.append(outcome.shown)
            self._bytes += len(outcome.result)
            if len(self._tokens) >= BATCH or self._bytes >= BATCH_BYTES or monotonic() - self._oldest > LINGER:
                self.flush()

    def flush(self) -> None:
        """Sends the successes that wait."""
        with self._writing:
            if self._tokens:
                columns = (self._tokens, self._results, self._started_ms, self._runtime_us, self._shown, self._trails)
                self._clear()
                self._send(Done(self._format, *columns))

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
        self._trails: dict[int, Trail] = {}
        self._bytes = 0
        self._oldest = 0.0
