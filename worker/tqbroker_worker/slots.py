"""The places in which a child runs jobs, one thread each, and how to interrupt the job in one, and never its successor.

A thread enters its slot with a job and leaves it when the body has ended. Whoever interrupts does so under the lock
that leaving takes too, and what was not delivered by then is taken back. So an interruption reaches the job it was
meant for, or nobody.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any, Protocol

from tqbroker.exceptions import SoftTimeLimitExceeded, TaskRevokedError, TimeLimitExceeded
from tqbroker.request import Request
from tqbroker_worker.delivery import Job

_NEVER = float("inf")
_MOST_STRIKES = 2
"""Interruptions of one job: its soft limit, and a forced end. `Slot.run` has a level of its own for each."""
_MISSED = 256
"""Cancelled jobs to remember that no slot has: they are about to enter, or have just left."""

_OF_THE_PARENT = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)

_SET_ASYNC_EXC = ("PyThreadState_SetAsyncExc", ctypes.pythonapi)
_NOTHING = object()
_raise_in = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_ulong, ctypes.py_object)(_SET_ASYNC_EXC)


class Stoppable(Protocol):
    """A coroutine on its way that takes an exception from any thread."""

    def strike_soon(self, error: type[BaseException]) -> None:
        """Raises it where the coroutine waits."""
        ...


class Slot:
    """One slot in a thread of its own, the one that makes it."""

    def __init__(self) -> None:
        self.job: Job | None = None
        self.request: Request | None = None
        self.guard: Stoppable | None = None
        self.limited = False
        self.abandoned = False
        """The job was ended by its hard limit while the thread is still in it: what comes of it is nobody's."""
        self.lock = threading.Lock()
        self.hard_ms = 0
        self._soft_at = self._hard_at = _NEVER
        self._strikes = 0
        self._thread = threading.get_ident()

    def run(self, job: Job, body: Callable[..., Any], *arguments: Any) -> Any:
        """What `body` returns. Interruptions reach it until it has ended, and nothing after that.

        One that comes while the job leaves counts only if `body` has not returned. There is a level for each that may
        come, so that the job has left whenever this ends.
        """
        value: Any = _NOTHING
        try:
            try:
                try:
                    self.job = job
                    value = body(*arguments)
                finally:
                    self._leave()
            except BaseException:
                self._leave()
                if value is _NOTHING:
                    raise
        except BaseException:
            self._leave()
            if value is _NOTHING:
                raise
        return value

    def limit(self, soft_ms: int, hard_ms: int) -> None:
        """Bounds the job that has just entered; 0: not."""
        now = monotonic()
        self.hard_ms = hard_ms
        self._soft_at = now + soft_ms / 1000 if soft_ms else _NEVER
        self._hard_at = now + hard_ms / 1000 if hard_ms else _NEVER
        self.limited = True

    def _leave(self) -> None:
        """The body has ended: nothing reaches it any more. Safe to repeat."""
        with self.lock:
            self.job = None
            self.limited = False
            if self._strikes:
                self._strikes = 0
                self._calm()
        self.request = self.guard = None

    def has(self, token: int) -> bool:
        """Whether the job with this token runs here. Only certain under the lock."""
        return self.job is not None and self.job.token == token

    def interrupt(self, token: int, error: type[BaseException]) -> bool:
        """Raises `error` in the job with this token, if it still runs here and was not interrupted often enough."""
        with self.lock:
            return self.has(token) and self.interrupt_here(error)

    def look(self, now: float, on_hard: Callable[[Slot, Job, Request | None], None] | None) -> None:
        """Interrupts the job if it is over its soft limit, abandons it if over its hard one and somebody wants that."""
        with self.lock:
            if not self.limited or self.job is None:
                return
            if now >= self._soft_at:
                self._soft_at = _NEVER
                self.interrupt_here(SoftTimeLimitExceeded)
            elif self._strikes:
                self._strike_again()
            if on_hard is None or now < self._hard_at:
                return
            job, request = self.job, self.request
            self.job = None
            self.abandoned = True
            self.interrupt_here(TimeLimitExceeded)
        on_hard(self, job, request)

    def interrupt_here(self, error: type[BaseException]) -> bool:
        """The same for whatever runs here; only under the lock."""
        if self.guard is not None:
            self.guard.strike_soon(error)
        elif self._strikes >= _MOST_STRIKES:
            return False
        else:
            self._strikes += 1
            self._strike(error)
        return True

    def _strike(self, error: type[BaseException]) -> None:
        _raise_in(self._thread, error)

    def _strike_again(self) -> None:
        """Nothing here: what was raised waits for the thread's next instruction."""

    def _calm(self) -> None:
        """Takes back what was not delivered."""
        _raise_in(self._thread, ctypes.py_object())  # NULL takes back; None would be raised


class MainSlot(Slot):
    """The slot in the main thread, which a signal interrupts even while it waits for the system."""

    NUMBER = signal.SIGUSR1

    def __init__(self) -> None:
        super().__init__()
        self._error: type[BaseException] | None = None

    def listen(self) -> None:
        """Takes the signal from now on. One that this slot has not sent has no effect: its job may be over by then."""
        signal.signal(self.NUMBER, self._on_signal)

    def _strike(self, error: type[BaseException]) -> None:
        self._error = error
        signal.pthread_kill(self._thread, self.NUMBER)

    def _strike_again(self) -> None:
        """A signal that came just before a wait of the system has not ended that wait."""
        if self._error is not None:
            signal.pthread_kill(self._thread, self.NUMBER)

    def _calm(self) -> None:
        self._error = None

    def _on_signal(self, *_: object) -> None:
        """Runs in the main thread between two instructions, so the job cannot change meanwhile."""
        error, self._error = self._error, None
        if error is not None and self.job is not None:
            raise error


class Slots:
    """The slots of a child. `die` ends the process with a signal: how a job in the main thread is stopped by force.

    With SIGUSR1 such a job gets SoftTimeLimitExceeded instead, as in Celery.
    """

    def __init__(self, die: Callable[[str], None]) -> None:
        self._slots: list[Slot] = []
        self._die = die
        self.missed: deque[tuple[int, bool]] = deque(maxlen=_MISSED)
        """Jobs that were cancelled while no slot had them, and whether by force."""
        self.on_hard: Callable[[Slot, Job, Request | None], None] | None = None
        """Called with a job that was abandoned at its hard limit. None: the parent kills the process instead."""

    def add(self, slot: Slot) -> Slot:
        """One more."""
        self._slots = [*self._slots, slot]
        return slot

    def remove(self, slot: Slot) -> None:
        """One less."""
        self._slots = [other for other in self._slots if other is not slot]

    def tick(self, now: float) -> None:
        """Looks after the limits of what runs."""
        for slot in self._slots:
            if slot.limited:
                slot.look(now, self.on_hard)

    def cancel(self, tokens: Iterable[int], force: bool, number: str) -> None:
        """Somebody cancelled these jobs."""
        for token in tokens:
            if not self._cancel_in_slots(token, force, number):
                self.missed.append((token, force))
                self._cancel_in_slots(token, force, number)  # it may have entered meanwhile

    def _cancel_in_slots(self, token: int, force: bool, number: str) -> bool:
        return any(self._cancel(slot, token, force, number) for slot in self._slots)

    def check(self, job: Job, request: Request) -> None:
        """To be called when the slot has the job's request: the job may be one of the `missed`."""
        found = [force for token, force in list(self.missed) if token == job.token]
        request.cancelled = bool(found)
        if any(found):
            raise TaskRevokedError(f"job {request.id} was cancelled")

    def _cancel(self, slot: Slot, token: int, force: bool, number: str) -> bool:
        with slot.lock:
            if not slot.has(token) or slot.request is None:
                return False
            slot.request.cancelled = True
            if force and isinstance(slot, MainSlot):
                if number == MainSlot.NUMBER.name:
                    slot.interrupt_here(SoftTimeLimitExceeded)
                else:
                    self._die(number)
        if force and not isinstance(slot, MainSlot):
            slot.interrupt(token, TaskRevokedError)
        return True


def die_by(number: str) -> None:
    """Ends this process by the signal of that name; those that stop the worker, not its children, count as SIGKILL."""
    chosen = getattr(signal, number or "SIGTERM", signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGKILL if chosen in _OF_THE_PARENT else chosen)
