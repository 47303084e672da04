"""The shape of a part of a workflow: what must hold of its joins and places, whatever the jobs are."""

from __future__ import annotations

from collections.abc import Sequence

from tqbroker.v1 import workflow_pb2
from tqbroker_broker.messages.checks import check_most
from tqbroker_broker.refusals import Invalid
from tqbroker_broker.workflow_decisions import takes_one
from tqbroker_broker.workflows import NewJoin, On, Shape

MAX_NAME = 255
"""Characters of the name of a workflow: it is shown in lists."""

MAX_JOINS = 10_000
"""Joins in one part: as many as it may have jobs."""

MAX_MEMBER_OF = 256
"""Joins that one job can be a member of: all are looked at in the commit in which it ends."""


def check_workflow(workflow: bytes) -> None:
    """Raises Invalid for what is no id of a workflow."""
    if len(workflow) != 16:
        raise Invalid(f"the id of the workflow has {len(workflow)} bytes: it must have 16, for example of a UUID")


def check_group(group: bytes) -> None:
    """Raises Invalid for what is no id of a group."""
    if len(group) != 16:
        raise Invalid(f"the id of the group has {len(group)} bytes: it must have 16, for example of a UUID")


def check_whole(wire: workflow_pb2.WorkflowPart) -> None:
    """Raises Invalid for what is wrong before a single job is looked at."""
    check_workflow(wire.workflow)
    if len(wire.name) > MAX_NAME or not wire.name.isprintable():
        raise Invalid(
            f"the name of the workflow is {wire.name[:100]!r}: it may have {MAX_NAME} characters, all of them printable"
        )
    check_most("joins in this part", len(wire.joins), MAX_JOINS)
    if not wire.nodes:
        raise Invalid("the part has no jobs: every part of a workflow has at least one")
    if wire.beside:
        if wire.part or not wire.last or wire.held:
            raise Invalid("a workflow that is added to that of a running job has one part, and is not held")
    elif wire.beside_token:
        raise Invalid("beside_token is set without beside: name the running job that it belongs to")


def read_joins(wire: Sequence[workflow_pb2.Join]) -> list[NewJoin]:
    """The joins. Raises Invalid."""
    joins = [NewJoin(join.number, *_kind(join), join.id) for join in wire]
    numbers = {join.number for join in joins}
    if 0 in numbers or len(numbers) < len(joins):
        raise Invalid("a number of a join is 0 or comes twice: joins have numbers from 1, each once in a workflow")
    return joins


def _kind(join: workflow_pb2.Join) -> tuple[On, Shape]:
    try:
        on, shape = On(join.on), Shape(join.shape)
    except ValueError:
        raise Invalid(
            f"join {join.number} is on {join.on} and has shape {join.shape}: both must be set, to SUCCESS or FAILURE,"
            " and to VALUE or LIST"
        ) from None
    if on is On.FAILURE and shape is not Shape.VALUE:
        raise Invalid(
            f"join {join.number} is on FAILURE and of LIST shape: what is handed on there is one job, a VALUE"
        )
    if join.id:
        check_group(join.id)
    return on, shape


def check_nodes(wire: workflow_pb2.WorkflowPart) -> None:
    """Raises Invalid for places that fit nothing, and for what would wait for itself.

    Members come before followers, so nothing can; what stands in earlier parts is the store's to know.
    """
    followed: set[int] = set()
    ones = {join.number for join in wire.joins if takes_one(On(join.on), Shape(join.shape))}
    taken: set[int] = set()
    for number, node in enumerate(wire.nodes):
        _check_place(number, node, wire)
        _check_ones(number, node, ones, taken)
        if node.after:
            followed.add(node.after)
        late = followed.intersection(node.member_of)
        if late:
            raise Invalid(
                f"batch {number} is a member of join {min(late)}, which jobs that were sent before it, or it itself,"
                " wait for: send the members of a join before its followers"
            )
    if sum(node.takes_over for node in wire.nodes) > 1:
        raise Invalid("several jobs take over: one becomes the body of the job that is replaced")


def _check_ones(number: int, node: workflow_pb2.NodeBatch, ones: set[int], taken: set[int]) -> None:
    mine = ones.intersection(node.member_of)
    many = mine if len(node.jobs.args) > 1 else mine & taken
    if many:
        raise Invalid(
            f"batch {number} gives join {min(many)}, on SUCCESS and of VALUE shape, more than one member: what several"
            " jobs return is handed on as a LIST"
        )
    taken |= mine


def _check_place(number: int, node: workflow_pb2.NodeBatch, wire: workflow_pb2.WorkflowPart) -> None:
    jobs = node.jobs
    if not jobs.args:
        raise Invalid(f"batch {number} has no jobs: leave it out")
    check_most(f"joins that batch {number} is a member of", len(node.member_of), MAX_MEMBER_OF)
    if 0 in node.member_of or len(set(node.member_of)) < len(node.member_of):
        raise Invalid(f"member_of of batch {number} names a join twice, or join 0: joins are numbered from 1")
    if node.takes_over and (len(jobs.args) != 1 or jobs.ids.uuids or jobs.ids.texts):
        raise Invalid(f"batch {number} takes over: it has one job, and that has no id, being the job it takes over")
    if node.takes_over and not wire.held:
        raise Invalid(f"batch {number} takes over: the workflow must be held, for the outcome that names it")
    if node.beside and not wire.beside:
        raise Invalid(f"batch {number} is to join the groups of a running job: name that in beside")
