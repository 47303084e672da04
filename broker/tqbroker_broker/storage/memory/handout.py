"""Who gets what: the verb `lease`."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from tqbroker_broker.records import Leased, State, Time, Want
from tqbroker_broker.storage.memory.book import Book, Lease
from tqbroker_broker.storage.memory.recovery import Recovery
from tqbroker_broker.storage.memory.store import MemoryStore, Row


class Handout:
    """Hands ready jobs to workers: highest priority first, then the oldest place."""

    def __init__(self, store: MemoryStore, book: Book, recovery: Recovery) -> None:
        self._store = store
        self._book = book
        self._recovery = recovery

    def lease(self, want: Want, now: Time) -> list[Leased]:
        """What this worker gets now; nothing when it is not connected."""
        if not self._book.is_connected(want.worker):
            return []
        taken = [(row, self._book.grant(row.id, want.worker)) for row in self._choose(want, now)]
        return [_leased(list(run)) for _, run in groupby(taken, key=lambda pair: pair[0].head)]

    def _choose(self, want: Want, now: Time) -> list[Row]:
        chosen: list[Row] = []
        slow = size = 0
        for row in self._ready(want, now):
            is_slow = row.head.task not in want.fast
            if len(chosen) < want.window and not (is_slow and slow >= want.slots):
                chosen.append(row)
                slow += is_slow
                size += len(row.args)
                if size >= want.max_bytes:
                    break
        return chosen

    def _ready(self, want: Want, now: Time) -> Iterable[Row]:
        rows = [row for row in self._store.rows(State.QUEUED) if self._may_have(want, row) and self._is_free(row, now)]
        return sorted(rows, key=lambda row: (-row.head.priority, row.order))

    def _may_have(self, want: Want, row: Row) -> bool:
        return row.head.queue in want.queues and row.head.task in want.tasks

    def _is_free(self, row: Row, now: Time) -> bool:
        if row.id in self._book.by_job or row.marked or self._recovery.withholds(row, now.mono):
            return False
        return not 0 < row.expires_ms <= now.wall_ms


def _leased(run: list[tuple[Row, Lease]]) -> Leased:
    rows = [row for row, _ in run]
    return Leased(
        rows[0].head,
        [row.id for row in rows],
        [lease.token for _, lease in run],
        [row.args for row in rows],
        [row.retries for row in rows],
        [row.lost for row in rows],
        {},
    )
