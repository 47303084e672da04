"""Workflows cut into parts, and what an answer says of a part. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tqbroker.call import Batch, Join, Nodes, Workflow
from tqbroker.exceptions import OperationalError
from tqbroker.ids import Key, text_of
from tqbroker.shipping import AMBIGUOUS, CERTAIN, LATER, Verdict, batch_message, pieces, reason_name
from tqbroker.transport import Refused
from tqbroker.v1 import errors_pb2, queue_pb2, workflow_pb2

MAX_JOBS = 5000
"""Jobs of one part: what a broker stores in one commit without holding up others."""

MAX_BYTES = 3 << 20
"""Bytes one part aims at: a broker takes 4 MiB (max_request_bytes), and a single job may have more than 1 MiB."""

MAX_BATCHES = 1000
"""Batches of one part: a broker takes 2000 (max_request_batches), and in a chain every job is a batch of its own."""

_ON = {"success": workflow_pb2.JOIN_ON_SUCCESS, "failure": workflow_pb2.JOIN_ON_FAILURE}
_SHAPE = {"value": workflow_pb2.JOIN_SHAPE_VALUE, "list": workflow_pb2.JOIN_SHAPE_LIST}


class Parcel:
    """One part on its way. `maybe`: it is the last, and was sent once without an answer, so all may be stored."""

    __slots__ = ("batches", "joins", "maybe", "part", "reason", "trouble", "workflow")

    def __init__(self, workflow: Workflow, number: int) -> None:
        self.workflow = workflow
        self.part = workflow_pb2.WorkflowPart(workflow=workflow.id, part=number, held=workflow.held)
        if number == 0:
            self.part.name = workflow.name
            if workflow.beside is not None:
                self.part.beside = text_of(workflow.beside)
                self.part.beside_token = workflow.beside_token
        self.batches: list[Batch] = []
        self.joins: list[Join] = []
        self.maybe = False
        self.reason = "UNREACHABLE"
        self.trouble = ""

    def closed(self) -> Parcel:
        """With all its joins, which a broker takes in the order of their numbers."""
        self.part.joins.extend(map(_join_message, sorted(self.joins)))
        return self

    def request(self) -> queue_pb2.SubmitWorkflowRequest:
        """As it goes over the wire."""
        return queue_pb2.SubmitWorkflowRequest(part=self.part)

    def unanswered(self) -> None:
        """It was sent, and nobody knows what became of it. Nothing of a workflow counts before its last part."""
        self.maybe = self.maybe or self.part.last

    def given_up(self, trouble: str) -> OperationalError:
        """What to raise when it was not confirmed in time. A reason heard from the broker says more than `trouble`."""
        return self._error(self.reason, self.trouble or trouble, "; sending it again with the same ids is safe")

    def refused(self, reason: str, message: str) -> OperationalError:
        """What to raise when the workflow is refused for good."""
        return self._error(reason, message, "")

    def _error(self, reason: str, message: str, advice: str) -> OperationalError:
        workflow = self.workflow
        fate = "is perhaps stored" if self.maybe else "was rejected and nothing of it is stored"
        return OperationalError(
            f"workflow {text_of(workflow.id)}, {workflow.name or 'without a name'}, {fate}: "
            f"{message} [{reason}]{advice}",
            outcome="unknown" if self.maybe else "rejected",
            task_ids=[text_of(key) for nodes in workflow.nodes for key in nodes.batch.keys],
            reason=reason,
        )


def parcels(workflow: Workflow) -> Iterator[Parcel]:
    """The parts of a workflow in their order, each of bounded size. A join goes with the first part that names it."""
    unnamed = {join.number: join for join in workflow.joins}
    parcel = Parcel(workflow, 0)
    jobs = size = 0
    for nodes, message in _node_batches(workflow.nodes):
        weight, count = message.ByteSize(), len(nodes.batch.keys)
        full = len(parcel.batches) == MAX_BATCHES or jobs + count > MAX_JOBS or size + weight > MAX_BYTES
        if parcel.batches and full:
            yield parcel.closed()
            parcel = Parcel(workflow, parcel.part.part + 1)
            jobs = size = 0
        named = [unnamed.pop(number) for number in (*nodes.member_of, nodes.after) if number in unnamed]
        parcel.joins += named
        parcel.part.nodes.append(message)
        parcel.batches.append(nodes.batch)
        jobs += count
        size += weight + 32 * len(named)
    parcel.joins += unnamed.values()
    parcel.part.last = True
    yield parcel.closed()


def _join_message(join: Join) -> workflow_pb2.Join:
    return workflow_pb2.Join(number=join.number, id=join.id, on=_ON[join.on], shape=_SHAPE[join.shape])


def _node_batches(many: Iterable[Nodes]) -> Iterator[tuple[Nodes, workflow_pb2.NodeBatch]]:
    for nodes in many:
        for piece in pieces(nodes.batch, MAX_JOBS, MAX_BYTES):
            part = nodes if piece is nodes.batch else nodes._replace(batch=piece)
            yield part, _nodes_message(part)


def _nodes_message(nodes: Nodes) -> workflow_pb2.NodeBatch:
    message = workflow_pb2.NodeBatch(
        jobs=batch_message(nodes.batch),
        after=nodes.after,
        silent=nodes.silent,
        member_of=nodes.member_of,
        takes_over=nodes.takes_over,
        beside=nodes.beside,
    )
    if nodes.takes_over:
        message.jobs.ClearField("ids")
    return message


def judge_part(parcel: Parcel, answer: queue_pb2.SubmitWorkflowResponse) -> Verdict:
    """What the broker's answer means for the part, and so for the workflow."""
    passing = [item.error for item in answer.refused if item.error.reason in LATER]
    if passing:
        return _again(parcel, max(passing, key=lambda error: error.retry_after_ms))
    return Verdict([_refused(parcel.batches[item.batch].keys[item.index], item.error) for item in answer.refused])


def judge_refusal(parcel: Parcel, error: errors_pb2.Error) -> Verdict:
    """When to send it again. Raises OperationalError when the workflow is refused for good."""
    if error.reason == AMBIGUOUS:
        parcel.unanswered()
    elif error.reason not in LATER:
        if error.reason not in CERTAIN:
            parcel.unanswered()
        raise parcel.refused(reason_name(error), error.message)
    return _again(parcel, error)


def _refused(key: Key, error: errors_pb2.Error) -> Refused:
    return Refused(key, reason_name(error), error.message, False, error.facts.get("holder", ""))


def _again(parcel: Parcel, error: errors_pb2.Error) -> Verdict:
    parcel.reason = reason_name(error)
    parcel.trouble = error.message
    return Verdict([], error.retry_after_ms / 1000)
