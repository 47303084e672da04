"""Workflows on their way out: places, inputs, progress; and which of them are asked for."""

from __future__ import annotations

from collections.abc import Iterable

from tqbroker.v1 import workflow_pb2 as pb
from tqbroker_broker.attempts import Place
from tqbroker_broker.messages.ids import show
from tqbroker_broker.messages.status import write_status
from tqbroker_broker.records import JobId
from tqbroker_broker.refusals import Invalid
from tqbroker_broker.workflows import Inputs, JoinInfo, Node, WorkflowInfo, WorkflowState

_NOWHERE = pb.Place()


def write_place(place: Place | None) -> pb.Place:
    """Where a delivered job stands; an empty message for a job in no workflow."""
    if place is None:
        return _NOWHERE
    return pb.Place(
        workflow=place.workflow,
        root=_text(place.root),
        parent=_text(place.parent),
        group=place.group,
        group_index=place.group_index,
        in_chord=place.in_chord,
        inputs=None if place.inputs is None else write_inputs(place.inputs),
        cause=None if place.cause is None else write_status(place.cause, with_args=True),
    )


def write_inputs(inputs: Inputs) -> pb.Inputs:
    """What the members of a join returned."""
    return pb.Inputs(
        shape=pb.JoinShape.ValueType(int(inputs.shape)),
        values=inputs.values,
        formats=inputs.formats,
        count=inputs.total,
    )


def write_workflow(info: WorkflowInfo) -> pb.WorkflowInfo:
    """A workflow with its progress."""
    tally = info.tally
    return pb.WorkflowInfo(
        id=info.id,
        name=info.name,
        state=pb.WorkflowState.ValueType(int(info.state)),
        submitted_unix_ms=info.submitted_ms,
        finished_unix_ms=info.finished_ms,
        total=tally.total,
        left=tally.left,
        succeeded=tally.succeeded,
        failed=tally.failed,
        cancelled=tally.cancelled,
        unneeded=tally.unneeded,
        first_failed=_text(info.first_failed),
    )


def write_join(info: JoinInfo) -> pb.JoinInfo:
    """A join as it stands."""
    join = info.join
    return pb.JoinInfo(
        join=pb.Join(
            number=join.number,
            id=join.id,
            on=pb.JoinOn.ValueType(int(join.on)),
            shape=pb.JoinShape.ValueType(int(join.shape)),
        ),
        members=info.members,
        left=info.left,
        released=info.released,
        cause=_text(info.cause),
    )


def write_node(node: Node, waits_for: str) -> pb.NodeInfo:
    """A job of a workflow with its place."""
    return pb.NodeInfo(
        job=write_status(node.job, waits_for), after=node.after, silent=node.silent, member_of=node.member_of
    )


def read_states(wire: Iterable[int]) -> frozenset[WorkflowState]:
    """States of workflows. Raises Invalid."""
    try:
        return frozenset(map(WorkflowState, wire))
    except ValueError as error:
        raise Invalid(f"{error}: use {', '.join(state.name for state in WorkflowState)}") from None


def _text(job: JobId) -> str:
    return show(job) if job else ""
