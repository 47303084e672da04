"""Parts of workflows on their way in: jobs with their places, and joins, with everything checked.

What is wrong with one job is said of that job, and then none of the part is stored. What is wrong with the shape of the
workflow refuses the part as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

import msgspec
from msgspec import structs

from tqbroker.v1 import job_pb2, workflow_pb2
from tqbroker_broker.attempts import Held
from tqbroker_broker.config import BrokerConfig
from tqbroker_broker.messages.batches import measure, read_batch
from tqbroker_broker.messages.ids import text_id
from tqbroker_broker.messages.intake import Refused
from tqbroker_broker.messages.shapes import check_nodes, check_whole, read_joins
from tqbroker_broker.records import NewJobs, Time
from tqbroker_broker.refusals import Invalid
from tqbroker_broker.rules import PLAIN, UniqueConflict
from tqbroker_broker.workflows import NewJoin, NewNodes, Part

_NOBODY = b""
"""The id of a job that takes over: it has none of its own."""

_encode = msgspec.msgpack.Encoder().encode


class PartIn(NamedTuple):
    """A part, ready for the core, unless some of its jobs are refused. `size` is in bytes."""

    part: Part
    refused: list[Refused]
    size: int


def read_part(wire: workflow_pb2.WorkflowPart, config: BrokerConfig, now: Time) -> PartIn:
    """Checks and converts a part. Raises Invalid or TooLarge when it is wrong as a whole."""
    check_whole(wire)
    joins = read_joins(wire.joins)
    check_nodes(wire)
    alone = frozenset(number for number, node in enumerate(wire.nodes) if node.takes_over)
    most = config.max_request_jobs  # of a chain each job is a batch of its own
    size = measure([node.jobs for node in wire.nodes], most, config, alone)
    nodes: list[NewNodes] = []
    refused: list[Refused] = []
    for number, node in enumerate(wire.nodes):
        jobs = _jobs(number, node, config, now, refused)
        if jobs is not None:
            nodes.append(_node(node, jobs))
    beside = Held(text_id(wire.beside), wire.beside_token) if wire.beside else None
    digest = _digest(wire, joins, nodes)
    part = Part(wire.workflow, wire.part, wire.last, digest, wire.name, joins, nodes, wire.held, beside)
    return PartIn(part, refused, size)


def _jobs(
    number: int, node: workflow_pb2.NodeBatch, config: BrokerConfig, now: Time, refused: list[Refused]
) -> NewJobs | None:
    """The jobs of one batch; with any of them refused it does not matter which."""
    wire = node.jobs
    if node.takes_over:
        wire = _named(wire)
    jobs, _, wrong = read_batch(wire, config, now, later=True)
    refused.extend(Refused(number, index, error) for index, error in wrong)
    if jobs is None:
        return None
    if jobs.head.traits is PLAIN or (unique := jobs.head.traits.unique) is None:
        return jobs._replace(ids=[_NOBODY]) if node.takes_over else jobs
    if node.takes_over:  # the job that it becomes the body of has a key of its own, or none
        traits = structs.replace(jobs.head.traits, unique=None)
        return jobs._replace(ids=[_NOBODY], head=structs.replace(jobs.head, traits=traits), unique=())
    if unique.conflict is not UniqueConflict.REJECT:
        rule = Invalid("a job of a workflow is refused when another holds its unique key: its conflict must be REJECT")
        refused.extend(Refused(number, index, rule) for index in range(len(wire.args)))
    return jobs


def _named(wire: job_pb2.JobBatch) -> job_pb2.JobBatch:
    """The one job that takes over, under an id for as long as it is read."""
    named = job_pb2.JobBatch()
    named.CopyFrom(wire)
    named.ids.uuids = bytes(16)
    return named


def _node(node: workflow_pb2.NodeBatch, jobs: NewJobs) -> NewNodes:
    return NewNodes(
        jobs,
        node.after,
        node.silent,
        tuple(node.member_of),
        node.jobs.countdown_ms,
        node.jobs.expires_in_ms,
        node.takes_over,
        node.beside,
    )


def _digest(wire: workflow_pb2.WorkflowPart, joins: Sequence[NewJoin], nodes: Sequence[NewNodes]) -> bytes:
    """What tells "same part": the canonical fields as they were sent, so that a resend has the same digest."""
    whole = wire.part, wire.last, wire.name, wire.held, wire.beside, wire.beside_token
    digest = blake2b(_encode((whole, joins)), digest_size=16)
    for node in nodes:
        place = node.after, node.silent, node.member_of, node.takes_over, node.beside
        digest.update(_encode((place, node.jobs.ids, node.jobs.digests)))
    return digest.digest()
