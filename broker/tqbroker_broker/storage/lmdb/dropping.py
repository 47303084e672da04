"""Whole workflows go: those whose time has come, uploads that were given up, and what an operator drops."""

from __future__ import annotations

from tqbroker_broker.questions import Effect, EventKind
from tqbroker_broker.records import JobId, Time
from tqbroker_broker.storage.lmdb import uniques
from tqbroker_broker.storage.lmdb.endings import drop_finished
from tqbroker_broker.storage.lmdb.flowrows import JOIN, PART, SPAN, Flow
from tqbroker_broker.storage.lmdb.group import WAITING, Group
from tqbroker_broker.storage.lmdb.keys import FLOWS, U64, first_number

# What a workflow without jobs has under keys that begin with its number. Only one that was added to another has parts.
OWN = ("followers", "counted", "members", "joins", "takers", "parts")


def drop_workflow(group: Group, workflow: bytes, now: Time) -> Effect:
    """Puts a workflow of which all jobs have ended on the agenda, to be dropped at once."""
    row = group.txn.get(workflow, db=group.store.db["flow_ids"])
    number = first_number(row) if row is not None else 0
    flow = group.flows.flow(number) if row is not None else None
    if flow is None or flow.into:
        return Effect.UNKNOWN
    if not flow.live or flow.left:
        return Effect.WRONG_STATE
    if not flow.dropping:
        flow.dropping = True
        group.flows.put_flow(number, flow)
        group.plan(FLOWS, now.wall_ms, U64.pack(number))
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
        group, flow = self.group, self.group.flows.flow(self.number)
        if flow is None or flow.into:
            return False
        if not flow.dropping and not flow.live:
            until_ms = flow.newest_ms + int(group.store.config.upload_ttl * 1000)
            if until_ms > self.now.wall_ms:
                group.plan(FLOWS, until_ms, U64.pack(self.number))
                return False
        elif not flow.dropping and (flow.left or flow.keep_ms > self.now.wall_ms):
            return False
        if not flow.dropping:
            flow.dropping = True
            group.flows.put_flow(self.number, flow)
        return True

    def run(self) -> bool:
        """Drops as much as may be. Returns whether all of it is gone."""
        flow = self.group.flows.flow(self.number)
        assert flow is not None, "it is due"
        while self.left > 0:
            part = self._last_part()
            if part is None:
                return self._drop_rest(self.number, flow)
            key, first, count, home = part
            if not self._drop_jobs(key, first, count, home, flow):
                return False
        return False

    def _last_part(self) -> tuple[bytes, int, int, int] | None:
        """The part that goes next: the last comes first, so that the run of jobs is there as long as one of them."""
        cursor = self.group.txn.cursor(self.group.store.db["parts"])
        found = cursor.prev() if cursor.set_range(PART.pack(self.number + 1, 0)) else cursor.last()
        if not found or not cursor.key().startswith(U64.pack(self.number)):
            return None
        return cursor.key(), *SPAN.unpack_from(cursor.value())

    def _drop_jobs(self, key: bytes, first: int, count: int, home: int, flow: Flow) -> bool:
        """Drops jobs of a part from its end on. Returns whether all of it is gone."""
        group, db = self.group, self.group.store.db
        while count and self.left > 0:
            count -= 1
            self.left -= 1
            seq = first + count
            if flow.live:
                drop_finished(group, seq, self.now, alone=False)
            else:
                self._give_up(seq)
            group.txn.delete(U64.pack(seq), db=db["forgotten"])
            group.flows.drop_place(seq)
        guest = group.flows.flow(home) if home != self.number else None
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

    def _drop_rest(self, number: int, flow: Flow) -> bool:
        """Drops what a workflow without jobs still has. Returns whether all of it is gone."""
        group, db = self.group, self.group.store.db
        for name in OWN:
            if not self._drop_prefix(name, U64.pack(number)):
                return False
        group.flows.forget(number)
        group.txn.delete(U64.pack(number), db=db["flows"])
        group.txn.delete(flow.id, db=db["flow_ids"])
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
        join = group.flows.join(JOIN.unpack(key))
        if join is not None and join.id and group.txn.get(join.id, db=db["groups"]) == key:
            group.txn.delete(join.id, db=db["groups"])
