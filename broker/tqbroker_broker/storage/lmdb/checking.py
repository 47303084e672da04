"""Whether a part of a workflow can be stored: nothing is written before all of it is known to fit."""

from __future__ import annotations

from tqbroker_broker.answers import Stored
from tqbroker_broker.attempts import Held
from tqbroker_broker.lifecycle import holds_key
from tqbroker_broker.records import JobId, State, Time
from tqbroker_broker.rules import QueueRule
from tqbroker_broker.storage.lmdb import uniques
from tqbroker_broker.storage.lmdb.group import Group
from tqbroker_broker.storage.lmdb.keys import first_number
from tqbroker_broker.storage.lmdb.rooms import Room
from tqbroker_broker.storage.lmdb.workflow_rows import PART, SPAN, WorkflowRow
from tqbroker_broker.workflow_decisions import takes_one
from tqbroker_broker.workflows import NewNodes, Part, PartEffect

NO_RULE = QueueRule()


def count_of(nodes: NewNodes) -> int:
    """How many places they have. What takes over is one, and has no id."""
    return 1 if nodes.takes_over else len(nodes.jobs.ids)


class Check:
    """The checks of one part. `number` is that of its workflow, 0 while there is none."""

    def __init__(self, group: Group, part: Part, now: Time) -> None:
        self._group = group
        self._part = part
        self._now = now
        row = group.txn.get(part.workflow, db=group.store.db["workflow_ids"])
        self.number = first_number(row) if row is not None else 0
        self._workflow: WorkflowRow | None = group.workflows.workflow(self.number) if self.number else None
        self.refused: dict[tuple[int, int], Stored] = {}
        self.holders: dict[tuple[int, int], JobId] = {}
        self._keys: dict[bytes, JobId] = {}
        self._rooms: dict[str, list[int]] = {}

    def effect(self) -> PartEffect:
        """What is to become of the part; REFUSED with `refused` and `holders`."""
        known = self._known() or self._misfit()
        if known is not None:
            return known
        self._look_at_jobs()
        return PartEffect.REFUSED if self.refused else PartEffect.STORED

    def _known(self) -> PartEffect | None:
        """What is known of this part and those before it, if that is the answer."""
        group, part, workflow = self._group, self._part, self._workflow
        if workflow is None:
            return PartEffect.OUT_OF_ORDER if part.number else None
        if workflow.dropping:
            return PartEffect.OUT_OF_ORDER
        if part.number < workflow.uploaded:
            row = group.txn.get(PART.pack(self.number, part.number + 1), db=group.store.db["parts"]) or b""
            return PartEffect.DUPLICATE if row[SPAN.size :] == part.digest else PartEffect.CONFLICT
        if workflow.complete:
            return PartEffect.CONFLICT
        return PartEffect.OUT_OF_ORDER if part.number > workflow.uploaded else None

    def _misfit(self) -> PartEffect | None:
        """Whether the part would make the workflow one that cannot be."""
        group, part = self._group, self._part
        stored = self._workflow.total if self._workflow is not None else 0
        if part.beside is not None:
            host = self._host(part.beside)
            if host is None:
                return PartEffect.LEASE_LOST
            stored += host
        if stored + sum(map(count_of, part.nodes)) > group.store.config.max_workflow_jobs:
            return PartEffect.TOO_LARGE
        taken = self._workflow is not None and bool(self._workflow.taker)
        takers = sum(nodes.takes_over for nodes in part.nodes) + taken
        if takers > 1 or (takers and part.last and not part.held):
            return PartEffect.UNKNOWN_JOIN
        joins: dict[int, tuple[int, bool]] = {}
        for new in part.joins:
            if new.number in joins or group.workflows.join((self.number, new.number)) is not None:
                return PartEffect.UNKNOWN_JOIN
            joins[new.number] = 0, False
        fits = all(self._enter(nodes, joins) for nodes in part.nodes)
        return None if fits else PartEffect.UNKNOWN_JOIN

    def _host(self, held: Held) -> int | None:
        """How many jobs there are beside a part that is added to the workflow of a job; None if that does not run."""
        group = self._group
        seq = group.store.seq_of(group.txn, held.id)
        lease = group.store.book.by_seq.get(seq) or group.adopted.get(seq) if seq is not None else None
        if seq is None or lease is None or lease.token != held.token or lease.token in group.ended:
            return None
        run = group.workflows.run(seq)
        top = group.workflows.top(run.nodes.workflow) if run is not None else None
        return top[1].total if top is not None else 1

    def _enter(self, nodes: NewNodes, joins: dict[int, tuple[int, bool]]) -> bool:
        """Whether nodes fit into joins: members come before followers, so that nobody waits in a circle."""
        if nodes.after:
            members, _ = self._standing(nodes.after, joins)
            if not members:
                return False
            joins[nodes.after] = members, True
        for number in nodes.member_of:
            members, followed = self._standing(number, joins)
            members += count_of(nodes)
            if followed or (members > 1 and self._takes_one(number)):
                return False
            joins[number] = members, False
        return True

    def _takes_one(self, number: int) -> bool:
        known = self._group.workflows.join((self.number, number)) if self.number else None
        join = known or next(new for new in self._part.joins if new.number == number)
        return takes_one(join.on, join.shape)

    def _standing(self, number: int, joins: dict[int, tuple[int, bool]]) -> tuple[int, bool]:
        """The members of a join so far, and whether it has followers; one that is not there takes none."""
        known = joins.get(number)
        if known is not None:
            return known
        join = self._group.workflows.join((self.number, number)) if self.number else None
        return (join.members, join.followed) if join is not None else (0, True)

    # -- jobs ----------------------------------------------------------------------------------------------------------

    def _look_at_jobs(self) -> None:
        """One after the other, where anything can be in the way; a refused job leaves nothing to those after it."""
        group = self._group
        batches = [(i, nodes) for i, nodes in enumerate(self._part.nodes) if not nodes.takes_over]
        ids = [job for _, nodes in batches for job in nodes.jobs.ids]
        known = {key for key, _ in group.txn.cursor(group.store.db["ids"]).getmulti(ids)}
        again = len(set(ids)) < len(ids)
        for batch, nodes in batches:
            room = self._room_for(nodes)
            if known or again or room is not None or nodes.jobs.head.traits.unique is not None:
                for i in range(len(nodes.jobs.ids)):
                    refusal = self._refusal(batch, i, nodes, known, room)
                    if refusal is not None:
                        self.refused[batch, i] = refusal

    def _refusal(self, batch: int, i: int, nodes: NewNodes, known: set[JobId], room: list[int] | None) -> Stored | None:
        """Why a job cannot be stored; if it can, it takes its id, its key and its room."""
        jobs, now_ms = nodes.jobs, self._now.wall_ms
        job, unique = jobs.ids[i], jobs.head.traits.unique
        if job in known:
            return Stored.CONFLICT
        holder = self._holder(jobs.unique[i]) if unique is not None else None
        if holder is not None:
            self.holders[batch, i] = holder
            return Stored.NOT_UNIQUE
        if room is not None:
            if room[0] <= 0:
                return Stored.QUEUE_FULL
            room[0] -= 1
        known.add(job)
        if unique is not None and holds_key(unique, self._state(nodes), now_ms, now_ms):
            self._keys[jobs.unique[i]] = job
        return None

    def _holder(self, key: bytes) -> JobId | None:
        holding = uniques.holder(self._group, key, self._now)
        return self._keys.get(key) or (holding.id if holding is not None else None)

    def _room_for(self, nodes: NewNodes) -> list[int] | None:
        """How many more may wait in the queue of jobs that wait for nothing else; None: any number."""
        queue = nodes.jobs.head.queue
        rule = self._group.store.queue_rules.get(queue, NO_RULE)
        if nodes.after or not rule.max_length:
            return None
        if queue not in self._rooms:
            self._rooms[queue] = [rule.max_length - Room(self._group, queue, rule, self._now).length()]
        return self._rooms[queue]

    def _state(self, nodes: NewNodes) -> State:
        """The state that new jobs will have."""
        if not self._part.last or self._part.held or nodes.after:
            return State.WAITING
        due_ms = self._now.wall_ms + nodes.countdown_ms if nodes.countdown_ms else nodes.jobs.due_ms
        return State.SCHEDULED if due_ms > self._now.wall_ms else State.QUEUED
