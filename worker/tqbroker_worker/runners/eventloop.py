"""Runs jobs as asyncio tasks in one loop: the pool asyncio."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from tqbroker_worker.coroutines import Running
from tqbroker_worker.delivery import Success
from tqbroker_worker.execute import Executor
from tqbroker_worker.link import Link
from tqbroker_worker.protocol import Ended, Verdict
from tqbroker_worker.vital import Vital

_log = logging.getLogger("tqbroker.worker")
_vital = Vital("the loop that runs jobs")


def run(link: Link, executor: Executor, slots: int, sock: socket.socket) -> None:
    """Runs up to `slots` jobs at once until the parent says stop; returns when those that run have ended."""
    asyncio.run(_run(link, executor, slots, sock))
    link.flush()


async def _run(link: Link, executor: Executor, slots: int, sock: socket.socket) -> None:
    await _Loop(link, executor, slots).run(sock)


class _Loop:
    """Starts a task for each job while slots are free. Jobs that come in by the watchdog's thread wake the loop.

    At most as many threads are left behind as there are slots; then slots are lost, and with the last of them the
    process ends and is replaced.
    """

    def __init__(self, link: Link, executor: Executor, slots: int) -> None:
        self._link = link
        self._executor = executor
        self._slots = slots
        self._threads = 2 * slots
        """Twice the slots: threads that a hard limit left behind must not keep jobs from starting."""
        self._loop = asyncio.get_running_loop()
        self._running: dict[int, Running] = {}
        self._left_behind: set[Running] = set()
        self._ended = asyncio.Event()
        self._flushing = False

    async def run(self, sock: socket.socket) -> None:
        """Runs until the parent says stop and nothing runs any more."""
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(self._threads, "tqbroker-slot"))
        self._link.on_cancel = partial(self._soon, self._cancel)
        self._link.listeners.append(partial(self._soon, self._fill))
        loop.add_reader(sock, self._readable)
        self._readable()
        await self._ended.wait()
        loop.remove_reader(sock)

    def _soon(self, function: Callable[..., None], *arguments: Any) -> None:
        """Calls it in the loop, from whichever thread."""
        self._loop.call_soon_threadsafe(function, *arguments)

    def _readable(self) -> None:
        self._link.poll()
        self._fill()

    def _fill(self) -> None:
        self._link.run_errands()
        while len(self._running) < self._usable and (job := self._link.take()) is not None:
            if job.lost:
                self._link.flush()
            running = Running(self._executor, job, self._over_hard)
            self._running[job.token] = running
            running.task = self._loop.create_task(running.run())
            running.task.add_done_callback(partial(self._over, running))
        if self._running:
            return
        if self._link.stopped:
            self._ended.set()
        elif not self._usable:
            self._link.flush()
            os._exit(1)  # every slot is lost: the parent starts another child

    @property
    def _usable(self) -> int:
        """Slots for which a thread is left, should their job need one."""
        return min(self._slots, self._threads - len(self._left_behind))

    def _over(self, running: Running, task: asyncio.Task[Success | Ended | None]) -> None:
        """Reports an outcome, unless the hard limit did. A task cancelled before its first step has none of its own."""
        with _vital:
            if task.cancelled():
                outcome: Success | Ended | None = Ended(running.job.token, Verdict.CANCELLED, None)
            else:
                outcome = task.result()
            if running in self._left_behind:
                self._left_behind.discard(running)
                self._fill()
            if outcome is not None and self._running.get(running.job.token) is running:
                self._report(running, outcome)

    def _over_hard(self, running: Running) -> None:
        """The job's outcome is told now; what its task still does is nobody's."""
        with _vital:
            ended = self._executor.endings.timed_out(running.job, running.attempt.request, running.hard_ms)
            if running.in_thread:
                self._leave_behind(running)
            self._report(running, ended)

    def _leave_behind(self, running: Running) -> None:
        self._left_behind.add(running)
        if len(self._left_behind) > self._slots:
            _log.error("a slot is lost: %d threads go on with jobs that are over their hard limit", self._slots)

    def _report(self, running: Running, outcome: Success | Ended) -> None:
        self._link.report(outcome)
        if running.job.lost:
            self._link.flush()
        del self._running[running.job.token]
        self._flush_soon()
        self._fill()

    def _cancel(self, tokens: list[int], force: bool, _signal: str) -> None:
        for token in tokens:
            if (running := self._running.get(token)) is not None:
                running.cancel(force)

    def _flush_soon(self) -> None:
        """Outcomes of one round of the loop go out together."""
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        self._link.flush()
