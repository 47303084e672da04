"""What a look at a whole store has found, in words."""

from __future__ import annotations

from pathlib import Path

import msgspec

MOST_FAULTS = 1000
"""Faults that are listed; the others are only counted. One damaged page may spoil thousands of rows."""

NO_STORE = "the file is not a store: it does not begin as one, or its first page is damaged"
"""The only fault of a file of somebody else."""


def path_text(path: Path) -> str:
    """A path as text that can be written anywhere, also one whose bytes are not UTF-8."""
    return str(path).encode(errors="replace").decode()


class Report(msgspec.Struct):
    """What there is in a store, and what is wrong with it. Nothing is: `sound`.

    `tables` has the number of rows by table, `total` counts all faults, `store` is its id in hexadecimal digits.
    """

    path: str
    format: int = 0
    store: str = ""
    tables: dict[str, int] = {}
    faults: list[str] = []
    total: int = 0

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.total

    def add(self, fault: str) -> None:
        """Notes a fault. What comes from the file in it may be anything, and is made fit for a terminal."""
        self.total += 1
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(fault if fault.isprintable() else fault.encode("unicode_escape").decode())
