"""Whole workflows go: those whose time has come, uploads that were given up, and what an operator drops."""

from __future__ import annotations

from tqbroker_broker.questions import Effect, EventKind
from tqbroker_broker.records import JobId, Time
from tqbroker_broker.storage.lmdb import uniques
from tqbroker_broker.storage.lmdb.endings import drop_finished
from tqbroker_broker.storage.lmdb.group import WAITING, Group
from tqbroker_broker.storage.lmdb.keys import U64, WORKFLOWS, first_number
from tqbroker_broker.storage.lmdb.workflow_rows import JOIN, PART, SPAN, WorkflowRow

# What a workflow without jobs has under keys that begin with its number. Only one that was added to another has parts.
OWN = ("followers", "counted", "members", "joins", "takers", "parts")

AT_ONCE = 0
"""A moment that has come, however the clock is set."""


def drop_workflow(group: Group, workflow_id: bytes) -> Effect:
    """Puts a workflow of which all jobs have ended on the agenda, to be dropped at once."""
    row = group.txn.get(workflow_id, db=group.store.db["workflow_ids"])
    number = first_number(row) if row is not None else 0
    workflow = group.workflows.workflow(number) if row is not None else None
    if workflow is None or workflow.into:
        return Effect.UNKNOWN
    if not workflow.live or workflow.left:
        return Effect.WRONG_STATE
    if not workflow.dropping:
        workflow.dropping = True
        group.workflows.put_workflow(number, workflow)
        group.plan(WORKFLOWS, AT_ONCE, U64.pack(number))
    return Effect.DONE


class Dropping:
    """One slice of the drop of one workflow: at most `limit` jobs and rows. `left` is what is left of the limit."""

    def __init__(self, group: Group, number: int, now: Time, limit: int) -> None:
        self.group = group
        self.number = number
        self.now = now
        self.left = limit
        self.gone: list[JobId] = []
        """Jobs that nobody could ever run."""

    def is_due(self) -> bool:
        """Whether the workflow is to go now; plans when to look again at one that is not."""
        group, workflow = self.group, self.group.workflows.workflow(self.number)
        if workflow is None or workflow.into:
            return False
        aged_ms = group.store.aging.wall_ms(self.now)
        if not workflow.dropping and not workflow.live:
            until_ms = workflow.newest_ms + int(group.store.config.upload_ttl * 1000)
            if until_ms > aged_ms:
                group.plan(WORKFLOWS, until_ms, U64.pack(self.number))
                return False
        elif not workflow.dropping and (workflow.left or workflow.keep_ms > aged_ms):
            return False
        if not workflow.dropping:
            workflow.dropping = True
            group.workflows.put_workflow(self.number, workflow)
        return True

    def run(self) -> bool:
        """Drops as much as may be. Returns whether all of it is gone."""
        workflow = self.group.workflows.workflow(self.number)
        assert workflow is not None, "it is due"
        while self.left > 0:
            part = self._last_part()
            if part is None:
                return self._drop_rest(self.number, workflow)
            key, first, count, home = part
            if not self._drop_jobs(key, first, count, home, workflow):
                return False
        return False

    def _last_part(self) -> tuple[bytes, int, int, int] | None:
        """The part that goes next: the last comes first, so that the run of jobs is there as long as one of them."""
        cursor = self.group.txn.cursor(self.group.store.db["parts"])
        found = cursor.prev() if cursor.set_range(PART.pack(self.number + 1, 0)) else cursor.last()
        if not found or not cursor.key().startswith(U64.pack(self.number)):
            return None
        return cursor.key(), *SPAN.unpack_from(cursor.value())

    def _drop_jobs(self, key: bytes, first: int, count: int, home: int, workflow: WorkflowRow) -> bool:
        """Drops jobs of a part from its end on. Returns whether all of it is gone."""
        group, db = self.group, self.group.store.db
        while count and self.left > 0:
            count -= 1
            self.left -= 1
            seq = first + count
            if workflow.live:
                drop_finished(group, seq, self.now, alone=False)
            else:
                self._give_up(seq)
            group.txn.delete(U64.pack(seq), db=db["forgotten"])
            group.workflows.drop_place(seq)
        guest = group.workflows.workflow(home) if home != self.number else None
        if count or (guest is not None and not self._drop_rest(home, guest)):
            row = group.txn.get(key, db=db["parts"]) or b""
            group.txn.put(key, SPAN.pack(first, count, home) + row[SPAN.size :], db=db["parts"])
            return False
        group.txn.delete(key, db=db["parts"])
        return True

    def _give_up(self, seq: int) -> None:
        """A job that could not run goes without a trace: its id and its key are free."""
        group, key = self.group, U64.pack(seq)
        job = group.store.job(group.txn, seq)
        for name in ("jobs", "notes"):
            group.txn.delete(key, db=group.store.db[name])
        if job is None:
            return
        if job.unique:
            uniques.remove(group, job.unique, seq)
        group.txn.delete(job.id, db=group.store.db["ids"])
        group.count(job.head.queue, WAITING, -1)
        group.event(EventKind.REVOKED, self.now, [job.id], job.head)
        self.gone.append(job.id)

    def _drop_rest(self, number: int, workflow: WorkflowRow) -> bool:
        """Drops what a workflow without jobs still has. Returns whether all of it is gone."""
        group, db = self.group, self.group.store.db
        for name in OWN:
            if not self._drop_prefix(name, U64.pack(number)):
                return False
        group.workflows.forget(number)
        group.txn.delete(U64.pack(number), db=db["workflows"])
        group.txn.delete(workflow.id, db=db["workflow_ids"])
        return True

    def _drop_prefix(self, name: str, prefix: bytes) -> bool:
        group, db = self.group, self.group.store.db
        cursor = group.txn.cursor(db[name])
        while cursor.set_range(prefix) and (key := cursor.key()).startswith(prefix):
            if self.left <= 0:
                return False
            if name == "joins":
                self._drop_group(key)
            group.txn.delete(key, db=db[name])
            self.left -= 1
        return True

    def _drop_group(self, key: bytes) -> None:
        """A group is not known any more, unless another workflow has one under its id since."""
        group, db = self.group, self.group.store.db
        join = group.workflows.join(JOIN.unpack(key))
        if join is not None and join.id and group.txn.get(join.id, db=db["groups"]) == key:
            group.txn.delete(join.id, db=db["groups"])
