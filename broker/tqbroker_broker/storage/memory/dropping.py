"""What is not kept any more: finished jobs, whole workflows, uploads that were given up, ids, keys and groups."""

from __future__ import annotations

from tqbroker_broker.aging import Aging
from tqbroker_broker.config import StorageConfig
from tqbroker_broker.lifecycle import FINAL
from tqbroker_broker.questions import EventKind
from tqbroker_broker.records import JobId, Time
from tqbroker_broker.rules import UniqueUntil
from tqbroker_broker.storage.memory.effects import Effects
from tqbroker_broker.storage.memory.log import EventLog
from tqbroker_broker.storage.memory.store import MemoryStore, Row
from tqbroker_broker.storage.memory.workflows import GOING, STAGED, Phase, Workflow


class Dropping:
    """Drops what time has passed by, a slice at a time."""

    def __init__(self, store: MemoryStore, aging: Aging, log: EventLog, config: StorageConfig) -> None:
        self._store = store
        self._log = log
        self._config = config
        self._aging = aging

    def drop(self, now: Time, effects: Effects) -> None:
        """Drops at most `effects.limit` jobs and ids."""
        now = Time(self._aging.wall_ms(now), now.mono)
        for row in self._old_jobs(now)[: effects.limit]:
            self._store.drop(row, remember_until(row, self._config), now.wall_ms)
            effects.limit -= 1
        for workflow in self._old_workflows(now):
            self._drop_workflow(workflow, now, effects)
        for job in self._old_ids(now)[: effects.limit]:
            del self._store.remembered[job]
        self._drop_keys(now)
        self._drop_groups(now)

    def is_left(self, now: Time) -> bool:
        """Whether there is more to drop."""
        now = Time(self._aging.wall_ms(now), now.mono)
        return any(overdue(now) for overdue in (self._old_jobs, self._old_workflows, self._old_ids))

    def _old_jobs(self, now: Time) -> list[Row]:
        rows = (row for row in self._store.rows(*FINAL) if row.seat is None and row.keep_until_ms <= now.wall_ms)
        return sorted(rows, key=lambda row: (row.keep_until_ms, row.ended))

    # -- workflows -----------------------------------------------------------------------------------------------------

    def _old_workflows(self, now: Time) -> list[Workflow]:
        return [workflow for workflow in self._store.workflows.values() if self._is_old(workflow, now)]

    def _is_old(self, workflow: Workflow, now: Time) -> bool:
        if workflow.phase in STAGED:
            return workflow.uploaded_ms + int(self._config.upload_ttl * 1000) <= now.wall_ms
        return workflow.phase in GOING or (workflow.is_over and workflow.keep_until_ms <= now.wall_ms)

    def _drop_workflow(self, workflow: Workflow, now: Time, effects: Effects) -> None:
        """Drops some of its jobs, and with the last of them the workflow."""
        workflow.phase = Phase.GIVEN_UP if workflow.phase in STAGED else workflow.phase
        workflow.phase = Phase.DROPPING if workflow.phase is Phase.LIVE else workflow.phase
        rows = self._store.rows_of(workflow)
        for row in rows[: effects.limit]:
            if workflow.phase is Phase.DROPPING:
                self._store.drop(row, remember_until(row, self._config), now.wall_ms)
            else:
                self._give_up(row)
                effects.final.append(row.id)
        if len(rows) <= effects.limit:
            self._store.drop_workflow(workflow)
        effects.limit -= min(len(rows), effects.limit)

    def _give_up(self, row: Row) -> None:
        """A job that nobody could ever run goes without a trace: its id and its key are free."""
        del self._store.jobs[row.id]
        holding = self._store.keys.get(row.key)
        if holding and holding.job == row.id:
            del self._store.keys[row.key]
        self._log.job(EventKind.REVOKED, row.id, row.head)

    # -- ids, keys, groups ---------------------------------------------------------------------------------------------

    def _old_ids(self, now: Time) -> list[JobId]:
        remembered = self._store.remembered
        ids = (job for job, known in remembered.items() if known.until_ms <= now.wall_ms)
        return sorted(ids, key=lambda job: (remembered[job].until_ms, remembered[job].number))

    def _drop_keys(self, now: Time) -> None:
        """Keys that were held for a time; all others go with their jobs."""
        for key, (_, unique, submitted_ms) in list(self._store.keys.items()):
            if unique.until is UniqueUntil.TIME and submitted_ms + unique.for_ms <= now.wall_ms:
                del self._store.keys[key]

    def _drop_groups(self, now: Time) -> None:
        for group, saved in list(self._store.saved.items()):
            if saved.until_ms <= now.wall_ms:
                del self._store.saved[group]


def remember_until(row: Row, config: StorageConfig) -> int:
    """How long an id is remembered even if its job is dropped before."""
    return row.submitted_ms + int(config.dedup_window * 1000)
