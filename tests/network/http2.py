"""HTTP/2 by hand: what a program may send to the port that does not keep to the rules."""

from __future__ import annotations

import socket
from random import Random

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

END_HEADERS = 4
CANCEL = b"\x00\x00\x00\x08"


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """One frame."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


HELLO = PREFACE + frame(SETTINGS)
"""How a client begins."""


def headers(path: str) -> bytes:
    """The header block of a gRPC call: POST, http, a path, and the two headers that gRPC demands. No compression."""
    named = [(b"content-type", b"application/grpc"), (b"te", b"trailers")]
    raw = bytes([0x83, 0x86, 0x04, len(path)]) + path.encode() + b"\x01\x01x"  # :method, :scheme, :path, :authority
    for name, value in named:
        raw += b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value
    return raw


def call_and_reset(path: str, streams: range) -> bytes:
    """Calls that are opened and taken back in the same breath, on these numbers: what HTTP/2 servers have died of."""
    block = headers(path)
    return b"".join(
        frame(HEADERS, END_HEADERS, stream, block) + frame(RST_STREAM, 0, stream, CANCEL) for stream in streams
    )


def garbage(random: Random) -> bytes:
    """Bytes that are no HTTP/2, or that begin as if they were."""
    kind = random.randrange(6)
    if kind == 0:
        return random.randbytes(random.choice([1, 10, 1000, 20_000]))
    if kind == 1:
        return b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * random.choice([1, 100])
    if kind == 2:
        return b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + random.randbytes(500)  # a TLS ClientHello
    if kind == 3:
        return PREFACE[: random.randrange(len(PREFACE))] + random.randbytes(30)
    return HELLO + b"".join(_broken_frame(random) for _ in range(random.choice([1, 5, 50])))


def _broken_frame(random: Random) -> bytes:
    """A frame with a wrong length, kind, flag or stream, or with a payload that its kind cannot have."""
    kind = random.choice([*range(10), *range(10), random.randrange(256)])
    payload = random.choice([b"", random.randbytes(random.choice([1, 4, 5, 6, 8, 100])), headers("/x/y")])
    stream = random.choice([0, 1, 1, 2, 3, (1 << 31) - 1, 1 << 31])
    raw = bytearray(frame(kind, random.choice([0, 1, 4, 5, 255]), stream, payload))
    if random.random() < 0.2:
        raw[0:3] = random.choice([b"\xff\xff\xff", b"\x00\x00\x00", random.randbytes(3)])
    return bytes(raw)


def connected(address: str) -> socket.socket:
    """A TCP connection to HOST:PORT that waits for nothing longer than ten seconds."""
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side has ended a connection; what it has said before is thrown away."""
    connection.setblocking(False)
    try:
        while connection.recv(65_536):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
