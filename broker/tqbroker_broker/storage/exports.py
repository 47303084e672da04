"""The form of an export: lines of JSON, the first of which says what it is, and the last one that nothing is missing.

    {"tqbroker_export": 1, "version": "0.1.0", "format": 1, "store": "...", "epoch": 1767000000, "tables": {...}}
    {"table": "jobs", "key": 1, "row": {...}}
    ...
    {"rows": 1234, "skipped": 0, "sha256": "..."}

A table is a database of the store's layout (docs/durability.md), its rows in the order of their keys. `plain.py` says
how values are written.
"""

from __future__ import annotations

from typing import Any

import msgspec

VERSION = 1
"""Of the form; one that is not known is refused."""


class Header(msgspec.Struct, forbid_unknown_fields=True):
    """The first line. `tables` has the number of rows by table, as they were in the store; `aging` is what holds
    results and ids back after the wall clock was put forward: a lag and since when for each jump."""

    tqbroker_export: int
    version: str
    format: int
    store: str
    epoch: int
    tables: dict[str, int]
    aging: list[int] = []


class Line(msgspec.Struct, forbid_unknown_fields=True):
    """A row."""

    table: str
    key: Any
    row: Any = None


class Trailer(msgspec.Struct, forbid_unknown_fields=True):
    """The last line: how many rows there are, how many were left out as they could not be read, and the SHA-256 of the
    lines between it and the first one."""

    rows: int
    skipped: int
    sha256: str


class Exported(msgspec.Struct):
    """What came of an export."""

    rows: int
    skipped: int


class Imported(msgspec.Struct):
    """What came of an import. `skipped` were left out by the export; `faults` is what the new store has of them."""

    store: str
    former: str
    rows: int
    skipped: int
    faults: list[str]
