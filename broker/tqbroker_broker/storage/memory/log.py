"""The event log: what happened, numbered."""

from __future__ import annotations

from collections.abc import Callable

from tqbroker_broker.attempts import Failure
from tqbroker_broker.config import StorageConfig
from tqbroker_broker.questions import EventKind, EventPage, Events
from tqbroker_broker.records import Head, JobId
from tqbroker_broker.storage.memory.store import MemoryStore

EVENT_BYTES = 20
"""What one event counts for against `event_bytes`."""


class EventLog:
    """Events of the verb that is under way, and those of all before. `notify` is called when some were added."""

    def __init__(self, store: MemoryStore, config: StorageConfig, notify: Callable[[], None]) -> None:
        self._store = store
        self._config = config
        self._notify = notify
        self._new: list[Events] = []

    def job(self, kind: EventKind, job: JobId, head: Head, worker: str = "", failure: Failure | None = None) -> None:
        """Something happened to a job. Neighbours that share everything but the id share one value."""
        before = self._new[-1] if self._new else None
        if (
            before
            and before.ids
            and (before.kind, before.task, before.queue, before.worker)
            == (
                kind,
                head.task,
                head.queue,
                worker,
            )
        ):
            before.ids.append(job)
            return
        error = failure.type if failure else ""
        self._new.append(Events(kind, 0, 0, [job], head.task, head.queue, worker, error))

    def worker(self, kind: EventKind, worker: str) -> None:
        """Something happened to a worker."""
        self._new.append(Events(kind, 0, 0, [], worker=worker))

    def commit(self, now_ms: int) -> None:
        """The verb is done: its events get their numbers."""
        if not self._new:
            return
        for each in self._new:
            numbered = each._replace(first=self._store.last_event + 1, at_ms=now_ms)
            self._store.events.append(numbered)
            self._store.last_event = numbered.last
        self._new.clear()
        self._notify()

    def drop_old(self, now_ms: int) -> None:
        """Drops what is too old or, the oldest first, too much."""
        events, oldest_ms = self._store.events, now_ms - int(self._config.event_ttl * 1000)
        most = self._config.event_bytes // EVENT_BYTES
        while events and (events[0].at_ms <= oldest_ms or events[0].first + most <= self._store.last_event):
            del events[0]

    def read(self, after: int, limit: int) -> EventPage:
        """Whole values until there are `limit` events; the first begins right after the cursor."""
        first_kept = self._store.events[0].first if self._store.events else self._store.last_event + 1
        page: list[Events] = []
        cursor = after
        for each in self._store.events:
            if each.last <= after:
                continue
            if cursor - after >= limit:
                break
            page.append(_from(each, after + 1))
            cursor = each.last
        return EventPage(page, cursor, first_kept if after + 1 < first_kept else 0)


def _from(events: Events, first: int) -> Events:
    if events.first >= first:
        return events
    return events._replace(first=first, ids=events.ids[first - events.first :])
