"""A TCP connection that can be hurt: everything to and from a broker goes through here, as long as a test wants it to.

`up` is the way from a client or worker to the broker, `down` the way back. What is set of a way holds for all
connections, those to come included, until `heal`. The two ends are real sockets, so what each side sees is what it
would see of a network: nothing of ours is replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from tests.acceptance.harness.waiting import PATIENCE

CHUNK = 64 * 1024
"""Bytes taken at once."""

AT_ONCE = 64
"""Chunks on their way on one connection while the way is delayed; then no more are taken."""

TICK = 0.02
"""Seconds between two slices of a slow way."""

AT_CLOSE_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time to linger: closing sends RST, not FIN."""


class Way:
    """One direction of all connections."""

    def __init__(self, call: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        self._call = call
        self._flows = asyncio.Event()
        self._flows.set()
        self.seconds = 0.0
        """How long each byte is on its way."""
        self.rate = 0
        """Bytes a second on each connection; 0 is as fast as it goes."""
        self.left: int | None = None
        """Bytes that still go through, over all connections; then every connection is torn. None: no such bound."""
        self.swallows = False
        self.dropped = 0
        """Bytes that came when this direction had been half closed."""
        self.hurt = 0
        """How often bytes were held up, slowed, swallowed or cut off on their way. Where nothing flows nothing is."""

    def freeze(self) -> None:
        """Nothing is taken and nothing is given: the sender's buffers fill, and nobody is told."""
        self._call(self._stop())

    def thaw(self) -> None:
        """Goes on where it stopped: nothing is missing."""
        self._call(self._go())

    def delay(self, seconds: float) -> None:
        """Each byte takes so long; its order is kept."""
        self.seconds = seconds

    def slow(self, rate: int) -> None:
        """So many bytes a second on each connection."""
        self.rate = rate

    def cut_after(self, count: int) -> None:
        """After so many more bytes the connection that carries the last of them is reset, in the midst of a frame."""
        self.left = count

    def swallow(self) -> None:
        """Takes everything and gives nothing: what a network does that drops packets. Needs a `reset` to end."""
        self.swallows = True

    def heal(self) -> None:
        """No longer hurt."""
        self.seconds, self.rate, self.left, self.swallows = 0.0, 0, None, False
        self.thaw()

    def spend(self, count: int) -> bool:
        """So many bytes went through. True when they were the last that may."""
        left = (self.left or 0) - count
        self.left = left if left > 0 else None
        self.hurt += left <= 0
        return left <= 0

    def meets(self) -> None:
        """Bytes are about to be given: counts whether something is done to them."""
        self.hurt += bool(self.seconds or self.rate or self.swallows or not self._flows.is_set())

    async def _stop(self) -> None:
        self._flows.clear()

    async def _go(self) -> None:
        self._flows.set()

    async def flowing(self) -> None:
        """Returns when it is not frozen."""
        await self._flows.wait()


class Proxy:
    """Listens on a port of its own and passes everything on to `target` (HOST:PORT), from a thread of its own."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._pairs: dict[asyncio.Task[None], _Pair] = {}
        self._listener: asyncio.Server | None = None
        self._port = 0
        self.up, self.down = Way(self._do), Way(self._do)
        self.accepted = 0
        """Connections so far."""
        self._ended = 0
        self.accept()

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        """The broker behind it, as users name it."""
        return f"tq://{self.address}"

    @property
    def connections(self) -> int:
        """Connections now."""
        return len(self._pairs)

    @property
    def hurt(self) -> int:
        """How often a connection was reset or half closed, or bytes of one were hurt: 0 if no fault met anything."""
        return self._ended + self.up.hurt + self.down.hurt

    # -- what can happen -----------------------------------------------------------------------------------------------

    def freeze(self) -> None:
        """Both ways: a peer that is stopped, or a cable that was pulled."""
        self.up.freeze()
        self.down.freeze()

    def thaw(self) -> None:
        """Goes on."""
        self.up.thaw()
        self.down.thaw()

    def swallow(self) -> None:
        """Both ways, for new connections too: they are accepted, and that is all."""
        self.up.swallow()
        self.down.swallow()

    def heal(self) -> None:
        """Everything goes through again, also new connections. What was swallowed is reset: bytes are missing there."""
        torn = self.up.swallows or self.down.swallows
        self.up.heal()
        self.down.heal()
        if torn:
            self.reset()
        self.accept()

    def reset(self) -> None:
        """Every connection ends at both sides with RST."""
        self._do(self._reset())

    def half_close(self, way: Way) -> None:
        """Each connection gets a FIN in one direction, and goes on in the other."""
        self._do(self._half_close(up=way is self.up))

    def refuse(self) -> None:
        """New connections are refused: nobody listens any more. Those that stand, stand."""
        self._do(self._refuse())

    def accept(self) -> None:
        """New connections are accepted (again)."""
        self._do(self._accept())

    def close(self) -> None:
        """Ends everything."""
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- in the loop ---------------------------------------------------------------------------------------------------

    def _do(self, action: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(action, self._loop).result(PATIENCE)

    async def _reset(self) -> None:
        for pair in list(self._pairs.values()):
            pair.reset()
            self._ended += 1

    async def _half_close(self, *, up: bool) -> None:
        for pair in list(self._pairs.values()):
            self._ended += pair.half_close(up=up)

    async def _refuse(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def _accept(self) -> None:
        if self._listener is None:
            self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self._port, backlog=1024)
            self._port = self._listener.sockets[0].getsockname()[1]

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Not a coroutine: asyncio before 3.12 complains when one of those is cancelled, as `_end` does."""
        self.accepted += 1
        pair = _Pair(self, reader, writer)
        task = self._loop.create_task(pair.run(self._target))
        self._pairs[task] = pair
        task.add_done_callback(self._pairs.pop)

    async def _end(self) -> None:
        await self._refuse()
        await self._reset()
        tasks = list(self._pairs)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Pair:
    """One connection: that of who came, and that to the target."""

    def __init__(self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy, self._reader, self._near = proxy, reader, writer
        self._far: asyncio.StreamWriter | None = None

    async def run(self, target: tuple[str, int]) -> None:
        """Until both directions have ended, or one has failed."""
        try:
            reader, self._far = await asyncio.open_connection(*target)
            async with asyncio.TaskGroup() as group:
                group.create_task(_pass(self._reader, self._far, self._proxy.up))
                group.create_task(_pass(reader, self._near, self._proxy.down))
        except* OSError:
            pass
        finally:
            self.reset()

    def reset(self) -> None:
        """RST to both, unless they have said goodbye to each other."""
        for writer in (self._near, self._far):
            if writer is not None:
                with contextlib.suppress(OSError):
                    sock = writer.get_extra_info("socket")
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_CLOSE_RESET)
                writer.transport.abort()

    def half_close(self, *, up: bool) -> bool:
        """FIN in one direction. False when that has ended already."""
        writer = self._far if up else self._near
        if writer is None or writer.is_closing():
            return False
        with contextlib.suppress(OSError):
            writer.write_eof()
        return True


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way) -> None:
    """Everything that comes, until it ends."""
    queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(AT_ONCE)
    async with asyncio.TaskGroup() as group:
        group.create_task(_take(reader, queue, way))
        group.create_task(_give(writer, queue, way))


async def _take(reader: asyncio.StreamReader, queue: asyncio.Queue[tuple[float, bytes]], way: Way) -> None:
    data = b"-"
    while data:
        await way.flowing()
        data = await reader.read(CHUNK)
        await queue.put((asyncio.get_running_loop().time() + way.seconds, data))


async def _give(writer: asyncio.StreamWriter, queue: asyncio.Queue[tuple[float, bytes]], way: Way) -> None:
    while True:
        due, data = await queue.get()
        way.meets()
        await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
        await way.flowing()
        if not data:
            writer.write_eof()
            return
        if not way.swallows:
            await _send(writer, data, way)


async def _send(writer: asyncio.StreamWriter, data: bytes, way: Way) -> None:
    """All of it, unless this direction has been half closed: what comes after the FIN is dropped."""
    while data:
        size = max(1, round(way.rate * TICK)) if way.rate else len(data)
        size = min(size, len(data)) if way.left is None else min(size, len(data), way.left)
        if writer.is_closing():
            raise ConnectionResetError
        try:
            writer.write(data[:size])
        except RuntimeError:  # how asyncio refuses to write after the end
            way.dropped += len(data)
            return
        await writer.drain()
        data = data[size:]
        if way.left is not None and way.spend(size):
            raise ConnectionResetError
        if way.rate:
            await asyncio.sleep(TICK)
