"""What a transaction changes of workflows: each row is written once, whatever happened to it meanwhile.

Five hundred members that end in one commit cost one write of their join.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from tqbroker_broker.records import JobId, State
from tqbroker_broker.storage.lmdb.keys import U64, first_number
from tqbroker_broker.storage.lmdb.txn import Txn
from tqbroker_broker.storage.lmdb.workflow_reader import Run, WorkflowReader
from tqbroker_broker.storage.lmdb.workflow_rows import (
    CHUNK,
    CHUNK_MEMBERS,
    FOLLOWERS,
    JOIN,
    Join,
    JoinKey,
    Member,
    Nodes,
    WorkflowRow,
    pack,
)

if TYPE_CHECKING:
    from tqbroker_broker.storage.lmdb.store import Store


class Ended(NamedTuple):
    """How a job of a workflow ended. `size`: bytes of its result; `spared`: it was not needed; `id`: if known.

    `failure` is as it stands in its row of `final`.
    """

    seq: int
    state: State
    keep_ms: int
    size: int = 0
    id: JobId = b""
    spared: bool = False
    failure: bytes = b""


class WorkflowWriter(WorkflowReader):
    """What a transaction that writes knows of workflows. `ended` is worked off by whoever writes."""

    def __init__(self, store: Store, txn: Txn) -> None:
        super().__init__(store, txn)
        self._changed_workflows: set[int] = set()
        self._changed_joins: set[JoinKey] = set()
        self._changed_counted: set[bytes] = set()
        self.ended: deque[Ended] = deque()

    def put_workflow(self, number: int, workflow: WorkflowRow) -> None:
        """A workflow is new or has changed."""
        self._workflows[number] = workflow
        self._changed_workflows.add(number)

    def put_join(self, key: JoinKey, join: Join) -> None:
        """A join is new or has changed."""
        self._joins[key] = join
        self._changed_joins.add(key)

    def put_run(self, first: int, nodes: Nodes) -> None:
        """Jobs in a row have got a place, or another one."""
        self._txn.put(U64.pack(first), pack(nodes), db=self._db["nodes"])
        self._txn.put(FOLLOWERS.pack(*nodes.after, first), b"", db=self._db["followers"])
        self._run = None

    def remove_run(self, run: Run) -> None:
        """These jobs have no place any more, or get another one."""
        self._txn.delete(U64.pack(run.first), db=self._db["nodes"])
        self._txn.delete(FOLLOWERS.pack(*run.nodes.after, run.first), db=self._db["followers"])
        self._run = None

    def single(self, run: Run, seq: int) -> Run:
        """Cuts a run, so that this job has one of its own."""
        if run.nodes.count == 1:
            return run
        ends = (run.first, seq, seq + 1, run.first + run.nodes.count)
        for first, end in pairwise(ends):
            if first < end:
                members = tuple(Member(m.join, m.index + first - run.first) for m in run.nodes.members)
                self.put_run(first, replace(run.nodes, count=end - first, members=members))
        single = self.run(seq)
        assert single is not None, "it was written just now"
        return single

    def drop_place(self, seq: int) -> None:
        """A job that is the last one of its run goes: the others have gone before."""
        self._txn.delete(U64.pack(seq), db=self._db["nodes"])
        self._run = None

    def put_member(self, member: Member, seq: int) -> None:
        """Another job stands at this index."""
        chunk, at = divmod(member.index, CHUNK_MEMBERS)
        row = CHUNK.pack(*member.join, chunk)
        packed = bytearray(self._txn.get(row, db=self._db["members"]) or b"")
        U64.pack_into(packed, at * U64.size, seq)
        self._txn.put(row, bytes(packed), db=self._db["members"])

    def add_members(self, key: JoinKey, join: Join, seqs: range) -> int:
        """Adds members to a join; returns the index of the first."""
        first = at = join.members
        packed = b"".join(map(U64.pack, seqs))
        db = self._db["members"]
        while packed:
            chunk, full = divmod(at, CHUNK_MEMBERS)
            row = CHUNK.pack(*key, chunk)
            room = (CHUNK_MEMBERS - full) * U64.size
            before = self._txn.get(row, db=db) or b"" if full else b""
            self._txn.put(row, before + packed[:room], db=db)
            at += len(packed[:room]) // U64.size
            packed = packed[room:]
        join.members += len(seqs)
        join.left += len(seqs)
        self.put_join(key, join)
        return first

    def change_counted(self, key: JoinKey, index: int) -> bytearray:
        """What the ends of members were for a join: those that have a row with this one, to be changed."""
        self._changed_counted.add(CHUNK.pack(*key, index // CHUNK_MEMBERS))
        return self._chunk(key, index)

    def forget(self, number: int) -> None:
        """The rows of a workflow are gone."""
        self._workflows.pop(number, None)
        self._joins = {key: join for key, join in self._joins.items() if key[0] != number}
        self._changed_workflows.discard(number)
        self._changed_joins.intersection_update(self._joins)
        self._changed_counted = {row for row in self._changed_counted if first_number(row) != number}
        self._run = None

    def settled(self) -> list[tuple[int, WorkflowRow]]:
        """The workflows that have changed and of which nothing is left to run: they are to be dropped one day."""
        workflows = [(number, self._workflows[number]) for number in self._changed_workflows]
        return [(n, f) for n, f in workflows if f is not None and f.live and not (f.left or f.into or f.dropping)]

    def write(self) -> None:
        """Writes what has changed: the last thing before the commit."""
        assert not self.ended, "every end of a job of a workflow is followed by what follows it"
        txn, db = self._txn, self._db
        for number in self._changed_workflows:
            workflow = self._workflows[number]
            if workflow is not None:
                txn.put(U64.pack(number), pack(workflow), db=db["workflows"])
        for key in self._changed_joins:
            join = self._joins[key]
            if join is not None:
                txn.put(JOIN.pack(*key), pack(join), db=db["joins"])
        for row in self._changed_counted:
            txn.put(row, bytes(self._counted[row]), db=db["counted"])
