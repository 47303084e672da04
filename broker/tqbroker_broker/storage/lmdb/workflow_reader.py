"""What a transaction has seen of workflows: rows that are read once, however many jobs of them it meets."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from tqbroker_broker.storage.lmdb.keys import U64, first_number
from tqbroker_broker.storage.lmdb.rows import DamagedRecordError
from tqbroker_broker.storage.lmdb.txn import Txn
from tqbroker_broker.storage.lmdb.workflow_rows import (
    CHUNK,
    CHUNK_MEMBERS,
    FOLLOWERS,
    JOIN,
    PART,
    SPAN,
    Counted,
    Join,
    JoinKey,
    JoinState,
    Nodes,
    WorkflowRow,
    unpack_join,
    unpack_nodes,
    unpack_workflow,
)

if TYPE_CHECKING:
    from tqbroker_broker.storage.lmdb.store import Store

log = logging.getLogger("tqbroker.storage")


class Run(NamedTuple):
    """Jobs in a row that share their place; `first` is the seq of the first."""

    first: int
    nodes: Nodes


class WorkflowReader:
    """The workflows, joins and places that a transaction has looked at."""

    def __init__(self, store: Store, txn: Txn) -> None:
        self._db = store.db
        self._txn = txn
        self._workflows: dict[int, WorkflowRow | None] = {}
        self._joins: dict[JoinKey, Join | None] = {}
        self._counted: dict[bytes, bytearray] = {}
        self._run: Run | None = None
        self.wrecks: set[bytes] = set()
        """Joins and places (keys of theirs) that cannot be read any more: nothing goes on by itself there."""

    def workflow(self, number: int) -> WorkflowRow | None:
        """A workflow; None when there is none under this number, or it cannot be read."""
        if number not in self._workflows:
            row = self._txn.get(U64.pack(number), db=self._db["workflows"])
            try:
                self._workflows[number] = unpack_workflow(row) if row is not None else None
            except DamagedRecordError:
                log.error("workflow number %s does not match its checksum", number)
                self._workflows[number] = None
        return self._workflows[number]

    def top(self, number: int) -> tuple[int, WorkflowRow] | None:
        """The workflow that this one is, or has become a part of."""
        workflow = self.workflow(number)
        if workflow is not None and workflow.into:
            number = workflow.into
            workflow = self.workflow(number)
        return (number, workflow) if workflow is not None else None

    def join(self, key: JoinKey) -> Join | None:
        """A join; None when there is none, or it cannot be read."""
        if key not in self._joins:
            row = self._txn.get(JOIN.pack(*key), db=self._db["joins"])
            try:
                self._joins[key] = unpack_join(row) if row is not None else None
            except DamagedRecordError:
                log.error("join %s of workflow number %s does not match its checksum", key[1], key[0])
                self._joins[key] = None
                self.wrecks.add(JOIN.pack(*key))
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
            self.wrecks.add(cursor.key())
            return None
        return Run(first, nodes) if first <= seq < first + nodes.count else None

    def followers(self, key: JoinKey) -> Iterator[Run]:
        """The runs of jobs that follow a join. What is changed meanwhile may come or not."""
        for first in self.firsts(JOIN.pack(*key)):
            run = self.run(first)
            if run is not None:
                yield run

    def firsts(self, prefix: bytes) -> list[int]:
        """The seqs with which runs of jobs begin that follow a join, or any join of a workflow."""
        cursor = self._txn.cursor(self._db["followers"])
        found = cursor.set_range(prefix)
        firsts: list[int] = []
        while found and cursor.key().startswith(prefix):
            firsts.append(FOLLOWERS.unpack(cursor.key())[2])
            found = cursor.next()
        return firsts

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
        if run is None:
            return False
        if not self._is_live(run.nodes.workflow):
            return True
        join = self.join(run.nodes.after)
        return join is not None and join.state == JoinState.OPEN

    def is_staged(self, seq: int) -> bool:
        """Whether a job belongs to a workflow that is not live yet: nothing ends it before."""
        run = self.run(seq)
        return run is not None and not self._is_live(run.nodes.workflow)

    def is_over(self, seq: int) -> bool:
        """Whether all jobs of a workflow have ended, or it is not known any more."""
        run = self.run(seq)
        top = self.top(run.nodes.workflow) if run is not None else None
        return top is None or (top[1].live and not top[1].left)

    def _is_live(self, number: int) -> bool:
        """Whether what was sent for a workflow may run: all of it is there, and nothing holds it, for all we know."""
        workflow = self.workflow(number)
        return workflow is None or workflow.live

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

    def _chunk(self, key: JoinKey, index: int) -> bytearray:
        row = CHUNK.pack(*key, index // CHUNK_MEMBERS)
        states = self._counted.get(row)
        if states is None:
            states = self._counted[row] = bytearray(self._txn.get(row, db=self._db["counted"]) or b"")
        return states
