"""Who waits for the end of which job."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from tqbroker_broker.records import JobId


class Watcher:
    """One caller's watch. `pending` are the ids to look at: newly watched, or just ended; `on_wake` says so."""

    __slots__ = ("ids", "on_wake", "pending")

    def __init__(self, on_wake: Callable[[], None]) -> None:
        self.ids: set[JobId] = set()
        self.pending: deque[JobId] = deque()
        self.on_wake = on_wake

    def take(self, count: int) -> list[JobId]:
        """The next ids to look at that are still watched."""
        taken: list[JobId] = []
        while self.pending and len(taken) < count:
            job = self.pending.popleft()
            if job in self.ids:
                taken.append(job)
        return taken

    def forget_past(self) -> None:
        """Lets go of what is not watched any more, before that is most of `pending`."""
        if len(self.pending) > 2 * len(self.ids):
            self.pending = deque(dict.fromkeys(job for job in self.pending if job in self.ids))


class Waiters:
    """Watched ids to their watchers."""

    def __init__(self) -> None:
        self._by_id: dict[JobId, list[Watcher]] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def watch(self, watcher: Watcher, ids: Iterable[JobId]) -> None:
        """From now on the watcher hears of these, and at once of those that have ended already."""
        for job in ids:
            if job not in watcher.ids:
                watcher.ids.add(job)
                watcher.pending.append(job)
                self._by_id.setdefault(job, []).append(watcher)
        watcher.on_wake()

    def unwatch(self, watcher: Watcher, ids: Iterable[JobId]) -> None:
        """The watcher does not care (any more)."""
        for job in ids:
            if job not in watcher.ids:
                continue
            watcher.ids.discard(job)
            watchers = self._by_id[job]
            watchers.remove(watcher)
            if not watchers:
                del self._by_id[job]
        watcher.forget_past()

    def leave(self, watcher: Watcher) -> None:
        """The watcher is gone."""
        self.unwatch(watcher, list(watcher.ids))

    def ended(self, ids: Iterable[JobId]) -> None:
        """These jobs have reached their final state, and that is on the disk."""
        watched = self._by_id
        if not watched:
            return
        for job in ids:
            for watcher in watched.get(job, ()):
                watcher.pending.append(job)
                watcher.on_wake()
