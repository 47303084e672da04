"""Whole workflows and groups: the verbs `workflows`, `nodes`, `drop_workflow`, and those of groups."""

from __future__ import annotations

from collections.abc import Sequence
from struct import pack

from tqbroker_broker.config import StorageConfig
from tqbroker_broker.questions import Effect
from tqbroker_broker.records import JobId, Time
from tqbroker_broker.storage.memory.reading import Reading
from tqbroker_broker.storage.memory.store import MemoryStore, SavedGroup
from tqbroker_broker.storage.memory.workflows import STAGED, TAKER, Join, Phase, Seat, Workflow
from tqbroker_broker.workflow_decisions import Turn, workflow_state
from tqbroker_broker.workflows import JoinInfo, Members, Node, NodePage, WorkflowInfo, WorkflowPage, WorkflowState


class Overview:
    """Looks at workflows as wholes."""

    def __init__(self, store: MemoryStore, reading: Reading, config: StorageConfig) -> None:
        self._store = store
        self._reading = reading
        self._result_ttl_ms = int(config.result_ttl * 1000)

    def workflows(self, states: frozenset[WorkflowState], cursor: bytes, limit: int) -> WorkflowPage:
        """The next workflows in these states; the cursor is the place of the first one that was not looked at."""
        first = _place(cursor)
        found: list[WorkflowInfo] = []
        for workflow in sorted(self._store.workflows.values(), key=lambda each: each.seq):
            info = _info(workflow)
            if workflow.seq < first or (states and info.state not in states):
                continue
            if len(found) >= limit:
                return WorkflowPage(found, pack(">Q", workflow.seq))
            found.append(info)
        return WorkflowPage(found, b"")

    def nodes(self, workflow: bytes, cursor: bytes, limit: int) -> NodePage | None:
        """The next nodes; the cursor is the index of the first one that was not looked at."""
        first = _place(cursor)
        known = self._store.workflows.get(workflow)
        if known is None:
            return None
        ids = [job for job in known.nodes if job != TAKER]
        nodes = [self._node(job, known.seats[job]) for job in ids[first : first + limit]]
        named = {number for node in nodes for number in (node.after, *node.member_of) if number}
        joins = [_join_info(join) for join in known.joins_of(sorted(named))]
        end = first + limit
        return NodePage(_info(known), nodes, joins, pack(">Q", end) if end < len(ids) else b"")

    def _node(self, job: JobId, seat: Seat) -> Node:
        return Node(self._reading.get(job), seat.after, seat.silent, tuple(seat.member_of))

    def drop_workflow(self, workflow: bytes) -> Effect:
        """Marks a workflow to be dropped, if all of its jobs have ended."""
        known = self._store.workflows.get(workflow)
        if known is None:
            return Effect.UNKNOWN
        if not known.is_over:
            return Effect.WRONG_STATE
        known.phase = Phase.DROPPING
        return Effect.DONE

    def group(self, group: bytes, first: int, limit: int) -> Members | None:
        """Some members of a group; what was saved under this id goes before what a workflow has."""
        saved = self._store.saved.get(group)
        at = self._store.groups.get(group)
        if saved is None and at is None:
            return None
        ids = list(saved.ids) if saved else self._store.workflows[at[0]].joins[at[1]].members if at else []
        return Members(ids[first : first + limit], len(ids))

    def save_group(self, group: bytes, ids: Sequence[JobId], now: Time) -> None:
        """Remembers a list of jobs."""
        self._store.saved[group] = SavedGroup(tuple(ids), now.wall_ms + self._result_ttl_ms)

    def delete_group(self, group: bytes) -> bool:
        """Forgets it."""
        return self._store.saved.pop(group, None) is not None


def _info(workflow: Workflow) -> WorkflowInfo:
    tally = workflow.tally
    is_live = workflow.phase not in STAGED and workflow.phase is not Phase.GIVEN_UP
    return WorkflowInfo(
        workflow.id,
        workflow.name,
        workflow_state(tally, live=is_live),
        workflow.submitted_ms,
        workflow.finished_ms,
        tally,
        workflow.first_failed,
    )


def _join_info(join: Join) -> JoinInfo:
    return JoinInfo(join.new, len(join.members), join.left, join.turn is Turn.RELEASE, join.cause)


def _place(cursor: bytes) -> int:
    """Where to go on. Raises ValueError."""
    if len(cursor) not in (0, 8):
        raise ValueError(f"{len(cursor)} bytes")
    return int.from_bytes(cursor)
