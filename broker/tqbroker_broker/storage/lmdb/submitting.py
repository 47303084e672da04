"""Submit: parts of workflows in, each as a whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tqbroker_broker.lifecycle import expiry
from tqbroker_broker.questions import EventKind
from tqbroker_broker.records import Time
from tqbroker_broker.rules import QueueRule
from tqbroker_broker.storage.lmdb import uniques
from tqbroker_broker.storage.lmdb.checking import Check
from tqbroker_broker.storage.lmdb.flowrows import FOLLOWERS, GATE, JOIN, PART, SPAN, Flow, Join, Member, Nodes, pack
from tqbroker_broker.storage.lmdb.group import READY, SCHEDULED, WAITING, Group
from tqbroker_broker.storage.lmdb.keys import EXPIRY, NOTED, U64
from tqbroker_broker.storage.lmdb.rows import FRESH_ROW, pack_jobs
from tqbroker_broker.storage.lmdb.turning import Follow
from tqbroker_broker.workflows import NewNodes, Part, PartAnswer, PartEffect

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
        self.number = number or self._new_flow()
        self.follow = Follow(group, now)
        """What goes on with this part, and what the answer says of it."""

    @property
    def flow(self) -> Flow:
        flow = self.group.flows.flow(self.number)
        assert flow is not None, "it was found or made before"
        return flow

    def _new_flow(self) -> int:
        group, part = self.group, self.part
        number = group.take_numbers(1)
        flow = Flow(part.workflow, part.name, self.now.wall_ms, self.now.wall_ms)
        group.flows.put_flow(number, flow)
        group.txn.put(part.workflow, U64.pack(number), db=group.store.db["flow_ids"])
        return number

    def store(self) -> PartAnswer:
        """Stores all of it. The jobs of a workflow of one part that is live at once go to their lanes directly."""
        group, part, flow = self.group, self.part, self.flow
        for new in part.joins:
            join = Join(new.on, new.shape, new.id)
            group.flows.put_join((self.number, new.number), join)
        flow.complete, flow.held = part.last, part.held
        flow.live = part.last and not part.held
        at_once = flow.live and not part.number
        first = group.next_seq
        count = sum(len(nodes.jobs.ids) for nodes in part.nodes)
        if not flow.total and count:
            flow.root = part.nodes[0].jobs.ids[0]
        group.take_numbers(count)
        at = first
        for nodes in part.nodes:
            self._store_nodes(nodes, at, at_once)
            at += len(nodes.jobs.ids)
        self._note_part(first, count)
        if flow.live:
            self._go_live(at_once)
        done = self.follow.done
        return PartAnswer(PartEffect.STORED, woken=frozenset(done.woken), next_due_ms=done.next_due_ms)

    def _note_part(self, first: int, count: int) -> None:
        group, part, flow = self.group, self.part, self.flow
        row = SPAN.pack(first, count, self.number) + part.digest
        group.txn.put(PART.pack(self.number, part.number), row, db=group.store.db["parts"])
        flow.uploaded = flow.parts = part.number + 1
        flow.newest_ms = self.now.wall_ms
        flow.total += count
        flow.left += count
        group.flows.put_flow(self.number, flow)

    def _go_live(self, at_once: bool) -> None:
        """What waited only for that goes on; groups can be asked for."""
        group = self.group
        for new in self.part.joins:
            if new.id:
                group.txn.put(new.id, JOIN.pack(self.number, new.number), db=group.store.db["groups"])
        if not at_once:
            for run in group.flows.followers((self.number, GATE)):
                self.follow.release(run)

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
        group, flows = self.group, self.group.flows
        members = []
        for number in nodes.member_of:
            key = (self.number, number)
            join = flows.join(key)
            assert join is not None, "nodes name joins that there are"
            members.append(Member(key, flows.add_members(key, join, seqs)))
        after = (self.number, nodes.after)
        head = _encode(nodes.jobs.head)
        row = Nodes(
            len(seqs), self.number, after, nodes.silent, nodes.countdown_ms, nodes.expires_in_ms, tuple(members), head
        )
        group.txn.put(U64.pack(seqs.start), pack(row), db=group.store.db["nodes"])
        flows.forget_run()
        awaited = flows.join(after) if nodes.after else None
        if awaited is not None and not awaited.followed:
            awaited.followed = True
            flows.put_join(after, awaited)
        group.txn.put(FOLLOWERS.pack(*after, seqs.start), b"", db=group.store.db["followers"])

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
