"""Places of jobs in workflows: runs of jobs that share theirs, what they wait for, and what they are members of."""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache

from tqbroker_broker.storage.lmdb.keys import U64, first_number
from tqbroker_broker.storage.lmdb.table_rows import UNREADABLE, read_span
from tqbroker_broker.storage.lmdb.verifying.look import Look
from tqbroker_broker.storage.lmdb.verifying.workflows import is_dropping
from tqbroker_broker.storage.lmdb.workflow_rows import (
    CHUNK,
    CHUNK_MEMBERS,
    FOLLOWERS,
    GATE,
    JOIN,
    Member,
    Nodes,
    WorkflowRow,
)


def check_nodes(look: Look) -> None:
    """All runs, and the ids of jobs that were dropped before their workflow."""
    nodes = Places(look)
    for packed, first, run in look.rows("nodes"):
        nodes.check(packed, first, run.nodes)
    for _, seq, _ in look.rows("forgotten"):
        if not nodes.has(seq) and "nodes" not in look.damaged:
            look.fault(f"forgotten: row {seq} is of no job of a workflow")


class Places:
    """The walk over the runs, in the order of seqs."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._end = 0
        self._spans = lru_cache(16)(self._read_spans)

    def check(self, packed: bytes, first: int, nodes: Nodes) -> None:
        """One run."""
        look, what = self._look, f"the place of jobs {first} to {first + nodes.count - 1}"
        if first < self._end or first + nodes.count > look.next_seq or nodes.count < 1:
            look.fault(f"{what} overlaps with another one, or is of jobs that there are not")
            return
        self._end = first + nodes.count
        workflow: WorkflowRow | None = look.get("workflows", U64.pack(nodes.workflow))
        if workflow is None and not look.has("workflows", U64.pack(nodes.workflow)):
            look.fault(f"{what} is in workflow number {nodes.workflow}, which is not there")
        if workflow is None or is_dropping(look, workflow):
            return
        self._check_jobs(what, first, nodes, workflow)
        self._check_span(what, first, nodes)
        if not look.has("followers", FOLLOWERS.pack(*nodes.after, first)):
            look.fault(f"{what} is not listed at what it waits for: it would never go on")
        if nodes.after[1] != GATE and not look.has("joins", JOIN.pack(*nodes.after)):
            look.fault(
                f"{what} waits for join {nodes.after[1]} of workflow number {nodes.after[0]}, which is not there"
            )
        for member in nodes.members:
            self._check_member(what, first, nodes, member)

    def _check_jobs(self, what: str, first: int, nodes: Nodes, workflow: WorkflowRow) -> None:
        """Each of them is there, was dropped before the others, or stands for what takes over."""
        end = first + nodes.count
        found = int(first <= workflow.taker < end)
        for name in ("jobs", "forgotten"):
            found += sum(1 for _ in self._look.snapshot.between(name, first, end))
        if found != nodes.count:
            self._look.fault(f"{what}: {nodes.count - found} of the jobs are not there")

    def _read_spans(self, number: int) -> list[tuple[int, int]]:
        """Where the jobs of a workflow are, in order: seqs of the first and behind the last."""
        spans, prefix = [], U64.pack(number)
        for packed, raw in self._look.snapshot.raw("parts", prefix):
            if not packed.startswith(prefix):
                break
            try:
                span = read_span(packed, raw)
            except UNREADABLE:
                continue
            spans.append((span.first, span.first + span.jobs))
        return sorted(spans)

    def _check_span(self, what: str, first: int, nodes: Nodes) -> None:
        spans = self._spans(nodes.workflow)
        at = bisect_right(spans, (first, 1 << 64)) - 1
        if at < 0 or not spans[at][0] <= first < first + nodes.count <= spans[at][1]:
            self._look.fault(f"{what} is in no part of workflow number {nodes.workflow}: it would never be dropped")

    def _check_member(self, what: str, first: int, nodes: Nodes, member: Member) -> None:
        """The list of members has them where they say that they are."""
        for seq in (first, first + nodes.count - 1):
            chunk, at = divmod(member.index + seq - first, CHUNK_MEMBERS)
            row = self._look.snapshot.get("members", CHUNK.pack(*member.join, chunk)) or b""
            if row[at * U64.size : (at + 1) * U64.size] != U64.pack(seq):
                self._look.fault(f"{what}: join {member.join[1]} does not have job number {seq} as its member")

    def has(self, seq: int) -> bool:
        """Whether a job has a place."""
        cursor = self._look.snapshot.cursor("nodes")
        if cursor is None or not (cursor.set_range(U64.pack(seq)) or cursor.last()):
            return False
        if first_number(cursor.key()) > seq and not cursor.prev():
            return False
        run = self._look.get("nodes", cursor.key())
        return run is not None and seq < first_number(cursor.key()) + run.nodes.count
