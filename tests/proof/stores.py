"""Stores that no broker has open, looked at from outside."""

from __future__ import annotations

from pathlib import Path

from tqbroker_broker.storage.lmdb.verifying import verify


def faults_of(path: Path) -> list[str]:
    """What is wrong with a store, in words: a data directory whose broker is stopped, or a backup. Nothing: sound.

    It is read in this process, so it has to be a file that LMDB survives.
    """
    return verify(path).faults
