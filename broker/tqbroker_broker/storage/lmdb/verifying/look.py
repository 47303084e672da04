"""One look at a store: its tables decoded, and what is wrong noted in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tqbroker_broker.records import id_text
from tqbroker_broker.storage.lmdb.keys import NEXT_EVENT, NEXT_SEQ, REMEMBERED
from tqbroker_broker.storage.lmdb.rows import DamagedRecordError
from tqbroker_broker.storage.lmdb.table_rows import UNREADABLE
from tqbroker_broker.storage.lmdb.tables import TABLES
from tqbroker_broker.storage.lmdb.verifying.snapshot import Snapshot
from tqbroker_broker.storage.report import Report

SHORT = 80
"""Characters of a name in a sentence."""


class Look:
    """The snapshot with the report that grows. `damaged` are tables with rows that cannot be read: what is said of
    them by others cannot be judged."""

    def __init__(self, snapshot: Snapshot, report: Report) -> None:
        self.snapshot = snapshot
        self.report = report
        self.damaged: set[str] = set()
        self.next_seq = self.number(NEXT_SEQ, 1)
        self.next_event = self.number(NEXT_EVENT, 1)
        self.remembered = self.number(REMEMBERED, 0)

    def fault(self, text: str) -> None:
        """Notes what is wrong."""
        self.report.add(text)

    def number(self, counter: bytes, default: int) -> int:
        """One of the store's own counters."""
        row = self.snapshot.get("counts", counter)
        return int.from_bytes(row, "big") if row is not None else default

    def rows(self, name: str, start: bytes = b"") -> Iterator[tuple[bytes, Any, Any]]:
        """The rows of a table that can be read, each as packed key, key and row; the others are faults."""
        table = TABLES[name]
        for packed, raw in self.snapshot.raw(name, start):
            try:
                yield packed, table.key.read(packed), table.row.read(packed, raw)
            except UNREADABLE as problem:
                self.damage(name, packed, problem)

    def damage(self, name: str, key: bytes, problem: Exception) -> None:
        """Notes a row that cannot be read."""
        self.damaged.add(name)
        self.fault(f"{label(name, key)} {reason(problem)}")

    def get(self, name: str, key: bytes) -> Any:
        """One row; None if there is none, or it cannot be read, which is noted where its table is walked."""
        raw = self.snapshot.get(name, key)
        try:
            return TABLES[name].row.read(key, raw) if raw is not None else None
        except UNREADABLE:
            return None

    def has(self, name: str, key: bytes) -> bool:
        """Whether there is a row, however it is."""
        return self.snapshot.get(name, key) is not None


def reason(problem: Exception) -> str:
    """Why a row cannot be read."""
    if isinstance(problem, DamagedRecordError):
        return "does not match its checksum"
    return f"cannot be read ({str(problem)[:SHORT] or type(problem).__name__})"


def label(name: str, key: bytes) -> str:
    """How a row is called in a sentence."""
    try:
        value = TABLES[name].key.read(key)
    except UNREADABLE:
        return f"{name}: the row {key.hex()[:SHORT]}"
    if isinstance(value, bytes):
        return f"{name}: the row {job_text(value)}"
    if isinstance(value, tuple):
        fields: tuple[str, ...] = getattr(value, "_fields", ())
        return f"{name}: the row " + ", ".join(f"{field} {each}" for field, each in zip(fields, value, strict=True))
    return f"{name}: the row {value}"


def job_text(job: bytes) -> str:
    """An id as people see it, or what is left of one."""
    try:
        text = id_text(job)
    except UnicodeDecodeError:
        return job.hex()[:SHORT]
    return text[:SHORT] if text.isprintable() else job.hex()[:SHORT]
