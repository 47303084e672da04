"""The Work stream: one connection at a time, opened again whenever it breaks."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any, cast

import grpc.aio

from tqbroker._daemon import get_logger
from tqbroker._grpc_channel import OPTIONS
from tqbroker._grpc_errors import detail_of
from tqbroker.v1 import errors_pb2
from tqbroker.v1 import worker_pb2 as pb
from tqbroker.v1.worker_pb2_grpc import WorkerStub
from tqbroker_worker.session import Session

WELCOME_SECONDS = 10.0
"""How long the answer to a Hello may take."""
SILENCE = 2.5
"""Heartbeats without a word from the broker after which the stream counts as broken."""
RETRY_FIRST, RETRY_MOST = 0.1, 1.0
NAME_TAKEN_EXTRA = 2.0
"""Seconds beyond the grace for a former self under the same name to be given up."""
LEAVE_SECONDS = 5.0
"""How long a worker that stops waits for the broker's answer to its Hello, or to its goodbye."""
_STOPPING = "the broker is stopping"
_NOT_CONNECTED = ("failed to connect to all addresses", "errors resolving ", "DNS resolution failed")

Call = grpc.aio.StreamStreamCall[pb.WorkRequest, pb.WorkResponse]


class NotAdmittedError(Exception):
    """The broker will not have us: another live worker keeps our name, or our introduction breaks a rule."""


class BrokenError(Exception):
    """The stream ended; the message says why, `reason` is the broker's if it gave one."""

    def __init__(self, message: str, reason: errors_pb2.Reason.ValueType = errors_pb2.REASON_UNSPECIFIED) -> None:
        super().__init__(message)
        self.reason = reason


class Stream:
    """Keeps a session connected to the broker at `target`, shown to people as `url`."""

    def __init__(self, session: Session, target: str, url: str) -> None:
        self.welcomed = asyncio.Event()
        """Set while the broker has answered our Hello and the stream stands."""
        self.broken_since: float | None = None
        """When the stream broke (loop time); None while it stands, and before the first attempt."""
        self.hello_since: float | None = None
        """When we said Hello (loop time) to a broker that may answer yet; None when it has, or the attempt failed."""
        self.on_first_welcome: Callable[[], None] = lambda: None
        self._session = session
        self._target = target
        self._url = url
        self._log = get_logger("tqbroker.worker")
        self._news = asyncio.Event()
        self._leave = False
        self._left = False
        self._taken_since: float | None = None
        self._heard = 0.0

    def wake(self) -> None:
        """There may be something to send."""
        self._news.set()

    def leave(self) -> None:
        """Say goodbye as soon as the session is settled; `run` then returns."""
        self._leave = True
        self._news.set()

    async def run(self) -> None:
        """Until we have left. Raises NotAdmittedError when the broker will not have us."""
        async with grpc.aio.insecure_channel(self._target, options=OPTIONS) as channel:
            await self.keep(cast(Any, WorkerStub(channel).Work))  # its stub wants an iterator

    async def keep(self, open_stream: Callable[[], Call]) -> None:
        """The same, over streams from anywhere."""
        pause = RETRY_FIRST
        while True:
            try:
                await self._connected(open_stream())
                return
            except BrokenError as error:
                if self.welcomed.is_set():
                    pause = RETRY_FIRST
                self._lost(error)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(RETRY_MOST, pause * 2)

    def _lost(self, error: BrokenError) -> None:
        """Says once that the broker is away; gives up only when it will not have us."""
        now = asyncio.get_running_loop().time()
        first = self.broken_since is None
        self.welcomed.clear()
        self._session.closed()
        self.broken_since = self.broken_since if self.broken_since is not None else now
        if error.reason == errors_pb2.REASON_NAME_TAKEN:
            self._name_taken(error, now)
        elif error.reason == errors_pb2.REASON_INVALID and self._session.welcome is None:
            raise NotAdmittedError(str(error))
        elif first and self._session.welcome is None:
            self._log.error(f"cannot reach the broker at {self._url}: {error}; trying again every second")
        elif first:
            self._log.warning(f"broker connection lost: {error}; reconnecting, {self._session.state()}")

    def _name_taken(self, error: BrokenError, now: float) -> None:
        known = self._session.welcome
        grace = (known.grace_ms / 1000 if known else 5.0) + NAME_TAKEN_EXTRA
        if self._taken_since is None:
            self._taken_since = now
            self._log.warning(f"{error}; waiting {grace:.0f} s for it to go")
        elif now - self._taken_since > grace:
            raise NotAdmittedError(str(error))

    async def _connected(self, call: Call) -> None:
        """One stream from Hello to its end: returns when we have left, raises BrokenError when it broke."""
        self.hello_since = asyncio.get_running_loop().time()
        try:
            await call.write(self._session.hello())
            await self._await_welcome(call)
            await _first_of(self._read(call), self._write(call), self._beat())
        except grpc.aio.AioRpcError as error:
            raise _broken(error) from None
        except asyncio.InvalidStateError:
            raise BrokenError("the connection was closed") from None
        finally:
            self.hello_since = None
            call.cancel()

    async def _await_welcome(self, call: Call) -> None:
        try:
            response = await asyncio.wait_for(call.read(), WELCOME_SECONDS)
        except TimeoutError:
            raise BrokenError(f"no answer within {WELCOME_SECONDS:.0f} s") from None
        first = self._session.welcome is None
        self._hear(response)
        if first:
            self.on_first_welcome()
        elif self.broken_since is not None:
            self._log.info(f"connected to the broker at {self._url} again, {self._session.state()}")
        self.broken_since = self.hello_since = self._taken_since = None
        self.welcomed.set()
        self._news.set()

    async def _read(self, call: Call) -> None:
        """Takes in what the broker says; returns when it ends the stream after our goodbye."""
        while True:
            response = await call.read()
            if self._left and not isinstance(response, pb.WorkResponse):
                return
            self._hear(response)
            self._news.set()

    def _hear(self, response: object) -> None:
        if not isinstance(response, pb.WorkResponse):
            raise BrokenError(_STOPPING if self._session.stopping else "the broker ended the stream")
        self._heard = asyncio.get_running_loop().time()
        self._session.received(response)

    async def _write(self, call: Call) -> None:
        """Sends what the session has to say, as soon as it has. The only writer: gRPC allows one at a time."""
        while True:
            await self._news.wait()
            self._news.clear()
            while (request := self._session.request()) is not None:
                await call.write(request)
            if self._leave and self._session.settled:
                self._left = True
                await call.write(self._session.leaving())
                await _let_end(call)
                return
            if self._session.stopping:
                await _let_end(call)
                raise BrokenError(_STOPPING)

    async def _beat(self) -> None:
        assert self._session.welcome is not None
        every = max(0.05, self._session.welcome.heartbeat_ms / 1000)
        while True:
            await asyncio.sleep(every)
            silent = asyncio.get_running_loop().time() - self._heard
            if silent > SILENCE * every:
                raise BrokenError(f"no word from the broker for {silent:.1f} s")
            self._session.beat()
            self._news.set()


async def _let_end(call: Call) -> None:
    """Half-closes and gives the broker time to end the stream: a cancelled one could lose the last words."""
    await call.done_writing()
    await asyncio.sleep(LEAVE_SECONDS)


async def _first_of(*coroutines: Coroutine[Any, Any, None]) -> None:
    """Runs all until one of them returns or fails, ends the others, and does the same."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


def _broken(error: grpc.aio.AioRpcError) -> BrokenError:
    if (refusal := detail_of(error)) is not None:
        return BrokenError(refusal.message.rstrip("."), refusal.reason)
    return BrokenError(_short(error.details() or "") or error.code().name)


def _short(details: str) -> str:
    """What people want to know of gRPC's words for a connection that failed: "connection refused"."""
    if not details.startswith(_NOT_CONNECTED):
        return details.rstrip(".")
    reason = details.rpartition(": ")[2].strip("[]")
    return reason[:1].lower() + reason[1:]
