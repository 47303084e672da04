"""What the end of a job counts for: its workflow, and the joins that it is a member of."""

from __future__ import annotations

from typing import NamedTuple

from tqbroker_broker.records import State
from tqbroker_broker.storage.lmdb.workflow_reader import Run
from tqbroker_broker.storage.lmdb.workflow_rows import (
    CHUNK_MEMBERS,
    Counted,
    Join,
    JoinKey,
    JoinState,
    Member,
    WorkflowRow,
)
from tqbroker_broker.storage.lmdb.workflow_writer import Ended, WorkflowWriter
from tqbroker_broker.workflow_decisions import Turn, counts, turn


class Decided(NamedTuple):
    """What the end of a member does to the followers of a join."""

    turn: Turn
    key: JoinKey
    join: Join


class Ends:
    """The ends of members of one join that are in a row. `first` would be the index of the job with seq 0."""

    __slots__ = ("chunk", "first", "join", "key", "states")

    def __init__(self, member: Member, join: Join, run: Run) -> None:
        self.key = member.join
        self.join = join
        self.first = member.index - run.first
        self.chunk = -1
        self.states = bytearray()


class Counting:
    """Counts ends, one after the other. What jobs in a row have in common is looked up once."""

    def __init__(self, workflows: WorkflowWriter) -> None:
        self._workflows = workflows
        self._run: Run | None = None
        self._workflow: WorkflowRow | None = None
        self._ends: list[Ends] = []

    def count(self, end: Ended, now_ms: int) -> list[Decided]:
        """Counts the end of a job; returns the joins that it decides."""
        run = self._run
        if run is None or not run.first <= end.seq < run.first + run.nodes.count:
            self._begin(end.seq)
        if self._workflow is not None:
            _tally(self._workflow, end, now_ms)
        decided = []
        for ends in self._ends:
            what = self._turn(ends, end)
            if what is not Turn.NOTHING:
                decided.append(Decided(what, ends.key, ends.join))
        return decided

    def _begin(self, seq: int) -> None:
        """The ends of another run of jobs begin."""
        workflows = self._workflows
        run = self._run = workflows.run(seq)
        self._workflow, self._ends = None, []
        top = workflows.top(run.nodes.workflow) if run is not None else None
        if run is None:
            return
        if top is not None:
            self._workflow = top[1]
            workflows.put_workflow(*top)
        for member in run.nodes.members:
            join = workflows.join(member.join)
            if join is not None:
                workflows.put_join(member.join, join)
                self._ends.append(Ends(member, join, run))

    def _turn(self, ends: Ends, end: Ended) -> Turn:
        index, join = ends.first + end.seq, ends.join
        chunk, at = divmod(index, CHUNK_MEMBERS)
        if chunk != ends.chunk:
            ends.chunk, ends.states = chunk, self._workflows.change_counted(ends.key, index)
        states = ends.states
        if at >= len(states):
            states.extend(bytes(at + 1 - len(states)))
        elif states[at]:
            return Turn.NOTHING
        if counts(join.on, end.state):
            states[at] = Counted.TOWARDS
            join.left -= 1
            join.size += end.size
        else:
            states[at] = Counted.AGAINST
            join.against += 1
        return (
            turn(join.on, end.state, join.left, unneeded=end.spared) if join.state == JoinState.OPEN else Turn.NOTHING
        )


def _tally(workflow: WorkflowRow, end: Ended, now_ms: int) -> None:
    workflow.left -= 1
    if end.keep_ms > workflow.keep_ms:
        workflow.keep_ms = end.keep_ms
    workflow.finished_ms = now_ms
    if end.state is State.SUCCEEDED:
        workflow.succeeded += 1
    elif end.spared:
        workflow.unneeded += 1
    elif end.state is State.CANCELLED:
        workflow.cancelled += 1
    else:
        workflow.failed += 1
        workflow.first_failed = workflow.first_failed or end.seq
