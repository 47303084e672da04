"""Messages on a socket between parent and child: four bytes of length, then the message."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable

_LENGTH = struct.Struct("<I")
READ_BYTES = 1 << 18


def frame(body: bytes) -> bytes:
    """The message as it travels."""
    return _LENGTH.pack(len(body)) + body


class Frames:
    """Cuts a stream of bytes into messages again."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[memoryview]:
        """The messages that are complete with `data`. They share its memory: decode them before keeping anything."""
        if self._rest:
            data = self._rest + data
        view = memoryview(data)
        found: list[memoryview] = []
        at, end = 0, len(data)
        while end - at >= _LENGTH.size:
            stop = at + _LENGTH.size + _LENGTH.unpack_from(data, at)[0]
            if stop > end:
                break
            found.append(view[at + _LENGTH.size : stop])
            at = stop
        self._rest = data[at:]
        return found


class Pipe:
    """The parent's end: never blocks, keeps what the kernel does not take yet.

    What waits here is bounded by the credit given to the broker, because only delivered jobs are written.
    `on_frames` gets complete messages, `on_end` is called once when the other side is gone.
    """

    def __init__(
        self,
        sock: socket.socket,
        on_frames: Callable[[list[memoryview]], None],
        on_end: Callable[[], None],
    ) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._on_frames = on_frames
        self._on_end = on_end
        self._frames = Frames()
        self._unsent = bytearray()
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._loop.add_reader(sock, self._readable)

    def send(self, body: bytes) -> None:
        """Writes a message, or keeps it until the socket takes it. Nothing happens once the other side is gone."""
        if self._closed:
            return
        data = frame(body)
        if self._unsent:
            self._unsent += data
            return
        sent = self._try_send(data)
        if sent < len(data) and not self._closed:
            self._unsent += memoryview(data)[sent:]
            self._loop.add_writer(self._sock, self._writable)

    def drain(self) -> None:
        """Reads everything that a dead child left behind, then closes."""
        while not self._closed:
            if not self._readable():
                self.close()

    def close(self) -> None:
        """Lets go of the socket; safe to repeat."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._sock)
            self._loop.remove_writer(self._sock)
            self._sock.close()

    def _readable(self) -> bool:
        try:
            data = self._sock.recv(READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self.close()
            self._on_end()
            return False
        if frames := self._frames.feed(data):
            self._on_frames(frames)
        return True

    def _writable(self) -> None:
        sent = self._try_send(self._unsent)
        del self._unsent[:sent]
        if not self._unsent and not self._closed:
            self._loop.remove_writer(self._sock)

    def _try_send(self, data: bytes | bytearray) -> int:
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0
        except OSError:  # the child is gone: the reading side notices and says so
            return len(data)
