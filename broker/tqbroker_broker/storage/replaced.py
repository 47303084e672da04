"""What stores are made of without a broker: from a backup, or from themselves without what is free."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, Protocol, cast

HELPER = "tqbroker_broker.storage.lmdb.replacing"
"""The module that does it. Engines are imported by name only."""

Tell = Callable[[str], None]


class Restored(NamedTuple):
    """A store made of a backup. Ids in hexadecimal digits; `tables` has the number of rows by table."""

    store: str
    former: str
    size: int
    tables: dict[str, int]


class Compacted(NamedTuple):
    """A store without what was free in it; bytes."""

    before: int
    after: int


class Replacing(Protocol):
    """Both raise CannotOpen, and leave what is there as it is then."""

    def restore(self, file: Path, directory: Path, now_ms: int, tell: Tell) -> Restored:
        """Makes a data directory of a backup: a new store, with an id of its own, and with nobody who holds a lease."""
        ...

    def compact(self, directory: Path, tell: Tell) -> Compacted:
        """Puts a copy without free pages in the place of the store's file."""
        ...


def replacing() -> Replacing:
    """The module that does it."""
    return cast("Replacing", import_module(HELPER))
