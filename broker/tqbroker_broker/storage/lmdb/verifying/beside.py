"""Tables in the order of seqs, read side by side: each is walked once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby

from tqbroker_broker.storage.lmdb.keys import first_number
from tqbroker_broker.storage.lmdb.verifying.snapshot import Snapshot

Rows = list[tuple[bytes, bytes]]

END = (1 << 64) - 1
"""Behind every seq."""


class Beside:
    """A table whose keys begin with seqs, walked beside that of the jobs. `stray` is told the seqs of no job."""

    def __init__(self, snapshot: Snapshot, name: str, stray: Callable[[str, int], None]) -> None:
        self._name = name
        self._stray = stray
        self._groups: Iterator[tuple[int, Iterator[tuple[bytes, bytes]]]] = groupby(
            snapshot.raw(name), key=lambda item: first_number(item[0])
        )
        self._seq = -1
        self._rows: Rows = []
        self._next()

    def _next(self) -> None:
        found = next(self._groups, None)
        self._seq, self._rows = (found[0], list(found[1])) if found is not None else (END, [])

    def of(self, seq: int) -> Rows:
        """The rows of a job, with their keys. To be asked for in the order of seqs."""
        while self._seq < seq:
            self._stray(self._name, self._seq)
            self._next()
        if self._seq != seq:
            return []
        rows = self._rows
        self._next()
        return rows

    def rest(self) -> None:
        """No job comes any more."""
        self.of(END)
