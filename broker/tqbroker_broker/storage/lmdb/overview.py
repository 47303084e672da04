"""Whole workflows: a page of them, and a page of the jobs of one."""

from __future__ import annotations

from collections.abc import Iterator

from tqbroker_broker.records import JobId
from tqbroker_broker.storage.lmdb.flowrows import GATE, Flow, JoinKey, JoinState
from tqbroker_broker.storage.lmdb.flows import Flows
from tqbroker_broker.storage.lmdb.keys import PAIR, U64, first_number
from tqbroker_broker.storage.lmdb.reading import look
from tqbroker_broker.storage.lmdb.store import Store
from tqbroker_broker.storage.lmdb.txn import Txn
from tqbroker_broker.workflows import (
    JoinInfo,
    NewJoin,
    Node,
    NodePage,
    WorkflowInfo,
    WorkflowPage,
    WorkflowState,
    workflow_state,
)

PLACE = PAIR
"""The part of a job, and its index there."""

LOOKS = 2000
"""Rows a page looks at: the loop stands still for some 10 ms at most."""


def workflows(store: Store, states: frozenset[WorkflowState], cursor: bytes, limit: int) -> WorkflowPage:
    """A page of the workflows in these states, the oldest first. Raises ValueError."""
    _check(cursor, U64.size)
    txn = store.read()
    try:
        found: list[WorkflowInfo] = []
        flows, looks = store.flows(txn), 0
        walk = txn.cursor(store.db["flows"])
        more = walk.set_range(cursor or bytes(U64.size))
        while more:
            if len(found) >= limit or looks >= LOOKS:
                return WorkflowPage(found, walk.key())
            flow = flows.flow(first_number(walk.key()))
            info = _info(store, txn, flow) if flow is not None and not flow.into else None
            if info is not None and (not states or info.state in states):
                found.append(info)
            looks += 1
            more = walk.next()
        return WorkflowPage(found, b"")
    finally:
        store.done_reading()


def nodes(store: Store, workflow: bytes, cursor: bytes, limit: int) -> NodePage | None:
    """A page of the jobs of a workflow, with the joins that they name. Raises ValueError."""
    _check(cursor, PLACE.size)
    txn = store.read()
    try:
        row = txn.get(workflow, db=store.db["flow_ids"])
        flows = store.flows(txn)
        flow = flows.flow(first_number(row)) if row is not None else None
        if row is None or flow is None or flow.into:
            return None
        return _Page(store, txn, flows).fill(first_number(row), flow, cursor, limit)
    finally:
        store.done_reading()


class _Page:
    """A page of nodes as it grows. The cursor is a PLACE at which to go on."""

    def __init__(self, store: Store, txn: Txn, flows: Flows) -> None:
        self._store = store
        self._txn = txn
        self._flows = flows
        self._joins: set[JoinKey] = set()

    def fill(self, number: int, flow: Flow, cursor: bytes, limit: int) -> NodePage:
        found: list[Node] = []
        rest = b""
        for looks, (place, seq) in enumerate(self._places(number, cursor)):
            if len(found) >= limit or looks >= LOOKS:
                rest = place
                break
            node = self._node(seq)
            if node is not None:
                found.append(node)
        info = _info(self._store, self._txn, flow)
        return NodePage(info, found, sorted(self._infos(), key=lambda each: each.join.number), rest)

    def _places(self, number: int, cursor: bytes) -> Iterator[tuple[bytes, int]]:
        """The seqs of the jobs, each with the cursor that leads to it."""
        part, index = PLACE.unpack(cursor) if cursor else (0, 0)
        for at, first, count in self._flows.parts(number, part):
            for i in range(index if at == part else 0, count):
                yield PLACE.pack(at, i), first + i

    def _node(self, seq: int) -> Node | None:
        """A job with its place; None of what is only to take the place of another."""
        store, txn, flows = self._store, self._txn, self._flows
        job_id, run = store.node_id(txn, seq), flows.run(seq)
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
        flow = self._flows.flow(key[0])
        return key[1] + (flow.shift if flow is not None else 0)

    def _infos(self) -> Iterator[JoinInfo]:
        for key in self._joins:
            join = self._flows.join(key)
            if join is not None:
                new = NewJoin(self._number(key), join.on, join.shape, join.id)
                yield JoinInfo(new, join.members, join.left, join.state == JoinState.RELEASED, join.cause)


def _info(store: Store, txn: Txn, flow: Flow) -> WorkflowInfo:
    tally = flow.tally
    finished_ms = flow.finished_ms if flow.live and not flow.left else 0
    first_failed: JobId = b""
    if flow.first_failed:
        first_failed = store.node_id(txn, flow.first_failed)
    state = workflow_state(tally, live=flow.live)
    return WorkflowInfo(flow.id, flow.name, state, flow.submitted_ms, finished_ms, tally, first_failed)


def _check(cursor: bytes, size: int) -> None:
    if len(cursor) not in (0, size):
        raise ValueError(f"{len(cursor)} bytes")
