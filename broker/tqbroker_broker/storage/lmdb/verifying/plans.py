"""The agenda: what is to be looked at when, and whether it can be found."""

from __future__ import annotations

from itertools import islice

from tqbroker_broker.storage.lmdb.keys import (
    AGENDA,
    EXPIRY,
    KEYS,
    MARKS,
    MEMORY,
    RETENTION,
    SAVED,
    TOKEN_AT,
    TURNS,
    U64,
    WORKFLOWS,
    WRECKS,
    first_number,
)
from tqbroker_broker.storage.lmdb.table_rows import AgendaKey, Planned
from tqbroker_broker.storage.lmdb.verifying.look import Look, job_text, label
from tqbroker_broker.storage.lmdb.verifying.seqs import Seqs

MOST_AT_ONCE = 10_000
"""Rows for one moment among which a name is looked for."""

SIZES = {SAVED: 16, KEYS: 16 + U64.size}
"""Bytes of the names on the agenda that are always as long; those of WRECKS are keys of two kinds."""


class Plans:
    """What the agenda has, as sets: which jobs expire at their moment, are dropped, have a mark, are to be counted."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self.sets = {kind: Seqs() for kind in (EXPIRY, RETENTION, MARKS, TURNS, WORKFLOWS)}
        self.memory = 0
        """Rows that say when an id is forgotten."""

    def read(self) -> None:
        """Walks the agenda."""
        for packed, key, planned in self._look.rows("agenda"):
            self._row(packed, key, planned)
        if self.memory != self._look.remembered:
            self._look.fault(
                f"{self.memory} ids are to be forgotten one day, and {self._look.remembered} are counted as remembered"
            )

    def _row(self, packed: bytes, key: AgendaKey, planned: Planned) -> None:
        kind = packed[:1]
        if max([key.number, *planned.numbers]) >= self._look.next_seq:
            self._look.fault(f"{label('agenda', packed)} has a number that was not given out yet")
            return
        if kind == EXPIRY:
            self._expiry(key.when_ms, planned)
        elif kind in self.sets:
            for number in planned.numbers:
                self.sets[kind].add(number)
        elif kind == MEMORY:
            self._memory(planned.name)
        elif kind not in (WRECKS, SAVED, KEYS) or len(planned.name) != SIZES.get(kind, len(planned.name)):
            self._look.fault(f"{label('agenda', packed)} is of no kind that there is, or has the wrong size")

    def _expiry(self, when_ms: int, planned: Planned) -> None:
        """Jobs that expire then; those that have another time by now are left out."""
        for seq in planned.numbers:
            job = self._look.get("jobs", U64.pack(seq))
            if job is not None and job.expires_ms == when_ms:
                self.sets[EXPIRY].add(seq)

    def _memory(self, name: bytes) -> None:
        self.memory += 1
        row = self._look.snapshot.get("ids", name)
        if row is None or len(row) == TOKEN_AT:
            state = "is not known" if row is None else "belongs to a job that is still there"
            self._look.fault(f"agenda: the id {job_text(name)} is to be forgotten, and {state}")

    def at(self, kind: bytes, when_ms: int, name: bytes) -> bool:
        """Whether a row of the agenda says this name for this moment; or too many rows are for that moment to tell."""
        rows = self._look.snapshot.raw("agenda", AGENDA.pack(kind, when_ms, 0))
        for key, raw in islice(rows, MOST_AT_ONCE):
            if key[:1] != kind or first_number(key[1:]) != when_ms:
                return False
            if raw == name:
                return True
        return next(rows, None) is not None
