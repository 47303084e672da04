"""Runs jobs as asyncio tasks in one loop: the pool asyncio."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from tqbroker_worker.execute import Executor, Job, Success
from tqbroker_worker.link import Link
from tqbroker_worker.protocol import Ended, Verdict


def run(link: Link, executor: Executor, slots: int, sock: socket.socket) -> None:
    """Runs up to `slots` jobs at once until the parent says stop; returns when those that run have ended."""
    asyncio.run(_run(link, executor, slots, sock))
    link.flush()


async def _run(link: Link, executor: Executor, slots: int, sock: socket.socket) -> None:
    await _Loop(link, executor, slots).run(sock)


class _Loop:
    """Starts a task for each job while slots are free. Jobs that come in by the watchdog's thread wake the loop."""

    def __init__(self, link: Link, executor: Executor, slots: int) -> None:
        self._link = link
        self._executor = executor
        self._slots = slots
        self._loop = asyncio.get_running_loop()
        self._running: dict[int, asyncio.Task[Success | Ended]] = {}
        self._cancelled: set[int] = set()
        self._ended = asyncio.Event()
        self._flushing = False

    async def run(self, sock: socket.socket) -> None:
        """Runs until the parent says stop and nothing runs any more."""
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(self._slots, "tqbroker-slot"))
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
        while len(self._running) < self._slots and (job := self._link.take()) is not None:
            if job.lost:
                self._link.flush()
            task = self._loop.create_task(self._executor.run_async(job, self._cancelled.__contains__))
            self._running[job.token] = task
            task.add_done_callback(partial(self._over, job))
        if self._link.stopped and not self._running:
            self._ended.set()

    def _over(self, job: Job, task: asyncio.Task[Success | Ended]) -> None:
        """Reports an outcome. A task that was cancelled before its first step has none of its own."""
        self._link.report(Ended(job.token, Verdict.CANCELLED, None) if task.cancelled() else task.result())
        if job.lost:
            self._link.flush()
        del self._running[job.token]
        self._cancelled.discard(job.token)
        self._flush_soon()
        self._fill()

    def _cancel(self, tokens: list[int]) -> None:
        for token in tokens:
            if (task := self._running.get(token)) is not None:
                self._cancelled.add(token)
                task.cancel()

    def _flush_soon(self) -> None:
        """Outcomes of one round of the loop go out together."""
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        self._link.flush()
