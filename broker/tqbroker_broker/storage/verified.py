"""A store looked at from a distance: whatever its file does to the process that reads it, this one lives on."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from tqbroker_broker.storage import CannotOpen
from tqbroker_broker.storage.report import Report, path_text

READER = "tqbroker_broker.storage.lmdb.verifying"
"""The module that reads, run as a program."""

OF_THE_FILE = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT})
"""What a damaged file does to its reader. Whatever else ends one says nothing of the file."""

SILENCE = 600.0
"""Seconds without a word after which the reader is given up: it says something every few seconds, on the worst disk."""

READ_BYTES = 1 << 16
"""Bytes of the reader's words that are taken at a time."""


class Said(msgspec.Struct, omit_defaults=True):
    """A line of the reader: how far it is, why there is nothing to read, or what it has found."""

    at: str = ""
    refused: str = ""
    report: Report | None = None


_decode = msgspec.json.Decoder(Said).decode


def verified(path: Path, progress: Callable[[str], None] | None = None) -> Report:
    """Reads everything of a store that no broker has open: a data directory, or a file like a backup.

    Nothing is changed. `progress` is told what is being read. Raises CannotOpen when there is nothing to read, a broker
    has it, or its reader came to an end that is not the file's doing.
    """
    command = [sys.executable, "-P", "-m", READER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as reader:  # noqa: S603
        try:
            return _listen(reader, path, progress)
        finally:
            reader.kill()


def _listen(reader: subprocess.Popen[bytes], path: Path, progress: Callable[[str], None] | None) -> Report:
    """What the reader says until it has a report, or does not speak any more."""
    at = "its first pages"
    for line in _lines(reader):
        said = _decode(line)
        if said.refused:
            raise CannotOpen(said.refused)
        if said.report is not None:
            return said.report
        if progress is not None and said.at != at:
            progress(said.at)
        at = said.at
    end = _end(reader)
    if end not in OF_THE_FILE:
        raise CannotOpen(f"{path} could not be looked through: {_how(end)} when it had come to {at}")
    report = Report(path_text(path))
    report.add(f"{_how(end)} when it had come to {at}: the file cannot be read any further")
    return report


def _lines(reader: subprocess.Popen[bytes]) -> Iterator[bytes]:
    """Whole lines, as they come; no more of them when the reader has ended, or says nothing for too long."""
    assert reader.stdout is not None
    descriptor, rest = reader.stdout.fileno(), b""
    while select.select([descriptor], [], [], SILENCE)[0]:
        more = os.read(descriptor, READ_BYTES)
        if not more:
            return
        *lines, rest = (rest + more).split(b"\n")
        yield from lines


def _end(reader: subprocess.Popen[bytes]) -> int | None:
    """What the reader came to its end by: a signal, an exit code as a negative number; None: it has not ended."""
    try:
        return -reader.wait(1.0)
    except subprocess.TimeoutExpired:
        return None


def _how(end: int | None) -> str:
    """The same in words."""
    if end is None:
        return f"the process that reads it said nothing for {SILENCE:.0f} seconds and was stopped"
    return f"the process that reads it was ended by {signal.Signals(end).name if end > 0 else f'exit code {-end}'}"
