"""Runs jobs in one or several threads: the pools process and solo (one, the main thread) and thread."""

from __future__ import annotations

import itertools
import logging
import os
import threading

from tqbroker.context import Request
from tqbroker_worker.delivery import Job
from tqbroker_worker.execute import Executor
from tqbroker_worker.link import Link
from tqbroker_worker.slots import MainSlot, Slot
from tqbroker_worker.vital import Vital

_log = logging.getLogger("tqbroker.worker")


def run_main(link: Link, executor: Executor) -> None:
    """Runs jobs in the calling thread, the main one, where signals and debuggers work, until the parent says stop."""
    slot = MainSlot()
    slot.listen()
    executor.slots.add(slot)
    _work(link, executor, slot)
    link.flush()


def run(link: Link, executor: Executor, slots: int) -> None:
    """Runs jobs in `slots` threads until the parent says stop; returns when those that run have ended."""
    _Threads(link, executor, slots).run()
    link.flush()


class _Threads:
    """The threads. One whose job is over its hard limit is left behind, and another takes its slot.

    At most as many are left behind as there are slots; then slots are lost, and with the last of them the process ends
    and is replaced.
    """

    def __init__(self, link: Link, executor: Executor, slots: int) -> None:
        self._link = link
        self._executor = executor
        self._slots = slots
        self._lock = threading.Lock()
        self._working = 0
        self._left_behind = 0
        self._none_working = threading.Event()
        self._numbers = itertools.count(1)

    def run(self) -> None:
        """Starts the threads, and waits for those that work to end."""
        self._executor.slots.on_hard = self._replace
        self._working = self._slots
        for _ in range(self._slots):
            self._start()
        self._none_working.wait()

    def _start(self, late: tuple[Slot, Job, Request | None] | None = None) -> None:
        name = f"tqbroker-slot-{next(self._numbers)}"
        threading.Thread(target=self._thread, args=(late,), name=name, daemon=True).start()

    def _thread(self, late: tuple[Slot, Job, Request | None] | None) -> None:
        with Vital("a thread that runs jobs"):
            self._run_jobs(late)

    def _run_jobs(self, late: tuple[Slot, Job, Request | None] | None) -> None:
        if late is not None and not self._take_over(*late):
            self._ended()
            return
        slot = self._executor.slots.add(Slot())
        _work(self._link, self._executor, slot)
        if slot.abandoned:
            with self._lock:
                self._left_behind -= 1
        else:
            self._executor.slots.remove(slot)
            self._ended()

    def _replace(self, slot: Slot, job: Job, request: Request | None) -> None:
        """Called by the watchdog: the job in this slot is over its hard limit."""
        self._executor.slots.remove(slot)
        self._start((slot, job, request))

    def _take_over(self, slot: Slot, job: Job, request: Request | None) -> bool:
        """Tells the outcome of a job that was left behind; whether its slot can be used again."""
        self._link.report(self._executor.endings.timed_out(job, request, slot.hard_ms))
        with self._lock:
            self._left_behind += 1
            usable = self._left_behind <= self._slots
        if not usable:
            _log.error("a slot is lost: %d threads go on with jobs that are over their hard limit", self._slots)
        return usable

    def _ended(self) -> None:
        with self._lock:
            self._working -= 1
            last = self._working == 0
        if last and not self._link.stopped:
            self._link.flush()
            os._exit(1)  # every slot is lost: the parent starts another child
        if last:
            self._none_working.set()


def _work(link: Link, executor: Executor, slot: Slot) -> None:
    while (job := link.next()) is not None:
        if job.lost:
            # It may be what killed its last worker: what has finished is reported before it starts.
            link.flush()
        outcome = executor.run(job, slot)
        if outcome is None:
            return
        link.report(outcome)
        if job.lost:
            link.flush()
    executor.close()
