"""Schedules: the verbs `schedules`, `put_schedules` and `fire`."""

from __future__ import annotations

from collections.abc import Sequence

from tqbroker_broker.answers import Enqueued
from tqbroker_broker.firings import settle
from tqbroker_broker.records import JobId, NewJobs, State, Time
from tqbroker_broker.schedules import Fire, FireAnswer, ScheduleState
from tqbroker_broker.storage.memory.attempts import Attempts
from tqbroker_broker.storage.memory.intake import Intake
from tqbroker_broker.storage.memory.store import MemoryStore


class Firing:
    """Schedules over one store."""

    def __init__(self, store: MemoryStore, attempts: Attempts, intake: Intake) -> None:
        self._store = store
        self._attempts = attempts
        self._intake = intake

    def schedules(self) -> list[ScheduleState]:
        """Every schedule, by name."""
        return [state for _, state in sorted(self._store.schedules.items())]

    def put(self, put: Sequence[ScheduleState], remove: Sequence[str]) -> None:
        """Removes, then stores."""
        for name in remove:
            self._store.schedules.pop(name, None)
        self._store.schedules.update((state.schedule.name, state) for state in put)

    def fire(self, fires: Sequence[Fire], now: Time) -> list[FireAnswer]:
        """One schedule after the other."""
        return [self._fire(fire, now) for fire in fires]

    def _fire(self, fire: Fire, now: Time) -> FireAnswer:
        def submit(jobs: NewJobs) -> Enqueued:
            return self._intake.enqueue([jobs], now)[0]

        state, answer = settle(self._store.schedules.get(fire.name), fire, self._state_of, submit)
        if state:
            self._store.schedules[fire.name] = state
        return answer

    def _state_of(self, job: JobId) -> State:
        row = self._store.jobs.get(job)
        return self._attempts.state(row) if row else State.UNKNOWN
