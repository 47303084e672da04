"""The worker: children, session and stream put together, from the first load of the app to the last acknowledgement."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from typing import Any, TypeVar

from structlog.stdlib import BoundLogger

from tqbroker._daemon import StopSignals, get_logger
from tqbroker.exceptions import ImproperlyConfigured
from tqbroker.urls import target_of
from tqbroker_worker import loglook
from tqbroker_worker.asks import Asks
from tqbroker_worker.autoscale import Autoscale
from tqbroker_worker.banner import banner
from tqbroker_worker.beforehand import prepare
from tqbroker_worker.children import Child
from tqbroker_worker.config import WorkerConfig
from tqbroker_worker.credit import Credit
from tqbroker_worker.desk import Desk
from tqbroker_worker.forcing import Forcing
from tqbroker_worker.handover import Handover
from tqbroker_worker.identity import Identity
from tqbroker_worker.joblog import JobLog
from tqbroker_worker.ledger import Ledger
from tqbroker_worker.notes import Notes
from tqbroker_worker.pool import AppBrokenError, Pool
from tqbroker_worker.protocol import Annotate, Answered, LogLook, Manifest
from tqbroker_worker.reactions import Reactions
from tqbroker_worker.session import Session
from tqbroker_worker.stream import LEAVE_SECONDS, NotAdmittedError, Stream
from tqbroker_worker.timelimits import HardLimits, LimitTable

T = TypeVar("T")

_LIFE = "tqbroker.worker.life"
REMAP = "REMAP_SIGTERM"
"""Environment variable of Celery's: SIGQUIT in it makes SIGTERM mean that, where jobs must not hold up a stop."""
PROGRESS_SECONDS = 1.0
GIVE_UP_SECONDS = 30.0
"""How long a stopping worker waits for a broker that is away before it leaves its jobs to redelivery."""
HURRY_SECONDS = 5.0
"""The same after the second signal, with a broker that is there."""


async def run(config: WorkerConfig) -> int:
    """Runs a worker until it is told to stop. The exit code: 0 drained, 1 failed, 2 the app cannot be found."""
    loop = asyncio.get_running_loop()
    with StopSignals(hangup=sys.stdout.isatty()) as stop:
        quitting = [signal.SIGQUIT, *([signal.SIGTERM] if os.environ.get(REMAP) == "SIGQUIT" else [])]
        for number in quitting:
            loop.add_signal_handler(number, _quit, stop, number)
        try:
            return await Daemon(config, stop).run()
        finally:
            loop.remove_signal_handler(signal.SIGQUIT)


def _quit(stop: StopSignals, number: signal.Signals) -> None:
    """What the second SIGTERM does, at once."""
    if not stop.first.is_set():
        stop.received(number)
    stop.received(number)


class Daemon:
    """One worker process."""

    def __init__(self, config: WorkerConfig, stop: StopSignals) -> None:
        loop = asyncio.get_running_loop()
        self._config = config
        self._stop = stop
        self._log = _always()
        self._credit = Credit(config.prefetch or 0)
        self._ledger = Ledger()
        self._notes = Notes()
        self._asks = Asks()
        self._stream: Stream | None = None
        self._grace_ms = 0
        log = JobLog(config.loglevel, loop.call_soon)
        self._handover = Handover(self._credit, self._ledger, log, self._wake, loop.call_later)
        self._pool = Pool(config, self._handover)
        self._pool.said = self._said

    async def run(self) -> int:
        """Loads the app, serves, drains."""
        self._pool.start()
        try:
            manifest = await self._until_stopped(self._pool.loaded)
            return 0 if manifest is None else await self._serve(manifest)
        except AppBrokenError as error:
            sys.stderr.write(error.traceback)
            _complain(f"the app {self._config.app!r} cannot be loaded" if error.traceback else str(error))
            return error.exit_code
        except (ImproperlyConfigured, NotAdmittedError) as error:
            _complain(str(error))
            return 2 if isinstance(error, ImproperlyConfigured) else 1
        finally:
            await self._pool.stop()

    async def _serve(self, manifest: Manifest) -> int:
        url, config = manifest.broker, self._pool.config
        if manifest.settings.log != LogLook():
            loglook.set_up(config.loglevel, manifest.settings.log)
        self._credit.ahead = config.prefetch or 0
        self._grace_ms = manifest.settings.grace_ms
        identity = Identity.of(config, manifest)
        target = target_of(url)
        sys.stdout.write(banner(config, manifest, identity, url) + "\n")
        sys.stdout.flush()
        loop = asyncio.get_running_loop()
        await self._until_stopped(asyncio.ensure_future(self._prepare(identity, manifest, url)))
        session = Session(
            identity, self._handover, self._ledger, self._notes, self._credit, loop.call_later, self._wake
        )
        desk = self._desk(config, manifest, url, session)
        self._stream = stream = Stream(session, target, url)
        with Reactions(desk) as reactions:
            streaming = asyncio.ensure_future(stream.run())
            try:
                stream.on_first_welcome = lambda: self._ready(reactions, identity.name)
                await self._until_stopped(streaming)
                reactions.fire("worker_shutting_down", sig=self._stop.name, how="warm", exitcode=0)
                return await self._drain(stream, session, streaming)
            finally:
                reactions.fire("worker_shutdown")
                streaming.cancel()
                await asyncio.gather(streaming, return_exceptions=True)

    async def _prepare(self, identity: Identity, manifest: Manifest, url: str) -> None:
        await prepare(url, identity.queues if self._config.purge else (), manifest.wanted)

    def _desk(self, config: WorkerConfig, manifest: Manifest, url: str, session: Session) -> Desk:
        """Joins the parts: time limits, forced ends, and what commands may touch."""
        later = asyncio.get_running_loop().call_later
        limits = LimitTable(config, manifest)
        for child in self._pool.children:
            _tell_limits(child, limits)
        self._pool.joined = lambda child: _tell_limits(child, limits)
        if config.killable:
            self._handover.feeder.watch = HardLimits(limits, self._pool.kill_for, later).watch
        session.on_terminate = Forcing(self._handover, self._pool, later).terminate
        scaling = Autoscale(self._pool, self._handover, *config.autoscale) if config.autoscale else None
        return Desk(
            config,
            manifest,
            url,
            self._handover,
            self._pool,
            session,
            self._credit,
            limits,
            self._asks,
            scaling,
            lambda: self._stop.received(signal.SIGTERM),
        )

    def _ready(self, reactions: Reactions, name: str) -> None:
        self._log.info(f"{name} ready.")
        reactions.fire("worker_ready")

    def _said(self, child: Child, message: Annotate | Answered) -> None:
        if isinstance(message, Answered):
            self._asks.answered(message)
        else:
            self._notes.add(message, child.send)
            self._wake()

    async def _until_stopped(self, *awaited: asyncio.Future[T]) -> T | None:
        """The result of the one that is done first; None when a signal comes before that."""
        stopped = asyncio.ensure_future(self._stop.first.wait())
        try:
            pending: list[asyncio.Future[Any]] = [stopped, *awaited]
            await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
        return next((future.result() for future in awaited if future.done()), None)

    # -- the end ------------------------------------------------------------------------------------------------------

    async def _drain(self, stream: Stream, session: Session, streaming: asyncio.Future[None]) -> int:
        """Takes no more, waits for what runs, says goodbye. A second signal gives back what runs."""
        more = "" if self._handover.idle else "; once more to return them at once"
        self._log.info(f"{self._stop.name}: stopping, {session.state()}{more}")
        self._handover.close()
        stream.leave()
        hurry: asyncio.Future[Any] = asyncio.ensure_future(self._stop.second.wait())
        either: list[asyncio.Future[Any]] = [streaming, hurry]
        try:
            while not streaming.done() and not hurry.done():
                if self._hopeless(stream, session):
                    break
                await asyncio.wait(either, timeout=PROGRESS_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if not session.settled:
                    self._log.info(f"stopping: {session.state()}")
            if hurry.done() and not streaming.done():
                await self._soften(streaming)
            if hurry.done() and not streaming.done():
                await self._hurry(stream, session, streaming)
        finally:
            hurry.cancel()
        return self._farewell(session, streaming)

    async def _soften(self, streaming: asyncio.Future[None]) -> None:
        """Gives what runs the time of worker_soft_shutdown_timeout, unless a third signal comes."""
        if not self._grace_ms:
            return
        self._log.warning(f"second signal: what runs has {self._grace_ms / 1000:g}s; once more to return it at once")
        third: asyncio.Future[Any] = asyncio.ensure_future(self._stop.third.wait())
        either: list[asyncio.Future[Any]] = [streaming, third]
        await asyncio.wait(either, timeout=self._grace_ms / 1000, return_when=asyncio.FIRST_COMPLETED)
        third.cancel()

    async def _hurry(self, stream: Stream, session: Session, streaming: asyncio.Future[None]) -> None:
        self._log.warning(f"returning jobs to the broker, {session.state()}")
        await self._pool.kill()
        stream.wake()
        if stream.welcomed.is_set():
            await asyncio.wait([streaming], timeout=HURRY_SECONDS)

    def _hopeless(self, stream: Stream, session: Session) -> bool:
        """Whether there is no broker to say goodbye to, and none is to be expected."""
        if stream.welcomed.is_set():
            return False
        now = asyncio.get_running_loop().time()
        if stream.hello_since is not None and now - stream.hello_since < LEAVE_SECONDS:
            return False  # a broker that has taken us in must hear our goodbye, or it waits for us when it starts again
        away = now - (stream.broken_since or 0.0)
        return self._handover.idle and (session.settled or away > GIVE_UP_SECONDS)

    def _farewell(self, session: Session, streaming: asyncio.Future[None]) -> int:
        if session.settled:
            if streaming.done():
                streaming.result()
            self._log.info("drained")
            return 0
        self._log.error(f"left without the broker's word: {session.state()}; it will hand these jobs out again")
        return 1

    def _wake(self) -> None:
        if self._stream is not None:
            self._stream.wake()


def _tell_limits(child: Child, limits: LimitTable) -> None:
    for message in limits.to_tell():
        child.send(message)


def _complain(sentence: str) -> None:
    sys.stderr.write(f"tqbroker worker: {sentence}\n")


def _always() -> BoundLogger:
    """Logs begin and end of the worker, like the banner at every level: who presses Ctrl-C must see what is awaited."""
    logging.getLogger(_LIFE).setLevel(logging.INFO)
    return get_logger(_LIFE)
