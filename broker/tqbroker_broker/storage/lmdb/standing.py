"""Where a job stands in its workflow: what goes with it when it is handed out, and what is told of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from tqbroker_broker.answers import Job
from tqbroker_broker.records import JobId
from tqbroker_broker.storage.lmdb.keys import U64
from tqbroker_broker.storage.lmdb.rows import DamagedRecordError, Final, Note, unpack_final, unpack_trail
from tqbroker_broker.storage.lmdb.store import Store
from tqbroker_broker.storage.lmdb.txn import Txn
from tqbroker_broker.storage.lmdb.workflow_reader import Run, WorkflowReader
from tqbroker_broker.storage.lmdb.workflow_rows import GATE, Join, JoinKey, JoinState, Nodes, WorkflowRow
from tqbroker_broker.workflows import Inputs, On

PAGE_BYTES = 1 << 20
"""Bytes of values that go with a job, or into one answer: they fit into a message."""

VALUE_BYTES = 64
"""Bytes that a value counts for beside its own."""

READ = 64
"""Outcomes that are read at a time: each may have a large result."""

log = logging.getLogger("tqbroker.storage")


class Standing:
    """The place of jobs in a row, as one transaction sees it; `first` is the seq of the first, `end` comes after.

    `index` is that of the first in the group that they are members of.
    """

    def __init__(self, workflows: WorkflowReader, run: Run, workflow: WorkflowRow) -> None:
        self.workflow = workflow
        self.nodes: Nodes = run.nodes
        self.first = run.first
        self.end = run.first + run.nodes.count
        self.awaited: Join | None = workflows.join(run.nodes.after) if run.nodes.after[1] != GATE else None
        self._group, self._in_chord, self.index = b"", False, 0
        for member in run.nodes.members:
            join = workflows.join(member.join)
            if join is not None and join.id:
                self._group, self._in_chord, self.index = join.id, join.followed, member.index
                break

    @property
    def parent(self) -> JobId:
        """The member whose end released it."""
        join = self.awaited
        return join.decider if join is not None and join.state == JoinState.RELEASED else b""

    @property
    def handed(self) -> Join | None:
        """The join whose values it is handed."""
        join = self.awaited
        if join is None or self.nodes.silent or join.on is not On.SUCCESS or join.state != JoinState.RELEASED:
            return None
        return join

    @property
    def failed(self) -> JobId:
        """The job whose failure it is called for."""
        join = self.awaited
        if join is None or self.nodes.silent or join.on is not On.FAILURE or join.state != JoinState.RELEASED:
            return b""
        return join.decider

    def cause(self, note: Note) -> JobId:
        """Of a job that has ended: the member because of which it did."""
        join = self.awaited
        return join.decider if join is not None and join.state == JoinState.BROKEN and not note.alone else b""

    def group(self, seq: int) -> tuple[bytes, int, bool]:
        """The group that a job is a member of, its index there, and whether others follow that."""
        return self._group, self.index + seq - self.first if self._group else 0, self._in_chord


UNREADABLE = WorkflowRow(b"", "", 0, 0)
"""Stands for a workflow whose row cannot be read: what its jobs are handed does not depend on that."""


def standing_of(workflows: WorkflowReader, seq: int) -> Standing | None:
    """Where a job stands; None when that cannot be read."""
    run = workflows.run(seq)
    top = workflows.top(run.nodes.workflow) if run is not None else None
    return Standing(workflows, run, top[1] if top is not None else UNREADABLE) if run is not None else None


def handed_to(store: Store, txn: Txn, stands: Standing) -> Inputs | None:
    """What goes with jobs that are handed out: all values, or none if that is too much for a message."""
    join = stands.handed
    if join is None:
        return None
    small = join.size + VALUE_BYTES * join.members <= PAGE_BYTES
    return values(store, txn, store.workflows(txn), stands, 0) if small else Inputs(join.shape, [], [], join.members)


def inputs_of(store: Store, txn: Txn, seq: int, first: int) -> Inputs | None:
    """Values that a job is handed, from an index on, as many as fit into a message; None when it is handed none."""
    note = store.note(txn, seq)
    workflows = store.workflows(txn)
    stands = standing_of(workflows, seq) if note.node and not note.bare and not note.alone else None
    return values(store, txn, workflows, stands, first) if stands is not None and stands.handed is not None else None


def values(store: Store, txn: Txn, workflows: WorkflowReader, stands: Standing, first: int) -> Inputs:
    """A message of values. A member that keeps no result, or lost it, has an empty one."""
    join = stands.handed
    results: list[bytes] = []
    formats: list[str] = []
    left = PAGE_BYTES
    for final in _finals(store, txn, workflows, stands.nodes.after, first):
        value = final.value if final is not None else b""
        left -= len(value) + VALUE_BYTES
        if results and left < 0:
            break
        results.append(value)
        formats.append(final.format if final is not None else "")
    assert join is not None, "asked for by the caller"
    return Inputs(join.shape, results, formats[:1] if len(set(formats)) == 1 else formats, join.members)


def _finals(store: Store, txn: Txn, workflows: WorkflowReader, join: JoinKey, first: int) -> Iterator[Final | None]:
    """How the members of a join ended, from an index on."""
    for seqs in workflows.members(join, first):
        for at in range(0, len(seqs), READ):
            keys = [U64.pack(seq) for seq in seqs[at : at + READ]]
            rows = dict(txn.cursor(store.db["final"]).getmulti(keys))
            for seq, key in zip(seqs[at : at + READ], keys, strict=True):
                yield unpacked(rows[key], seq) if key in rows else None


def unpacked(row: bytes, seq: int) -> Final | None:
    """How a member ended, unless that cannot be read any more."""
    try:
        return unpack_final(row, seq)
    except DamagedRecordError:
        log.error("the outcome of job number %s does not match its checksum", seq)
        return None


def describe(store: Store, txn: Txn, job: Job, seq: int, note: Note, final: Final | None) -> None:
    """Fills in what is known of the place of a job."""
    workflows = store.workflows(txn)
    stands = standing_of(workflows, seq)
    if stands is None:
        return
    join = stands.awaited
    job.workflow, job.root = stands.workflow.id, stands.workflow.root
    job.parent = b"" if note.alone else stands.parent
    job.group, job.group_index, _ = stands.group(seq)
    if join is None:
        return
    if final is None and not note.alone and join.state == JoinState.OPEN:
        job.left, job.members, job.for_failure = join.left, join.members, join.on is On.FAILURE
    elif final is not None:
        job.cause = stands.cause(note)


def children_of(store: Store, txn: Txn, seq: int) -> list[JobId]:
    """What the body of a job submitted, then those that it alone released."""
    try:
        children = unpack_trail(txn.get(U64.pack(seq), db=store.db["trails"]))
    except DamagedRecordError:
        log.error("what job number %s has submitted does not match its checksum", seq)
        children = []
    workflows = store.workflows(txn)
    run = workflows.run(seq) if store.note(txn, seq).node else None
    for member in run.nodes.members if run is not None else ():
        join = workflows.join(member.join)
        if join is not None and join.members == 1 and join.state == JoinState.RELEASED:
            seqs = (s for r in workflows.followers(member.join) for s in range(r.first, r.first + r.nodes.count))
            children += [store.node_id(txn, s) for s in seqs]
    return children
