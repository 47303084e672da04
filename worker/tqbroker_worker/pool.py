"""All children of a worker: started together, watched, started again when they die."""

from __future__ import annotations

import asyncio
import signal

from tqbroker._daemon import get_logger
from tqbroker_worker.children import Child
from tqbroker_worker.config import WorkerConfig
from tqbroker_worker.handover import Handover
from tqbroker_worker.protocol import Broken, Done, Ended, Manifest, Unstarted

BACKOFF = 0.1
BACKOFF_MOST = 10.0
STOP_SECONDS = 3.0
"""How long a child may take to exit when it has nothing to run any more."""


class AppBrokenError(Exception):
    """The app could not be loaded by the first children. `exit_code` is what the worker ends with."""

    def __init__(self, message: str, traceback: str = "", exit_code: int = 1) -> None:
        super().__init__(message)
        self.traceback = traceback
        self.exit_code = exit_code


class Pool:
    """The children. `loaded` is done when all of them are ready for the first time, with what the app contains."""

    def __init__(self, config: WorkerConfig, handover: Handover) -> None:
        self.loaded: asyncio.Future[Manifest] = asyncio.get_running_loop().create_future()
        self._config = config
        self._handover = handover
        self._children: list[Child] = []
        self._log = get_logger("tqbroker.worker")
        self._failures = 0
        self._ending = False
        self._empty = asyncio.Event()

    def start(self) -> None:
        """Starts every child; all load the app at the same time."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)
        for _ in range(self._config.children):
            self._start_one()

    async def stop(self) -> None:
        """Ends children that have nothing to run; those that do not go are killed."""
        self._ending = True
        for child in self._children:
            if child.ready:
                child.stop()
            else:
                child.kill()
        try:
            await asyncio.wait_for(self._gone(), STOP_SECONDS)
        except TimeoutError:
            await self.kill()
        asyncio.get_running_loop().remove_signal_handler(signal.SIGCHLD)

    async def kill(self) -> None:
        """Ends every child at once; what they ran goes back to the broker."""
        self._ending = True
        for child in self._children:
            child.kill()
        await self._gone()

    async def _gone(self) -> None:
        self._reap()
        while self._children:
            self._empty.clear()
            await self._empty.wait()

    def _start_one(self) -> None:
        if not self._ending:
            self._children.append(Child(self._config, self._on_message, self._on_exit))

    def _reap(self) -> None:
        for child in list(self._children):
            child.reap()

    def _on_message(self, child: Child, message: Manifest | Broken | Done | Ended | Unstarted) -> None:
        if isinstance(message, Done):
            self._handover.done(child.seat, message)
        elif isinstance(message, Ended):
            self._handover.ended(child.seat, message)
        elif isinstance(message, Unstarted):
            self._handover.unstarted(child.seat, message)
        elif isinstance(message, Manifest):
            self._on_ready(child, message)
        else:
            self._on_broken(message)

    def _on_ready(self, child: Child, manifest: Manifest) -> None:
        child.ready = True
        self._failures = 0
        self._handover.add(child.seat)
        if not self.loaded.done() and sum(child.ready for child in self._children) == self._config.children:
            self.loaded.set_result(manifest)

    def _on_broken(self, broken: Broken) -> None:
        if not self.loaded.done():
            self.loaded.set_exception(AppBrokenError(broken.message, broken.traceback, 2 if broken.usage else 1))
        else:
            self._log.error(f"a new child cannot load the app: {broken.message}", exception=broken.traceback)

    def _on_exit(self, child: Child) -> None:
        self._children.remove(child)
        self._empty.set()
        why = child.how_it_ended()
        if child.ready and child.stopping:
            self._handover.abandon(child.seat)
        elif child.ready:
            self._log.error(f"{why}: starting another", pid=child.pid)
            self._handover.crashed(child.seat, why)
        elif not self.loaded.done() and not child.stopping:
            self.loaded.set_exception(AppBrokenError(f"{why} while it loaded the app {self._config.app!r}"))
        if not self._ending:
            self._start_later(child.ready)

    def _start_later(self, was_ready: bool) -> None:
        """At once after a crash; with growing pauses while children die before they are ready."""
        if was_ready:
            self._start_one()
            return
        pause = min(BACKOFF_MOST, BACKOFF * 2**self._failures)
        self._failures += 1
        asyncio.get_running_loop().call_later(pause, self._start_one)
