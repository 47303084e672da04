"""Submit: parts of workflows in, each as a whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tqbroker_broker.lifecycle import expiry
from tqbroker_broker.questions import EventKind
from tqbroker_broker.records import Time
from tqbroker_broker.rules import QueueRule
from tqbroker_broker.storage.lmdb import uniques
from tqbroker_broker.storage.lmdb.checking import Check, count_of
from tqbroker_broker.storage.lmdb.following import Follow
from tqbroker_broker.storage.lmdb.group import READY, SCHEDULED, WAITING, Group
from tqbroker_broker.storage.lmdb.keys import EXPIRY, NOTED, U64, WORKFLOWS
from tqbroker_broker.storage.lmdb.merging import begin, go_live, merge
from tqbroker_broker.storage.lmdb.rows import FRESH_ROW, pack_jobs
from tqbroker_broker.storage.lmdb.workflow_rows import (
    JOIN,
    PART,
    SPAN,
    Join,
    JoinKey,
    Member,
    Nodes,
    WorkflowRow,
    is_open_group,
)
from tqbroker_broker.workflows import NewJoin, NewNodes, Part, PartAnswer, PartEffect

NO_RULE = QueueRule()

_encode = msgspec.msgpack.Encoder().encode


def submit(group: Group, part: Part, now: Time) -> PartAnswer:
    """Stores a part; with the last one the workflow is live, unless it is held."""
    check = Check(group, part, now)
    effect = check.effect()
    if effect is not PartEffect.STORED:
        return PartAnswer(effect, check.refused, check.holders)
    return Submission(group, part, now, check.number).store()


class Submission:
    """A part that is being stored. `number` is that of its workflow, 0 if it is new."""

    def __init__(self, group: Group, part: Part, now: Time, number: int) -> None:
        self.group = group
        self.part = part
        self.now = now
        self.number = number or self._new_workflow()
        self.follow = Follow(group, now)
        """What goes on with this part, and what the answer says of it."""

    @property
    def workflow(self) -> WorkflowRow:
        workflow = self.group.workflows.workflow(self.number)
        assert workflow is not None, "it was found or made before"
        return workflow

    def _new_workflow(self) -> int:
        group, part = self.group, self.part
        number = group.take_numbers(1)
        workflow = WorkflowRow(part.workflow, part.name, self.now.wall_ms, self.now.wall_ms)
        group.workflows.put_workflow(number, workflow)
        group.txn.put(part.workflow, U64.pack(number), db=group.store.db["workflow_ids"])
        return number

    def store(self) -> PartAnswer:
        """Stores all of it. The jobs of a workflow of one part that is live at once go to their lanes directly."""
        group, part, workflow = self.group, self.part, self.workflow
        for new in part.joins:
            self._put_join(new)
        workflow.complete, workflow.held = part.last, part.held
        count = sum(map(count_of, part.nodes))
        first = at = group.take_numbers(count)
        for nodes in part.nodes:
            if nodes.takes_over:
                self._keep_taker(nodes, at)
            else:
                workflow.root = workflow.root or nodes.jobs.ids[0]
                self._store_nodes(nodes, at, part.at_once)
            at += count_of(nodes)
        self._note_part(first, count)
        if part.last and not part.held:
            self._go_live(part.at_once)
        elif not part.number:
            until_ms = self.now.wall_ms + int(group.store.config.upload_ttl * 1000)
            group.plan(WORKFLOWS, until_ms, U64.pack(self.number))
        done = self.follow.done
        return PartAnswer(PartEffect.STORED, woken=frozenset(done.woken), next_due_ms=done.next_due_ms)

    def _put_join(self, new: NewJoin) -> None:
        group, workflow, key = self.group, self.workflow, (self.number, new.number)
        group.workflows.put_join(key, Join(new.on, new.shape, new.id))
        workflow.joins = max(workflow.joins, new.number)
        if new.id:
            group.txn.put(new.id, JOIN.pack(*key), db=group.store.db["groups"])

    def _note_part(self, first: int, count: int) -> None:
        group, part, workflow = self.group, self.part, self.workflow
        row = SPAN.pack(first, count, self.number) + part.digest
        group.txn.put(PART.pack(self.number, part.number + 1), row, db=group.store.db["parts"])
        workflow.uploaded = workflow.parts = part.number + 1
        workflow.newest_ms = self.now.wall_ms
        jobs = count - any(nodes.takes_over for nodes in part.nodes)
        workflow.total += jobs
        workflow.left += jobs
        group.workflows.put_workflow(self.number, workflow)

    def _go_live(self, at_once: bool) -> None:
        """What waited only for that goes on."""
        if self.part.beside is not None:
            seq = self.group.store.seq_of(self.group.txn, self.part.beside.id)
            assert seq is not None, "a running job is stored"
            merge(self.group, self.number, self.workflow, seq, self.part.beside.id)
        if at_once:
            begin(self.follow, self.number, self.workflow)
        else:
            go_live(self.follow, self.number, self.workflow)

    def _keep_taker(self, nodes: NewNodes, seq: int) -> None:
        """What is to take the place of a job is no job yet: only its place is kept, and its body beside the others."""
        group = self.group
        body = pack_jobs(nodes.jobs._replace(ids=[b""], unique=()), self.now.wall_ms, [0])[0]
        group.txn.put(U64.pack(self.number), body, db=group.store.db["takers"])
        self.workflow.taker = seq
        self._put_place(nodes, range(seq, seq + 1))

    # -- the rows of jobs ----------------------------------------------------------------------------------------------

    def _store_nodes(self, nodes: NewNodes, first: int, at_once: bool) -> None:
        group, jobs = self.group, nodes.jobs
        db, txn = group.store.db, group.txn
        seqs = range(first, first + len(jobs.ids))
        keys = list(map(U64.pack, seqs))
        nodes = self._with_times(nodes, at_once)
        rows = pack_jobs(nodes.jobs, self.now.wall_ms, range(len(keys)))
        txn.cursor(db["jobs"]).putmulti(list(zip(keys, rows, strict=True)), append=True)
        ids = [(job, key + digest) for job, key, digest in zip(jobs.ids, keys, jobs.digests, strict=True)]
        txn.cursor(db["ids"]).putmulti(ids)
        txn.cursor(db["notes"]).putmulti([(key, FRESH_ROW) for key in keys], append=True)
        self._put_place(nodes, seqs)
        if nodes.jobs.expires_ms:
            group.plan(EXPIRY, nodes.jobs.expires_ms, b"".join(keys))
        if (unique := jobs.head.traits.unique) is not None:
            for seq, job, key in zip(seqs, jobs.ids, jobs.unique, strict=True):
                uniques.take(group, key, seq, job, unique, self.now)
        group.event(EventKind.SENT, self.now, jobs.ids, jobs.head)
        if at_once and not nodes.after:
            self._enter(nodes, keys)
        else:
            group.count(jobs.head.queue, WAITING, len(keys))

    def _with_times(self, nodes: NewNodes, at_once: bool) -> NewNodes:
        """The time of what waits for nothing begins now."""
        if not at_once or nodes.after:
            return nodes
        jobs, now_ms = nodes.jobs, self.now.wall_ms
        due_ms = now_ms + nodes.countdown_ms if nodes.countdown_ms else jobs.due_ms
        own_ms = jobs.expires_ms or (now_ms + nodes.expires_in_ms if nodes.expires_in_ms else 0)
        rule = self.group.store.queue_rules.get(jobs.head.queue, NO_RULE)
        expires_ms = expiry(own_ms, due_ms, now_ms, rule.ttl_ms)
        return nodes._replace(jobs=jobs._replace(due_ms=due_ms, expires_ms=expires_ms))

    def _put_place(self, nodes: NewNodes, seqs: range) -> None:
        workflows = self.group.workflows
        joins = [(self.number, number) for number in nodes.member_of]
        members = []
        for key in joins + (self._groups_beside() if nodes.beside else []):
            join = workflows.join(key)
            assert join is not None, "nodes name joins that there are"
            members.append(Member(key, workflows.add_members(key, join, seqs)))
        after = (self.number, nodes.after)
        times = nodes.countdown_ms, nodes.expires_in_ms
        head = _encode(nodes.jobs.head)
        workflows.put_run(seqs.start, Nodes(len(seqs), self.number, after, nodes.silent, *times, tuple(members), head))
        awaited = workflows.join(after) if nodes.after else None
        if awaited is not None and not awaited.followed:
            awaited.followed = True
            workflows.put_join(after, awaited)

    def _groups_beside(self) -> list[JoinKey]:
        """The open groups of the job that these are added to."""
        workflows, beside = self.group.workflows, self.part.beside
        seq = self.group.store.seq_of(self.group.txn, beside.id) if beside is not None else None
        run = workflows.run(seq) if seq is not None else None
        keys = [member.join for member in run.nodes.members] if run is not None else []
        joins = [(key, workflows.join(key)) for key in keys]
        return [key for key, join in joins if join is not None and is_open_group(join)]

    def _enter(self, nodes: NewNodes, keys: Sequence[bytes]) -> None:
        group, jobs = self.group, nodes.jobs
        db, txn, lane = group.store.db, group.txn, group.lane(jobs.head)
        if jobs.due_ms > self.now.wall_ms:
            txn.cursor(db["delayed"]).putmulti([(U64.pack(jobs.due_ms) + key, b"") for key in keys])
            group.count(lane.queue, SCHEDULED, len(keys))
            self.follow.done.due(jobs.due_ms)
            return
        txn.cursor(db["lanes"]).putmulti([(lane.prefix + key, key + NOTED) for key in keys])
        group.count(lane.queue, READY, len(keys))
        group.ready(lane, int.from_bytes(keys[0]))
        self.follow.done.woken.add(lane.queue)
