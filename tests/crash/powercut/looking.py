"""Images opened as a broker opens its file, in a process of their own: a broken one may kill it."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.crash.powercut.contents import databases, digest, opened
from tests.crash.powercut.cuts import Disk, Image

from tqbroker_broker.storage.lmdb.opening import check_file
from tqbroker_broker.storage.lmdb.txn import begin

SECONDS = 20
"""For one image: one that is broken may lead in a circle."""
TOO_MUCH = 1000
"""Characters of an error that are told."""

Tell = Callable[[str], None]


class Seen(NamedTuple):
    """What became of one image: its digest, or what was wrong."""

    digest: str
    wrong: str = ""


def look(disk: Disk, images: Sequence[Image]) -> list[Seen]:
    """Opens each image, reads all of it, and writes to all of it but for the commit."""
    seen: list[Seen] = []
    while len(seen) < len(images):
        first = len(seen)
        told, status = in_child(lambda tell, first=first: _look(disk, images[first:], tell))  # type: ignore[misc]
        seen += [Seen(words) if kind == "digest" else Seen("", words) for kind, _, words in _split(told)]
        if status or len(told) < len(images) - first:
            disk.clear(images[len(seen)])
            seen.append(Seen("", f"the process that opened it ended with {status}"))
    return seen


def _split(told: Sequence[str]) -> list[tuple[str, str, str]]:
    return [line.partition(" ") for line in told]


def in_child(do: Callable[[Tell], None]) -> tuple[list[str], int]:
    """Runs something in a forked process: the lines that it told (at most a pipe full, 64 KiB), and its exit status."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        _run_and_end(do, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read().decode().splitlines()
    return told, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _run_and_end(do: Callable[[Tell], None], writing: int) -> None:
    """The forked process: never returns."""
    code = 1
    try:
        do(lambda text: _tell(writing, text))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _tell(writing: int, text: str) -> None:
    os.write(writing, " ".join(text.split())[:TOO_MUCH].encode() + b"\n")


def _look(disk: Disk, images: Sequence[Image], tell: Tell) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # LMDB prints before it aborts
    for image in images:
        signal.alarm(SECONDS)
        with disk.showing(image):
            try:
                tell(f"digest {_open(disk.path)}")
            except Exception as error:
                tell(f"wrong {type(error).__name__}: {error}")


def _open(path: Path) -> str:
    """Its digest. What is written takes free pages, and is given up again, so that the file stays as it is."""
    check_file(path)
    with opened(path) as env:
        found = digest(env)
        txn = begin(env, write=True)
        for db in databases(env, txn).values():
            txn.put(b"\0probe", b"", db=db)
        txn.abort()
    return found
