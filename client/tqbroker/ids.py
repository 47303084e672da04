"""Ids of jobs: made here, 16 bytes inside, text for people.

A *key* is the form the client computes with: the 16 bytes of a UUID, or the text of any other id. UUIDs are version 7:
they begin with the time, so that ids made one after the other stand one after the other on the broker's disk.
"""

from __future__ import annotations

import os
import threading
import time

Key = bytes | str
"""The 16 bytes of a UUID, or the text of an id that is not one."""

MAX_LENGTH = 128
MAX_KEY_BYTES = 384
"""Bytes of UTF-8 in any name that the broker keeps as a key (docs/protocol.md, Limits)."""

_TAIL_BITS = 62
_VARIANT = 0b10 << _TAIL_BITS


class _Clock:
    """Where the last id stood. Ids rise strictly within a process, also when the wall clock steps back."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.millis = 0
        self.prefix = b""
        self.tail = 0

    def seat(self, count: int) -> None:
        """Makes room for `count` ids: a new millisecond starts at random, the same one goes on."""
        now = time.time_ns() // 1_000_000
        if now > self.millis:
            self._start(now)
        elif self.tail + (count << 32) >> _TAIL_BITS:
            self._start(self.millis + 1)

    def _start(self, millis: int) -> None:
        noise = int.from_bytes(os.urandom(10), "big")
        self.millis = millis
        self.prefix = (millis << 16 | 0x7000 | noise & 0xFFF).to_bytes(8, "big")
        self.tail = noise >> 19  # 61 bits: the upper half of the range stays free to count in


_clock = _Clock()


def _reset() -> None:
    """A forked child starts afresh: it must neither repeat its parent's ids nor inherit a held lock."""
    global _clock
    _clock = _Clock()


os.register_at_fork(after_in_child=_reset)


def new_keys(count: int) -> list[bytes]:
    """`count` new UUIDv7 keys in rising order. Randomness is fetched once for all."""
    steps = memoryview(os.urandom(4 * count)).cast("I")
    clock = _clock
    with clock.lock:
        clock.seat(count)
        prefix, tail, keys = clock.prefix, clock.tail, []
        for step in steps:
            tail += step + 1
            keys.append(prefix + (tail | _VARIANT).to_bytes(8, "big"))
        clock.tail = tail
    return keys


def new_key() -> bytes:
    """One new UUIDv7 key."""
    return new_keys(1)[0]


def text_of(key: Key) -> str:
    """The id as people see it."""
    if isinstance(key, str):
        return key
    text = key.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def key_of(text: str) -> Key:
    """The key of an id given as text. Raises ValueError unless it is 1 to 128 printable characters, 384 bytes at most.

    One that the broker refuses would end the stream on which all threads wait for their results.
    """
    if not isinstance(text, str):
        raise TypeError(f"a job id is a str of 1 to {MAX_LENGTH} printable characters, not {type(text).__name__}")
    if not 1 <= len(text) <= MAX_LENGTH or not text.isprintable() or len(text.encode()) > MAX_KEY_BYTES:
        allowed = f"use 1 to {MAX_LENGTH} printable characters, {MAX_KEY_BYTES} bytes at most"
        raise ValueError(f"job id {text[:200]!r} is not allowed: {allowed}")
    return _uuid_bytes(text) or text


def _uuid_bytes(text: str) -> bytes | None:
    """The 16 bytes if `text` is a UUID in its canonical lower-case form; any other spelling stays text."""
    if len(text) != 36 or text[8] != "-":
        return None
    try:
        key = bytes.fromhex(text.replace("-", ""))
    except ValueError:
        return None
    return key if len(key) == 16 and text_of(key) == text else None
