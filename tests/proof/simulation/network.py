"""A network between hosts: what is said takes a while, may get lost or come twice, and connections break.

A stream keeps its order, as TCP does, until it breaks: then what was on its way is lost, and the two ends hear of it at
different times. Single calls overtake each other; a request or its answer may get lost, or the request comes twice.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import Message

from tqbroker_broker.calls import EOF

Word = bytes | None | Exception
"""What goes through a stream: a message, its regular end, or an error that ends it."""

NOTICE = (0.0, 0.05, 0.3)
"""Seconds until an end hears that its stream broke."""


class Host:
    """A machine: it may stand still, and it may be cut off, so that what is sent to it and by it waits."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._frozen: asyncio.Event | None = None
        self.cut_off = False
        self._held: list[Callable[[], None]] = []

    @property
    def frozen(self) -> bool:
        """Whether it stands still."""
        return self._frozen is not None

    def freeze(self) -> None:
        """From now on nothing happens in it."""
        self._frozen = self._frozen or asyncio.Event()

    def thaw(self) -> None:
        """It goes on."""
        if self._frozen is not None:
            self._frozen.set()
            self._frozen = None

    async def awake(self) -> None:
        """Returns when the machine does not stand still."""
        while self._frozen is not None:
            await self._frozen.wait()

    def cut(self) -> None:
        """From now on nothing comes or goes."""
        self.cut_off = True

    def heal(self) -> None:
        """What was held back arrives."""
        self.cut_off = False
        held, self._held = self._held, []
        for arrive in held:
            arrive()

    def hold(self, arrive: Callable[[], None]) -> None:
        """Keeps what would arrive until the way is free."""
        self._held.append(arrive)


class Pipe:
    """One direction of a stream. `get` gives messages in order, then None for its regular end, or raises."""

    def __init__(self, net: Network, edge: Host, receiver: Host) -> None:
        self._net = net
        self._edge = edge
        self._receiver = receiver
        self._arrived: deque[Word] = deque()
        self._waiting: deque[Word] = deque()
        self._last = 0.0
        self._news = asyncio.Event()
        self.broken = False
        self._error: Exception | None = None

    def put(self, message: Word) -> None:
        """Sends a message; None closes, an error ends."""
        if self.broken:
            return
        loop = self._net.loop
        self._last = max(self._last + 1e-6, loop.time() + self._net.delay())
        self._waiting.append(message)
        loop.call_at(self._last, self._arrive)

    def _arrive(self) -> None:
        if self.broken or not self._waiting:
            return
        if self._edge.cut_off:
            self._edge.hold(self._arrive)
            return
        self._arrived.append(self._waiting.popleft())
        self._news.set()

    def sever(self) -> None:
        """Nothing arrives any more."""
        self.broken = True

    def fail(self, error: Exception) -> None:
        """The receiver hears that the stream has ended so."""
        self.sever()
        self._error = self._error or error
        self._news.set()

    async def get(self) -> bytes | None:
        while True:
            await self._receiver.awake()
            if self._arrived:
                word = self._arrived.popleft()
                if isinstance(word, Exception):
                    self._error = self._error or word
                    continue
                return word
            if self._error is not None:
                raise self._error
            self._news.clear()
            await self._news.wait()


class Duplex:
    """A stream between a caller and the broker."""

    def __init__(self, net: Network, caller: Host, broker: Host) -> None:
        self.caller = caller
        self.up = Pipe(net, caller, broker)
        self.down = Pipe(net, caller, caller)
        self._net = net
        self.over = False

    def break_off(self, why: str) -> None:
        """The connection is gone; each end hears of it when it does."""
        if self.over:
            return
        self.over = True
        self.up.sever()
        self.down.sever()
        loop, rng = self._net.loop, self._net.rng
        loop.call_later(rng.choice(NOTICE), self._tell, self.up, ConnectionBrokenError(why))
        loop.call_later(rng.choice(NOTICE), self._tell, self.down, rpc_error(grpc.StatusCode.UNAVAILABLE, why))

    def _tell(self, pipe: Pipe, error: Exception) -> None:
        """One end hears of it, as soon as the way is free."""
        if self.caller.cut_off:
            self.caller.hold(lambda: self._tell(pipe, error))
        else:
            pipe.fail(error)


class ConnectionBrokenError(Exception):
    """What a handler of the broker reads from a stream that broke."""


def rpc_error(code: grpc.StatusCode, details: str, metadata: Any = ()) -> grpc.aio.AioRpcError:
    """What a caller gets for a call that failed."""
    return grpc.aio.AioRpcError(
        code, grpc.aio.Metadata(), grpc.aio.Metadata(*metadata), details=details, debug_error_string=None
    )


class AbortedError(Exception):
    """A handler has ended its call with an error."""

    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        super().__init__(str(error))
        self.error = error


class ServedCall:
    """What a handler of the broker sees of a call: `read`, `write` and `abort`, as grpc.aio's context has them."""

    def __init__(self, broker: Host, duplex: Duplex | None, request_type: type[Message]) -> None:
        self._broker = broker
        self._duplex = duplex
        self._type = request_type

    async def read(self) -> Any:
        assert self._duplex is not None
        raw = await self._duplex.up.get()
        if raw is None:
            return EOF
        message = self._type()
        message.ParseFromString(raw)
        return message

    async def write(self, message: Message) -> None:
        assert self._duplex is not None
        await self._broker.awake()
        self._duplex.down.put(message.SerializeToString())

    async def abort(self, code: grpc.StatusCode, details: str, metadata: Any = ()) -> None:
        raise AbortedError(rpc_error(code, details, metadata))


class CallerSide:
    """What a caller sees of its stream, as grpc.aio's call: `read`, `write`, `done_writing` and `cancel`."""

    def __init__(self, duplex: Duplex, answer_type: type[Message]) -> None:
        self._duplex = duplex
        self._type = answer_type

    async def read(self) -> Any:
        raw = await self._duplex.down.get()
        if raw is None:
            return EOF
        message = self._type()
        message.ParseFromString(raw)
        return message

    async def write(self, message: Message) -> None:
        await self._duplex.caller.awake()
        self._duplex.up.put(message.SerializeToString())

    async def done_writing(self) -> None:
        await self._duplex.caller.awake()
        self._duplex.up.put(None)

    def cancel(self) -> bool:
        self._duplex.break_off("cancelled by the caller")
        return True


class Network:
    """How long messages take, and which get lost. `calm` stops all faults of its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop, rng: Random) -> None:
        self.loop = loop
        self.rng = rng
        self.calm = False
        self.streams: dict[Duplex, None] = {}

    def delay(self) -> float:
        """Seconds one message takes: mostly a fraction of a millisecond, at times half a second."""
        draw = self.rng.random()
        if draw < 0.97 or self.calm:
            return 0.0002 + self.rng.random() * 0.002
        return self.rng.random() * (0.05 if draw < 0.995 else 0.6)

    def loses(self) -> bool:
        """Whether this message never arrives."""
        return not self.calm and self.rng.random() < 0.02

    def repeats(self) -> bool:
        """Whether this request arrives twice."""
        return not self.calm and self.rng.random() < 0.02

    def open(self, caller: Host, broker: Host) -> Duplex:
        """A new stream."""
        duplex = Duplex(self, caller, broker)
        self.streams[duplex] = None
        return duplex

    def living(self, caller: Host | None = None) -> list[Duplex]:
        """Streams that stand, of one caller or of all."""
        for duplex in [each for each in self.streams if each.over]:
            del self.streams[duplex]
        return [each for each in self.streams if caller is None or each.caller is caller]
