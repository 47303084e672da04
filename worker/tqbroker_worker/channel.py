"""What running jobs say of themselves, on its way to the parent: progress, thinned out, and checkpoints."""

from __future__ import annotations

import itertools
import threading
from time import monotonic, time
from typing import Any

from tqbroker.codec import encode
from tqbroker.exceptions import EncodeError, LeaseLostError, OperationalError
from tqbroker.request import Request
from tqbroker_worker.link import Link
from tqbroker_worker.protocol import Annotate, Note, Noted

EVERY = 0.2
"""Seconds between two notes of one job: five a second are more than people read, and cost the broker little."""
MAX_META = 64 * 1024
"""Bytes of a progress value: it is replaced again and again, and read by people."""
MAX_CHECKPOINT = 1 << 20
"""Bytes of a checkpoint; the wire takes no more."""
_PUMP = 0.025


class JobChannel:
    """The channel of all jobs in a child."""

    def __init__(self, link: Link, format: str) -> None:  # noqa: A002
        self._link = link
        self._format = format
        self._lock = threading.Lock()
        self._sent: dict[int, float] = {}
        self._kept: dict[int, Note] = {}
        self._numbers = itertools.count(1)
        self._waiting: dict[int, tuple[threading.Event, list[str]]] = {}

    def note(self, request: Request, state: str, meta: Any, done: float, total: float, text: str) -> None:
        """See Channel.note. Raises EncodeError for a `meta` that cannot be sent."""
        data = b"" if meta is None else self._encoded(meta, MAX_META, "the progress value")
        note = Note(state, data, self._format, done, total, text, int(time() * 1000))
        token, now = request.fence, monotonic()
        with self._lock:
            self._link.on_outcome = self.settle
            soon = now - self._sent.get(token, -EVERY) < EVERY
            if soon:
                self._kept[token] = note
            else:
                self._kept.pop(token, None)
                self._sent[token] = now
        if not soon:
            self._link.send(Annotate(0, token, note))

    def tick(self, now: float) -> None:
        """Sends the notes that have waited long enough."""
        if self._sent:
            with self._lock:
                # A thread that a task has left behind may speak for a job that ended: nobody else forgets that.
                self._sent = {token: at for token, at in self._sent.items() if now - at < EVERY}
                notes = [(token, self._kept.pop(token)) for token in list(self._kept) if token not in self._sent]
                self._sent.update((token, now) for token, _ in notes)
            for token, note in notes:
                self._link.send(Annotate(0, token, note))

    def settle(self, token: int) -> None:
        """The job ends: its last note goes first."""
        with self._lock:
            self._sent.pop(token, None)
            note = self._kept.pop(token, None)
        if note is not None:
            self._link.send(Annotate(0, token, note))

    def checkpoint(self, request: Request, data: Any, timeout: float) -> None:
        """See Channel.checkpoint."""
        encoded = self._encoded(data, MAX_CHECKPOINT, "the checkpoint")
        number, done, errors = next(self._numbers), threading.Event(), list[str]()
        self._waiting[number] = done, errors
        try:
            self._link.send(Annotate(number, request.fence, checkpoint=encoded, format=self._format))
            self._wait(done, monotonic() + timeout)
        finally:
            del self._waiting[number]
        if errors:
            raise LeaseLostError(
                f"this attempt of job {request.id} does not count any more: {errors[0]}",
                task_ids=[request.id or ""],
                reason="STALE",
            )
        if not done.is_set():
            raise OperationalError(
                f"the checkpoint of job {request.id} is not confirmed after {timeout:g} s: it is perhaps stored",
                outcome="unknown",
                task_ids=[request.id or ""],
            )

    def noted(self, message: Noted) -> None:
        """The answer to a checkpoint."""
        if (waiting := self._waiting.get(message.number)) is not None:
            done, errors = waiting
            if message.error:
                errors.append(message.error)
            done.set()

    def _wait(self, done: threading.Event, until: float) -> None:
        """Reads the socket meanwhile, so that the answer need not wait for the watchdog."""
        while not done.is_set() and (left := until - monotonic()) > 0:
            if not self._link.pump(min(left, _PUMP)):
                done.wait(min(left, _PUMP))

    def _encoded(self, value: Any, most: int, what: str) -> bytes:
        data = encode(value, self._format)
        if len(data) > most:
            raise EncodeError(
                f"{what} has {len(data)} bytes, at most {most} are allowed: store it elsewhere, keep where"
            )
        return data
