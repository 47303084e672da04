"""A store written as lines of JSON, by another process, so that a damaged file can only end that one; and back."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from tqbroker_broker.storage import CannotOpen
from tqbroker_broker.storage.exports import Exported, Imported

WRITER = "tqbroker_broker.storage.lmdb.exporting"
"""The module that writes, run as a program."""

MAKER = "tqbroker_broker.storage.lmdb.importing"
"""The module that makes a store of an export. Engines are imported by name only."""


LONGEST = 200
"""Characters of what a dying writer has said that are told."""


class Word(msgspec.Struct, omit_defaults=True):
    """What the writer says beside its lines: of damage, why it cannot begin, or that it is done."""

    damage: str = ""
    refused: str = ""
    done: Exported | None = None


_decode = msgspec.json.Decoder(Word).decode


def exported(path: Path, out: BinaryIO, damage: Callable[[str], None]) -> Exported | None:
    """Writes everything of a store that no broker has open: a data directory, or a backup. Nothing of it is changed.

    `damage` is told what is left out because it cannot be read. None: the file ended its reader, and what was written
    has no last line. Raises CannotOpen.
    """
    command = [sys.executable, "-P", "-m", WRITER, str(path)]
    last_words = ""
    with subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE) as writer:  # noqa: S603
        try:
            assert writer.stderr is not None
            for line in writer.stderr:
                try:
                    word = _decode(line)
                except msgspec.MsgspecError:  # not of the writer's own: LMDB says there what it dies of
                    last_words = _printable(line)
                    continue
                if word.refused:
                    raise CannotOpen(word.refused)
                if word.done is not None:
                    return word.done
                damage(word.damage)
            code = writer.wait()
        finally:
            writer.kill()
    name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    why = f" ({last_words})" if last_words else ""
    damage(f"the process that reads the store was ended by {name}{why}: the file cannot be read any further")
    return None


def _printable(line: bytes) -> str:
    text = line.decode(errors="replace").strip()[:LONGEST]
    return text if text.isprintable() else ""


def imported(file: Path, directory: Path, now_ms: int) -> Imported:
    """Makes a data directory of an export, or leaves everything as it is. Raises CannotOpen."""
    return cast(Imported, import_module(MAKER).import_store(file, directory, now_ms))
