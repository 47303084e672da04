"""The broker as a process: opens the storage, builds the core, serves, drains, stops."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import logging
import os
import sys
import threading
from pathlib import Path
from typing import TextIO

from tqbroker._daemon import StopSignals, configure_logging, get_logger
from tqbroker._failpoint import FailpointError, arm, hit
from tqbroker.v1 import admin_pb2, queue_pb2, worker_pb2
from tqbroker_broker import __version__
from tqbroker_broker.addresses import AddressError, parse_listen
from tqbroker_broker.admin import AdminService
from tqbroker_broker.calls import register
from tqbroker_broker.clock import SystemClock
from tqbroker_broker.config import BrokerConfig
from tqbroker_broker.core import Core
from tqbroker_broker.listening import CannotListen, Health, create_server, listen
from tqbroker_broker.service import QueueService
from tqbroker_broker.storage import CRASH_FILE, CannotOpen, Fenced, create_engine
from tqbroker_broker.timers import Timers
from tqbroker_broker.work import WorkerService

OK, FAILED, USAGE = 0, 1, 2

LAST_WORDS = 0.25
"""Seconds open streams get to send what they have when everything is on the disk."""

log = get_logger("tqbroker.broker")


def run(config: BrokerConfig) -> int:
    """Runs a broker until it is told to stop. Returns the exit code."""
    configure_logging(config.loglevel)
    try:
        arm(os.environ)
        for address in config.listen:
            parse_listen(address)
    except (AddressError, FailpointError) as error:
        return _refuse(error, USAGE)
    try:
        return asyncio.run(Server(config).run())
    except (CannotOpen, CannotListen) as error:
        return _refuse(error, FAILED)


def _refuse(error: Exception, code: int) -> int:
    print(f"tqbroker serve: {error}", file=sys.stderr)  # noqa: T201
    return code


class Server:
    """One broker in this process."""

    def __init__(self, config: BrokerConfig) -> None:
        self.config = config
        self.addresses: list[str] = []
        """What it listens on, ports filled in; known once `start` has returned."""
        url = config.storage or f"lmdb:{config.data_dir}"
        self._data_dir = "" if url.startswith("memory:") else str(Path(url.partition(":")[2]).absolute())
        self.core = Core(create_engine(url, config), SystemClock(), config, self._storage_failed)
        self._timers: asyncio.Task[None] | None = None
        self._crashes: TextIO | None = None
        self._closing = False

    async def run(self) -> int:
        """From start to stop. Returns the exit code."""
        with StopSignals() as signals:
            await self.start()
            await signals.first.wait()
            log.info("stopping", signal=signals.name)
            await self.stop()
        return OK

    async def start(self) -> None:
        """Binds, opens the store, serves. Raises CannotListen, CannotOpen."""
        self._server = create_server(self.config)
        self.addresses = listen(self._server, self.config.listen)
        self._watch_for_crashes()
        try:
            opened = await self.core.open()
        except BaseException:
            self._stop_watching()
            raise
        self._watch_for_crashes()
        services = {
            queue_pb2.DESCRIPTOR.services_by_name["Queue"]: QueueService(self.core),
            worker_pb2.DESCRIPTOR.services_by_name["Worker"]: WorkerService(self.core),
            admin_pb2.DESCRIPTOR.services_by_name["Admin"]: AdminService(self.core, self._data_dir),
        }
        for descriptor, service in services.items():
            register(self._server, descriptor, service)
        self._health = Health(self._server, [descriptor.full_name for descriptor in services])
        self._timers = asyncio.create_task(Timers(self.core).run())
        await self._server.start()
        await self._health.set(serving=True)
        log.info(
            "ready",
            address=" ".join(self.addresses),
            data_dir=self._data_dir or "none",
            durability=self.core.engine.durability,
            version=__version__,
            epoch=opened.epoch,
        )
        if opened.awaited:
            log.info("waiting for workers from before the start", workers=opened.awaited)

    def _watch_for_crashes(self) -> None:
        """Should something below Python kill this process, it leaves word, and the next one looks at its store first.

        That can be when the store is opened, and a new one has no directory before that.
        """
        if self._crashes is None and self._data_dir and Path(self._data_dir).is_dir():
            with contextlib.suppress(OSError):
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                self._crashes = os.fdopen(os.open(Path(self._data_dir, CRASH_FILE), flags, 0o600), "a")
                faulthandler.enable(self._crashes)

    def _stop_watching(self) -> None:
        if self._crashes is not None:
            faulthandler.disable()
            self._crashes.close()
            self._crashes = None

    async def stop(self) -> None:
        """Takes no new work, tells the workers, finishes what is in flight, closes the store. Bounded by `drain`."""
        deadline = threading.Timer(self.config.drain, self._too_slow)
        deadline.daemon = True
        deadline.start()
        await self._health.set(serving=False)
        await self.core.drain()
        hit("at_shutdown")
        await self._server.stop(LAST_WORDS)
        await self.core.drain()  # what came in with the last messages
        self._closing = True
        if self._timers is not None:
            self._timers.cancel()
            await asyncio.gather(self._timers, return_exceptions=True)
        await self.core.close()
        self._stop_watching()
        deadline.cancel()
        log.info("stopped")

    def _too_slow(self) -> None:
        log.error("stopping took too long: ending at once; what was answered OK is safe", seconds=self.config.drain)
        _exit(FAILED)

    def _storage_failed(self, error: Fenced) -> None:
        """No OK may leave any more, so nothing is drained: the process ends here and now."""
        if self._closing:
            return
        log.critical("storage has failed: the broker ends at once", error=str(error))
        self._leave_word(f"storage has failed: {error}\n")
        _exit(FAILED)

    def _leave_word(self, text: str) -> None:
        """On a disk that has just failed, perhaps: that must not keep the process from ending."""
        if self._crashes is not None:
            with contextlib.suppress(OSError):
                self._crashes.write(text)
                self._crashes.flush()


def _exit(code: int) -> None:
    """Ends the process without any clean-up, which could still answer somebody."""
    logging.shutdown()
    sys.stderr.flush()
    os._exit(code)
