"""Stores that no broker has open, looked at from outside."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from tqbroker_broker.storage.lmdb.opening import DATA_FILE
from tqbroker_broker.storage.lmdb.verifying import verify


def faults_of(path: Path) -> list[str]:
    """What is wrong with a store, in words: a data directory whose broker is stopped, or a backup. Nothing: sound.

    It is read in this process, so it has to be a file that LMDB survives.
    """
    return verify(path).faults


def faults_of_open(directory: Path) -> list[str]:
    """What is wrong with a store that an engine of this process has open, while nobody writes: its file is copied."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.mdb"
        shutil.copyfile(directory / DATA_FILE, copy)
        return faults_of(copy)
