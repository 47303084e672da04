"""In which run of places a job stands, asked in the order of seqs."""

from __future__ import annotations

from functools import lru_cache

from tqbroker_broker.storage.lmdb.keys import U64, first_number
from tqbroker_broker.storage.lmdb.table_rows import UNREADABLE
from tqbroker_broker.storage.lmdb.tables import TABLES
from tqbroker_broker.storage.lmdb.verifying.look import Look
from tqbroker_broker.storage.lmdb.workflow_rows import JOIN, Join, JoinKey, JoinState, Nodes, WorkflowRow

KEPT = 4096
"""Joins and workflows that are remembered, as jobs in a row ask for the same ones."""


class Runs:
    """The runs of jobs of workflows, walked beside the jobs."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._rows = look.snapshot.raw("nodes")
        self._next: tuple[bytes, bytes] | None = next(self._rows, None)
        self._first = self._end = 0
        self._nodes: Nodes | None = None
        self._readable = True
        self.join = lru_cache(KEPT)(self._join)
        self.workflow = lru_cache(KEPT)(self._workflow)

    def _go_to(self, seq: int) -> None:
        """Makes the run the present one that begins last before or at a seq."""
        while self._next is not None and first_number(self._next[0]) <= seq:
            packed, raw = self._next
            self._first = first_number(packed)
            try:
                nodes: Nodes = TABLES["nodes"].row.read(packed, raw).nodes
                self._nodes, self._end, self._readable = nodes, self._first + nodes.count, True
            except UNREADABLE:
                self._nodes, self._readable = None, False
            self._next = next(self._rows, None)

    def knows(self, seq: int) -> bool:
        """Whether it can be told if a job is in a workflow."""
        self._go_to(seq)
        return self._readable

    def of(self, seq: int) -> Nodes | None:
        """The run of a job; None of one without workflow."""
        self._go_to(seq)
        return self._nodes if seq < self._end else None

    def waits(self, seq: int) -> bool:
        """Whether a job that has not ended waits for others, as the engine says it."""
        nodes = self.of(seq)
        if nodes is None:
            return False
        workflow = self.workflow(nodes.workflow)
        if workflow is not None and not workflow.live:
            return True
        join = self.join(nodes.after)
        return join is not None and join.state == JoinState.OPEN

    def _join(self, key: JoinKey) -> Join | None:
        join: Join | None = self._look.get("joins", JOIN.pack(*key))
        return join

    def _workflow(self, number: int) -> WorkflowRow | None:
        row: WorkflowRow | None = self._look.get("workflows", U64.pack(number))
        return row
