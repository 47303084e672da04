"""Workflows: jobs that wait for each other, as plain values. What is decided of them stands in `workflow_decisions`.

A workflow is made of nodes and joins. A node is a job with a place; a join has members and followers, which are nodes.
Ids and times are those of `records`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from types import MappingProxyType
from typing import NamedTuple

from tqbroker_broker.answers import Job, Stored
from tqbroker_broker.attempts import Held
from tqbroker_broker.records import JobId, NewJobs


class On(IntEnum):
    """When the followers of a join go on; numbers are those of the wire and of the disk."""

    SUCCESS = 1
    """When all members have succeeded. When one ends otherwise, they end as it did."""
    FAILURE = 2
    """When the first member has failed or expired. When all have ended otherwise, they are not needed: CANCELLED."""


class Shape(IntEnum):
    """How what the members returned is handed to the followers; numbers are those of the wire and of the disk."""

    VALUE = 1
    LIST = 2


class NewJoin(NamedTuple):
    """A join on its way in. `number` is from 1, unique in the workflow; `id`: 16 bytes of a group, or empty."""

    number: int
    on: On
    shape: Shape
    id: bytes = b""


class NewNodes(NamedTuple):
    """Jobs on their way in that share their place. The members of a join are ordered as they come.

    `after` is the join they wait for (0: none), `member_of` the joins that wait for them; `silent`: they are not handed
    what the members returned. The two durations count from their release: of jobs that wait for nobody, from when the
    workflow is live. Moments stand in `jobs`: released before it is due, a job waits for that. `takes_over`: this one
    job, without a row under its id, becomes the body of the job that is replaced. `beside`: they become members of the
    groups of `Part.beside`.
    """

    jobs: NewJobs
    after: int = 0
    silent: bool = False
    member_of: tuple[int, ...] = ()
    countdown_ms: int = 0
    expires_in_ms: int = 0
    takes_over: bool = False
    beside: bool = False


class Part(NamedTuple):
    """A workflow (16 bytes of id), or one of its parts, from 0. `digest` (16 bytes) tells "same part".

    `held`: complete with its last part, it waits for the outcome that names it. `beside`: a running job to whose
    workflow this one is added.
    """

    workflow: bytes
    number: int
    last: bool
    digest: bytes
    name: str
    joins: Sequence[NewJoin]
    nodes: Sequence[NewNodes]
    held: bool = False
    beside: Held | None = None

    @property
    def at_once(self) -> bool:
        """Whether it is a whole workflow that is live when it is stored."""
        return self.last and not self.held and not self.number

    @property
    def waiting(self) -> int:
        """How many of its jobs wait when it is stored, for others or for the workflow to be live."""
        return sum(len(nodes.jobs.ids) for nodes in self.nodes if nodes.after or not self.at_once)


class PartEffect(IntEnum):
    """What became of a part."""

    STORED = 1
    DUPLICATE = 2
    """It was stored before."""
    CONFLICT = 3
    """Another part stands under this number, or the workflow is complete without it."""
    OUT_OF_ORDER = 4
    """The parts before it are not there, perhaps any more."""
    REFUSED = 5
    """Some of its jobs cannot be stored, so none is: see `PartAnswer.refused`."""
    TOO_LARGE = 6
    """The workflow would have more jobs than `max_workflow_jobs`."""
    UNKNOWN_JOIN = 7
    """A node names a join that this part and those before it do not have, waits for one that has no member before it,
    or becomes a member of one that has a follower already, or the second of one that takes one (`takes_one`); or a
    number of a join comes twice, or a node that takes over has company, or is in a workflow that is not held."""
    LEASE_LOST = 8
    """The job that it is to be added to does not run under this token."""


class PartAnswer(NamedTuple):
    """The answer for a part. `refused` says by (batch, index) why jobs are not stored, `holders` who has their keys.

    `woken` are queues with something to hand out, `next_due_ms` the earliest due time (0: none).
    """

    effect: PartEffect
    refused: Mapping[tuple[int, int], Stored] = MappingProxyType({})
    holders: Mapping[tuple[int, int], JobId] = MappingProxyType({})
    woken: frozenset[str] = frozenset()
    next_due_ms: int = 0


class Inputs(NamedTuple):
    """What the members of a join returned, in their order. `formats`: one for all, or one each.

    `total` is how many members there are; with fewer `values` the rest is to be asked for.
    """

    shape: Shape
    values: Sequence[bytes]
    formats: Sequence[str]
    total: int


class WorkflowState(IntEnum):
    """How a workflow does; numbers are those of the wire."""

    UPLOADING = 1
    RUNNING = 2
    SUCCEEDED = 3
    FAILED = 4
    CANCELLED = 5


class Tally(NamedTuple):
    """How the jobs of a workflow stand. `failed` counts those that FAILED or EXPIRED, `unneeded` spared callbacks."""

    total: int = 0
    left: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    unneeded: int = 0


class WorkflowInfo(NamedTuple):
    """A workflow with its progress. `first_failed` is the job that failed first, empty while none has.

    When that is redriven it is the first of all in their order that is FAILED by itself.
    """

    id: bytes
    name: str
    state: WorkflowState
    submitted_ms: int
    finished_ms: int
    tally: Tally
    first_failed: JobId = b""


class WorkflowPage(NamedTuple):
    """Some workflows, the oldest first, and where to go on: empty at the end. A page may be short or empty before."""

    workflows: list[WorkflowInfo]
    cursor: bytes


class JoinInfo(NamedTuple):
    """A join as it stands. `left`: members that have not counted; `cause`: the one that broke it, or made it fail."""

    join: NewJoin
    members: int
    left: int
    released: bool
    cause: JobId = b""


class Node(NamedTuple):
    """A job of a workflow with its place."""

    job: Job
    after: int
    silent: bool
    member_of: tuple[int, ...]


class NodePage(NamedTuple):
    """Some nodes in the order they were sent, the joins they name, and where to go on: empty at the end."""

    workflow: WorkflowInfo
    nodes: list[Node]
    joins: list[JoinInfo]
    cursor: bytes


class Members(NamedTuple):
    """Some members of a group in their order, and how many there are in all."""

    ids: list[JobId]
    total: int
