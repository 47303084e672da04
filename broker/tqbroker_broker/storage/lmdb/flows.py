"""What one transaction knows of workflows: rows that are read once, changed here, and written once.

Five hundred members that end in one commit cost one write of their join.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from tqbroker_broker.records import JobId, State
from tqbroker_broker.storage.lmdb.flowrows import (
    CHUNK,
    CHUNK_MEMBERS,
    FOLLOWERS,
    JOIN,
    PART,
    SPAN,
    Counted,
    Flow,
    Join,
    JoinKey,
    JoinState,
    Member,
    Nodes,
    pack,
    unpack_flow,
    unpack_join,
    unpack_nodes,
)
from tqbroker_broker.storage.lmdb.keys import U64, first_number
from tqbroker_broker.storage.lmdb.rows import DamagedRecordError
from tqbroker_broker.storage.lmdb.txn import Txn

if TYPE_CHECKING:
    from tqbroker_broker.storage.lmdb.store import Store

log = logging.getLogger("tqbroker.storage")


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


class Run(NamedTuple):
    """Jobs in a row that share their place; `first` is the seq of the first."""

    first: int
    nodes: Nodes


class Flows:
    """The workflows, joins and places that a transaction has looked at. `ended` is worked off by whoever writes."""

    def __init__(self, store: Store, txn: Txn) -> None:
        self._db = store.db
        self._txn = txn
        self._flows: dict[int, Flow | None] = {}
        self._joins: dict[JoinKey, Join | None] = {}
        self._counted: dict[bytes, bytearray] = {}
        self._changed_flows: set[int] = set()
        self._changed_joins: set[JoinKey] = set()
        self._changed_counted: set[bytes] = set()
        self._run: Run | None = None
        self.ended: deque[Ended] = deque()

    # -- looking -------------------------------------------------------------------------------------------------------

    def flow(self, number: int) -> Flow | None:
        """A workflow; None when there is none under this number, or it cannot be read."""
        if number not in self._flows:
            row = self._txn.get(U64.pack(number), db=self._db["flows"])
            try:
                self._flows[number] = unpack_flow(row) if row is not None else None
            except DamagedRecordError:
                log.error("workflow number %s does not match its checksum", number)
                self._flows[number] = None
        return self._flows[number]

    def top(self, number: int) -> tuple[int, Flow] | None:
        """The workflow that this one is, or has become a part of."""
        flow = self.flow(number)
        if flow is not None and flow.into:
            number = flow.into
            flow = self.flow(number)
        return (number, flow) if flow is not None else None

    def join(self, key: JoinKey) -> Join | None:
        """A join; None when there is none, or it cannot be read."""
        if key not in self._joins:
            row = self._txn.get(JOIN.pack(*key), db=self._db["joins"])
            try:
                self._joins[key] = unpack_join(row) if row is not None else None
            except DamagedRecordError:
                log.error("join %s of workflow number %s does not match its checksum", key[1], key[0])
                self._joins[key] = None
        return self._joins[key]

    def run(self, seq: int) -> Run | None:
        """The run of jobs that this one is in; None of a job without workflow."""
        run = self._run
        if run is None or not run.first <= seq < run.first + run.nodes.count:
            run = self._find_run(seq)
            if run is not None:
                self._run = run
        return run

    def _find_run(self, seq: int) -> Run | None:
        cursor, key = self._txn.cursor(self._db["nodes"]), U64.pack(seq)
        if cursor.set_range(key):
            if cursor.key() != key and not cursor.prev():
                return None
        elif not cursor.last():
            return None
        first = first_number(cursor.key())
        try:
            nodes = unpack_nodes(cursor.value())
        except DamagedRecordError:
            log.error("the place of job number %s does not match its checksum", seq)
            return None
        return Run(first, nodes) if first <= seq < first + nodes.count else None

    def followers(self, key: JoinKey) -> Iterator[Run]:
        """The runs of jobs that follow a join. What is changed meanwhile may come or not."""
        prefix = JOIN.pack(*key)
        cursor = self._txn.cursor(self._db["followers"])
        found = cursor.set_range(prefix)
        firsts: list[int] = []
        while found and cursor.key().startswith(prefix):
            firsts.append(FOLLOWERS.unpack(cursor.key())[2])
            found = cursor.next()
        for first in firsts:
            run = self.run(first)
            if run is not None:
                yield run

    def spans(self, number: int) -> Iterator[tuple[int, int]]:
        """Where the jobs of a workflow are: seqs of the first, and how many follow each other."""
        return ((first, count) for _, first, count in self.parts(number, 0))

    def parts(self, number: int, part: int) -> Iterator[tuple[int, int, int]]:
        """The parts of a workflow from one on: the number in the key, the seq of the first job, how many there are."""
        prefix = U64.pack(number)
        cursor = self._txn.cursor(self._db["parts"])
        found = cursor.set_range(PART.pack(number, part))
        while found and cursor.key().startswith(prefix):
            first, count, _ = SPAN.unpack_from(cursor.value())
            yield PART.unpack(cursor.key())[1], first, count
            found = cursor.next()

    def waits(self, seq: int) -> bool:
        """Whether a job of a workflow that has not ended waits for others."""
        run = self.run(seq)
        top = self.top(run.nodes.flow) if run is not None else None
        if run is None or top is None:
            return False
        if not self._is_live(run.nodes.flow):
            return True
        join = self.join(run.nodes.after)
        return join is not None and join.state == JoinState.OPEN

    def is_staged(self, seq: int) -> bool:
        """Whether a job belongs to a workflow that is not live yet: nothing ends it before."""
        run = self.run(seq)
        return run is not None and not self._is_live(run.nodes.flow)

    def is_over(self, seq: int) -> bool:
        """Whether all jobs of a workflow have ended, or it is not known any more."""
        run = self.run(seq)
        top = self.top(run.nodes.flow) if run is not None else None
        return top is None or (top[1].live and not top[1].left)

    def _is_live(self, number: int) -> bool:
        """Whether what was sent for a workflow may run: all of it is there, and nothing holds it."""
        flow = self.flow(number)
        return flow is not None and flow.live

    def counted(self, key: JoinKey, index: int) -> Counted:
        """What the end of a member was for a join."""
        states = self._chunk(key, index)
        at = index % CHUNK_MEMBERS
        return Counted(states[at]) if at < len(states) else Counted.NOT

    def members(self, key: JoinKey, first: int) -> Iterator[list[int]]:
        """The seqs of the members of a join from an index on, some at a time."""
        chunk, at = divmod(first, CHUNK_MEMBERS)
        while (row := self._txn.get(CHUNK.pack(*key, chunk), db=self._db["members"])) is not None:
            yield [first_number(row[i : i + U64.size]) for i in range(at * U64.size, len(row), U64.size)]
            chunk, at = chunk + 1, 0

    # -- changing ------------------------------------------------------------------------------------------------------

    def put_flow(self, number: int, flow: Flow) -> None:
        """A workflow is new or has changed."""
        self._flows[number] = flow
        self._changed_flows.add(number)

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

    def _chunk(self, key: JoinKey, index: int) -> bytearray:
        row = CHUNK.pack(*key, index // CHUNK_MEMBERS)
        states = self._counted.get(row)
        if states is None:
            states = self._counted[row] = bytearray(self._txn.get(row, db=self._db["counted"]) or b"")
        return states

    def forget(self, number: int) -> None:
        """The rows of a workflow are gone."""
        self._flows.pop(number, None)
        self._joins = {key: join for key, join in self._joins.items() if key[0] != number}
        self._changed_flows.discard(number)
        self._changed_joins.intersection_update(self._joins)
        self._changed_counted = {row for row in self._changed_counted if first_number(row) != number}
        self._run = None

    def settled(self) -> list[tuple[int, Flow]]:
        """The workflows that have changed and of which nothing is left to run: they are to be dropped one day."""
        flows = [(number, self._flows[number]) for number in self._changed_flows]
        return [(n, f) for n, f in flows if f is not None and f.live and not (f.left or f.into or f.dropping)]

    def write(self) -> None:
        """Writes what has changed: the last thing before the commit."""
        assert not self.ended, "every end of a job of a workflow is followed by what follows it"
        txn, db = self._txn, self._db
        for number in self._changed_flows:
            flow = self._flows[number]
            if flow is not None:
                txn.put(U64.pack(number), pack(flow), db=db["flows"])
        for key in self._changed_joins:
            join = self._joins[key]
            if join is not None:
                txn.put(JOIN.pack(*key), pack(join), db=db["joins"])
        for row in self._changed_counted:
            txn.put(row, bytes(self._counted[row]), db=db["counted"])
