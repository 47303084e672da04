"""`app.events`: the broker's numbered event log, under Celery's names for what happens."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tqbroker.ids import text_of
from tqbroker.operations import Event, EventKind, EventsLost

if TYPE_CHECKING:
    from tqbroker.app import App

TYPES = {
    EventKind.SENT: "task-sent",
    EventKind.STARTED: "task-started",
    EventKind.SUCCEEDED: "task-succeeded",
    EventKind.FAILED: "task-failed",
    EventKind.RETRIED: "task-retried",
    EventKind.REVOKED: "task-revoked",
    EventKind.REJECTED: "task-rejected",
    EventKind.LOST: "task-lost",
    EventKind.WORKER_ONLINE: "worker-online",
    EventKind.WORKER_OFFLINE: "worker-offline",
    EventKind.EDITED: "task-edited",
}
"""Celery's name of each kind; task-lost and task-edited are ours."""

LOST = "events-lost"
"""Type of the event that says that earlier ones were dropped before they were read."""

Handler = Callable[[dict[str, Any]], None]


class Events:
    """The event log. Each event has a `number`: give the last one seen as `after`, and none is missed or repeated.

    `app.events.read(after=0)` gives what is there, `app.events.follow(after)` goes on with what comes.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    def read(self, after: int = 0, types: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
        """Every event that is kept and has a number above `after`. `types`: only these, for example "task-failed"."""
        return self._read(after, types, follow=False)

    def follow(
        self, after: int = 0, types: Sequence[str] = (), timeout: float | None = None
    ) -> Iterator[dict[str, Any]]:
        """The same, then every event as it happens, over restarts of the broker, for `timeout` seconds if given."""
        return self._read(after, types, follow=True, seconds=timeout)

    def Receiver(  # noqa: N802 - Celery's name
        self, connection: object = None, handlers: Mapping[str, Handler] | None = None, after: int = 0
    ) -> Receiver:
        """Calls handlers, by type or "*" for all, with events above `after`. `connection` is not needed."""
        return Receiver(self, handlers or {}, after)

    def _read(
        self, after: int, types: Sequence[str], *, follow: bool, seconds: float | None = None
    ) -> Iterator[dict[str, Any]]:
        kinds = [_kind(each) for each in types]
        for event in self._app.operator.events(after, kinds, follow=follow, seconds=seconds):
            yield _lost(event) if isinstance(event, EventsLost) else _fields(event)


class Receiver:
    """See Events.Receiver. `after` is the number of the last event handled: where another run goes on."""

    def __init__(self, events: Events, handlers: Mapping[str, Handler], after: int) -> None:
        self.handlers = dict(handlers)
        self.after = after
        self._events = events

    def capture(self, limit: int | None = None, timeout: float | None = None, wakeup: bool = True) -> None:
        """Handles events as they happen: at most `limit`, for `timeout` seconds at most.

        `wakeup` is there for Celery's sake: workers need not be asked to tell who they are.
        """
        for event in self.itercapture(limit, timeout):
            self.process(event["type"], event)

    def itercapture(self, limit: int | None = None, timeout: float | None = None) -> Iterator[dict[str, Any]]:
        """The events as they happen."""
        return itertools.islice(self._events.follow(self.after, timeout=timeout), limit)

    def process(self, type: str, event: dict[str, Any]) -> None:  # noqa: A002 - Celery's name
        """Gives one event to its handler."""
        handler = self.handlers.get(type) or self.handlers.get("*")
        if handler is not None:
            handler(event)
        self.after = event["number"]


def _kind(name: str) -> EventKind:
    for kind, known in TYPES.items():
        if known == name:
            return kind
    raise ValueError(f"there are no events {name!r}: write one of {', '.join(TYPES.values())}")


def _lost(event: EventsLost) -> dict[str, Any]:
    return {"type": LOST, "number": event.number - 1, "timestamp": time.time()}


def _fields(event: Event) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "type": TYPES[event.kind],
        "number": event.number,
        "timestamp": event.at_ms / 1000,
        "hostname": event.worker,
    }
    if event.key is not None:
        fields |= {"uuid": text_of(event.key), "name": event.task, "queue": event.queue}
    if event.error:
        fields["exception"] = event.error
    return fields
