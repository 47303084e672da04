"""Whole workflows: a page of them, and a page of the jobs of one."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct

from tqbroker_broker.records import JobId
from tqbroker_broker.storage.lmdb.keys import U64, first_number
from tqbroker_broker.storage.lmdb.reading import look
from tqbroker_broker.storage.lmdb.store import Store
from tqbroker_broker.storage.lmdb.txn import Txn
from tqbroker_broker.storage.lmdb.workflow_reader import WorkflowReader
from tqbroker_broker.storage.lmdb.workflow_rows import GATE, JoinKey, JoinState, WorkflowRow
from tqbroker_broker.workflow_decisions import workflow_state
from tqbroker_broker.workflows import JoinInfo, NewJoin, Node, NodePage, WorkflowInfo, WorkflowPage, WorkflowState

PLACE = Struct(">II")
"""The part of a job, and its index there: every eight bytes are one, so that no cursor can be out of range."""

LOOKS = 2000
"""Rows a page looks at: the loop stands still for some 10 ms at most."""


def workflows(store: Store, states: frozenset[WorkflowState], cursor: bytes, limit: int) -> WorkflowPage:
    """A page of the workflows in these states, the oldest first. Raises ValueError."""
    _check(cursor, U64.size)
    txn = store.read()
    try:
        found: list[WorkflowInfo] = []
        workflows, looks = store.workflows(txn), 0
        walk = txn.cursor(store.db["workflows"])
        more = walk.set_range(cursor or bytes(U64.size))
        while more:
            if len(found) >= limit or looks >= LOOKS:
                return WorkflowPage(found, walk.key())
            workflow = workflows.workflow(first_number(walk.key()))
            info = _info(store, txn, workflow) if workflow is not None and not workflow.into else None
            if info is not None and (not states or info.state in states):
                found.append(info)
            looks += 1
            more = walk.next()
        return WorkflowPage(found, b"")
    finally:
        store.done_reading()


def nodes(store: Store, workflow_id: bytes, cursor: bytes, limit: int) -> NodePage | None:
    """A page of the jobs of a workflow, with the joins that they name. Raises ValueError."""
    _check(cursor, PLACE.size)
    txn = store.read()
    try:
        row = txn.get(workflow_id, db=store.db["workflow_ids"])
        workflows = store.workflows(txn)
        workflow = workflows.workflow(first_number(row)) if row is not None else None
        if row is None or workflow is None or workflow.into:
            return None
        return _Page(store, txn, workflows).fill(first_number(row), workflow, cursor, limit)
    finally:
        store.done_reading()


class _Page:
    """A page of nodes as it grows. The cursor is a PLACE at which to go on."""

    def __init__(self, store: Store, txn: Txn, workflows: WorkflowReader) -> None:
        self._store = store
        self._txn = txn
        self._workflows = workflows
        self._joins: set[JoinKey] = set()

    def fill(self, number: int, workflow: WorkflowRow, cursor: bytes, limit: int) -> NodePage:
        found: list[Node] = []
        rest = b""
        for looks, (place, seq) in enumerate(self._places(number, cursor)):
            if len(found) >= limit or looks >= LOOKS:
                rest = place
                break
            node = self._node(seq)
            if node is not None:
                found.append(node)
        info = _info(self._store, self._txn, workflow)
        return NodePage(info, found, sorted(self._infos(), key=lambda each: each.join.number), rest)

    def _places(self, number: int, cursor: bytes) -> Iterator[tuple[bytes, int]]:
        """The seqs of the jobs, each with the cursor that leads to it."""
        part, index = PLACE.unpack(cursor) if cursor else (0, 0)
        for at, first, count in self._workflows.parts(number, part):
            for i in range(index if at == part else 0, count):
                yield PLACE.pack(at, i), first + i

    def _node(self, seq: int) -> Node | None:
        """A job with its place; None of what is only to take the place of another."""
        store, txn, workflows = self._store, self._txn, self._workflows
        job_id, run = store.node_id(txn, seq), workflows.run(seq)
        if not job_id or run is None:
            return None
        job, nodes = look(store, txn, job_id), run.nodes
        keys = [member.join for member in nodes.members]
        self._joins.update(keys)
        after = 0
        if nodes.after[1] != GATE:
            self._joins.add(nodes.after)
            after = self._number(nodes.after)
        return Node(job, after, nodes.silent, tuple(map(self._number, keys)))

    def _number(self, key: JoinKey) -> int:
        """The number of a join in the whole workflow."""
        workflow = self._workflows.workflow(key[0])
        return key[1] + (workflow.shift if workflow is not None else 0)

    def _infos(self) -> Iterator[JoinInfo]:
        for key in self._joins:
            join = self._workflows.join(key)
            if join is not None:
                new = NewJoin(self._number(key), join.on, join.shape, join.id)
                yield JoinInfo(new, join.members, join.left, join.state == JoinState.RELEASED, join.cause)


def _info(store: Store, txn: Txn, workflow: WorkflowRow) -> WorkflowInfo:
    tally = workflow.tally
    finished_ms = workflow.finished_ms if workflow.live and not workflow.left else 0
    first_failed: JobId = b""
    if workflow.first_failed:
        first_failed = store.node_id(txn, workflow.first_failed)
    state = workflow_state(tally, live=workflow.live)
    return WorkflowInfo(workflow.id, workflow.name, state, workflow.submitted_ms, finished_ms, tally, first_failed)


def _check(cursor: bytes, size: int) -> None:
    if len(cursor) not in (0, size):
        raise ValueError(f"{len(cursor)} bytes")
