"""Reads a store for a process that would not survive it: says on stdout, a line of JSON each, what it is doing."""

from __future__ import annotations

import resource
import sys
import threading
from pathlib import Path

import msgspec

from tqbroker_broker.storage import CannotOpen
from tqbroker_broker.storage.lmdb.verifying import verify
from tqbroker_broker.storage.verified import Said

WORD_EVERY = 5.0
"""Seconds after which it is said again that the pages are being read; there is an end of them, however damaged."""

_encode = msgspec.json.Encoder().encode
_lock = threading.Lock()


def say(said: Said) -> None:
    """One line for the reader's reader."""
    with _lock:
        sys.stdout.buffer.write(_encode(said) + b"\n")
        sys.stdout.buffer.flush()


class Telling:
    """How far it is. While the pages are read nobody tells, so it is said again and again."""

    def __init__(self) -> None:
        self._pages = threading.Event()

    def __call__(self, at: str) -> None:
        if at == "the pages":
            threading.Thread(target=self._repeat, args=(at,), daemon=True).start()
        else:
            self._pages.set()
        say(Said(at))

    def _repeat(self, at: str) -> None:
        while not self._pages.wait(WORD_EVERY):
            say(Said(at))


def main(path: Path) -> None:
    """Reads, and says what was found."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a reader that dies of a damaged file leaves no copy of it
    try:
        said = Said(report=verify(path, Telling()))
    except (CannotOpen, OSError) as problem:
        said = Said(refused=str(problem).encode(errors="replace").decode())
    say(said)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
