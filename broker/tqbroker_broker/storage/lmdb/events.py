"""The event log: what happened, numbered without gap or repeat. One value for each commit that had events.

A value begins with its CRC, the moment of its last event and how many there are; then come columns of ids that share
everything else. The key is the number of its first event.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from itertools import islice
from struct import Struct

import msgspec

from tqbroker_broker.attempts import Leased, Want
from tqbroker_broker.config import StorageConfig
from tqbroker_broker.questions import EventKind, EventPage, Events
from tqbroker_broker.records import JobId, Time
from tqbroker_broker.storage.lmdb.keys import U64, first_number
from tqbroker_broker.storage.lmdb.rows import JOB_AT, DamagedRecordError, check, seal
from tqbroker_broker.storage.lmdb.txn import Cursor, Database, Txn

MOST_STARTED = 10_000
"""Starts that may wait for a commit to ride with: what comes when so many wait is not logged."""

STARTED_WAIT = 1.0
"""Starts that found no commit for this long get one of their own, so that a monitor sees what runs for hours."""

MAP_SHARE = 0.1
"""Share of the map that the log never exceeds, whatever `event_bytes` says: a small store is for jobs."""

# Kinds that are the first of their job in any commit: they may join an earlier column without changing a job's story.
FIRST_OF_JOB = frozenset({EventKind.SENT, EventKind.SUCCEEDED})

# Moment of the last event, how many; behind the CRC and before the columns.
FRONT = Struct(">QI")
COLUMNS_AT = JOB_AT + FRONT.size

log = logging.getLogger("tqbroker.storage")


class Column(msgspec.Struct, array_like=True):
    """Events of one kind that share everything but the id; one of a worker has no ids."""

    kind: EventKind
    at_ms: int
    ids: list[JobId]
    task: str = ""
    queue: str = ""
    worker: str = ""
    error: str = ""

    @property
    def count(self) -> int:
        return len(self.ids) or 1


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Column]).decode


class Gathered:
    """Events of the commit that is being filled. The order of one job's events is kept, between jobs it is free."""

    def __init__(self) -> None:
        self.columns: list[Column] = []
        self._open: dict[tuple[EventKind, str, str, str, str], Column] = {}

    def add(self, column: Column) -> None:
        """Adds events, to a column that has the same in common if there is one."""
        kind = column.kind
        key = (kind, column.task, column.queue, column.worker, column.error)
        same = self._open.get(key)
        if same is not None and column.ids and (kind in FIRST_OF_JOB or same is self.columns[-1]):
            same.ids.extend(column.ids)
            return
        self.columns.append(column)
        self._open[key] = column


class EventLog:
    """What the log needs in memory: the next number, and the starts that wait for a commit to ride with."""

    def __init__(self) -> None:
        self.next = 1
        self.tell: Callable[[], None] = lambda: None
        """Called when events were added."""
        self.started: list[Column] = []
        self._waiting = 0
        self._since = 0.0
        """When the first of them began to wait, by the monotonic clock: nobody sets that back."""

    def start(self, wants: Sequence[Want], handed: Sequence[Sequence[Leased]], now: Time) -> None:
        """Notes which jobs workers got; nothing is written for it."""
        if not self.started:
            self._since = now.mono
        for want, batches in zip(wants, handed, strict=True):
            for batch in batches:
                if self._waiting < MOST_STARTED:
                    ids, head = list(batch.ids), batch.head
                    self.started.append(Column(EventKind.STARTED, now.wall_ms, ids, head.task, head.queue, want.worker))
                    self._waiting += len(ids)

    def take_started(self) -> list[Column]:
        """The starts that wait, for the commit that is being filled."""
        started, self.started, self._waiting = self.started, [], 0
        return started

    def put_back(self, started: list[Column]) -> None:
        """That commit failed: they wait for the next."""
        self.started = started + self.started
        self._waiting += sum(len(column.ids) for column in started)

    def is_late(self, now: Time) -> bool:
        """Whether starts have waited so long that they need a commit of their own."""
        return bool(self.started) and self._since + STARTED_WAIT <= now.mono


def write(txn: Txn, db: Database, first: int, columns: list[Column]) -> int:
    """Writes the events of one commit. Returns the number of the next."""
    count = sum(column.count for column in columns)
    value = seal(FRONT.pack(columns[-1].at_ms, count) + _encode(columns))
    txn.cursor(db).putmulti([(U64.pack(first), value)], append=True)
    return first + count


# -- reading -----------------------------------------------------------------------------------------------------------


def read(txn: Txn, db: Database, next_number: int, after: int, limit: int) -> EventPage:
    """At most `limit` events behind a number, as columns."""
    cursor = txn.cursor(db)
    kept = first_number(cursor.key()) if cursor.first() else next_number
    lost_before = kept if after + 1 < kept else 0
    first = max(after + 1, kept)
    until = first + limit - 1
    page: list[Events] = []
    last = after
    found = first < next_number and _seek(cursor, first)
    while found and last < until:
        for events in _unpack(*cursor.item()):
            cut = _cut(events, first, until)
            if cut is not None:
                page.append(cut)
                last = cut.last
        found = cursor.next()
    return EventPage(page, last, lost_before)


def _seek(cursor: Cursor, number: int) -> bool:
    """Goes to the value with this event, or the first one behind it."""
    if not cursor.set_range(U64.pack(number)):
        return cursor.last()
    return first_number(cursor.key()) == number or cursor.prev() or cursor.first()


def _unpack(key: bytes, value: bytes) -> list[Events]:
    """The events of one value. Of one that cannot be read there are none."""
    try:
        columns = _decode(memoryview(check(value))[COLUMNS_AT:])
    except DamagedRecordError:
        log.error("the events from number %s on do not match their checksum", first_number(key))
        return []
    number, events = first_number(key), []
    for column in columns:
        kind, at_ms, ids = column.kind, column.at_ms, column.ids
        events.append(Events(kind, number, at_ms, ids, column.task, column.queue, column.worker, column.error))
        number += column.count
    return events


def _cut(events: Events, first: int, last: int) -> Events | None:
    """The part of a column between two numbers, if there is one."""
    if events.last < first or events.first > last:
        return None
    start = max(events.first, first)
    return events._replace(first=start, ids=list(islice(events.ids, start - events.first, last - events.first + 1)))


# -- retention ---------------------------------------------------------------------------------------------------------


def too_much(txn: Txn, db: Database, config: StorageConfig, aged_ms: int) -> bool:
    """Whether the oldest events are too old by the clock of what is kept, or all of them too large."""
    cursor = txn.cursor(db)
    return cursor.first() and (_is_old(cursor.value(), config, aged_ms) or _is_large(txn, db, config))


def trim(txn: Txn, db: Database, config: StorageConfig, aged_ms: int, most: int) -> None:
    """Drops the oldest events as long as there are too many, at most those of so many commits."""
    cursor = txn.cursor(db)
    for _ in range(most):
        if not cursor.first() or not (_is_old(cursor.value(), config, aged_ms) or _is_large(txn, db, config)):
            return
        cursor.delete()


def _is_old(value: bytes, config: StorageConfig, aged_ms: int) -> bool:
    at_ms: int = FRONT.unpack_from(value, JOB_AT)[0]
    return at_ms + int(config.event_ttl * 1000) <= aged_ms


def _is_large(txn: Txn, db: Database, config: StorageConfig) -> bool:
    stat = txn.stat(db)
    pages = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
    return pages * stat["psize"] > min(config.event_bytes, int(config.map_size * MAP_SHARE))
