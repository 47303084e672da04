"""What a broker says of workflows, from the wire to values. No I/O."""

from __future__ import annotations

from typing import Literal

from tqbroker.call import Join
from tqbroker.messages import job_info
from tqbroker.v1 import workflow_pb2 as pb
from tqbroker.workflow_info import JoinState, Node, WorkflowInfo, WorkflowState


def workflow_info(info: pb.WorkflowInfo) -> WorkflowInfo:
    """A workflow with its progress."""
    return WorkflowInfo(
        id=info.id,
        name=info.name,
        state=WorkflowState(info.state),
        submitted_ms=info.submitted_unix_ms,
        finished_ms=info.finished_unix_ms,
        total=info.total,
        left=info.left,
        succeeded=info.succeeded,
        failed=info.failed,
        cancelled=info.cancelled,
        unneeded=info.unneeded,
        first_failed=info.first_failed,
    )


def join_state(info: pb.JoinInfo) -> JoinState:
    """A join as it stands."""
    join = info.join
    on: Literal["success", "failure"] = "failure" if join.on == pb.JOIN_ON_FAILURE else "success"
    shape: Literal["value", "list"] = "list" if join.shape == pb.JOIN_SHAPE_LIST else "value"
    return JoinState(Join(join.number, on, shape, join.id), info.members, info.left, info.released, info.cause)


def node(info: pb.NodeInfo) -> Node:
    """A job of a workflow."""
    return Node(job_info(info.job), info.after, info.silent, tuple(info.member_of))
