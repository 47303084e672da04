from __future__ import annotations

import asyncio
import socket

from hypothesis import given
from hypothesis import strategies as st

from tqbroker_worker.pipe import Frames, Pipe, frame


@given(st.lists(st.binary(max_size=300), max_size=8), st.lists(st.integers(1, 700), min_size=1, max_size=8))
def test_messages_come_out_as_they_went_in_however_the_stream_is_cut(bodies: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(map(frame, bodies))
    frames = Frames()
    found: list[bytes] = []
    at = turn = 0
    while at < len(stream):
        size = cuts[turn % len(cuts)]
        found += map(bytes, frames.feed(stream[at : at + size]))
        at, turn = at + size, turn + 1
    assert found == bodies


async def test_what_the_socket_does_not_take_is_kept_and_sent_later_in_order() -> None:
    ours, theirs = socket.socketpair()
    pipe = Pipe(ours, lambda _frames: None, lambda: None)
    bodies = [bytes([number]) * 200_000 for number in range(10)]
    for body in bodies:
        pipe.send(body)
    received = await asyncio.to_thread(_read_all, theirs, sum(len(frame(body)) for body in bodies))
    assert [bytes(body) for body in Frames().feed(received)] == bodies
    pipe.close()
    theirs.close()


async def test_the_end_of_the_other_side_is_told_once_after_its_last_words() -> None:
    ours, theirs = socket.socketpair()
    said: list[bytes] = []
    ended = asyncio.Event()
    ends: list[int] = []

    def on_end() -> None:
        ends.append(len(said))
        ended.set()

    pipe = Pipe(ours, lambda frames: said.extend(map(bytes, frames)), on_end)
    theirs.sendall(frame(b"last words"))
    theirs.close()
    async with asyncio.timeout(5):
        await ended.wait()
    pipe.drain()
    pipe.send(b"nobody hears this")
    assert said == [b"last words"]
    assert ends == [1]


def _read_all(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += sock.recv(1 << 16)
    return data
