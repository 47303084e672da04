"""Workflows: jobs that wait for each other. Plain values, and the decisions that need neither disk nor clock.

A workflow is made of nodes and joins. A node is a job with a place; a join has members and followers, which are nodes.
Ids and times are those of `records`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from types import MappingProxyType
from typing import NamedTuple

from msgspec import structs

from tqbroker_broker.answers import Job, Stored
from tqbroker_broker.attempts import Failure, Held
from tqbroker_broker.records import JobId, NewJobs, State, id_text

SHORT = 256
"""Characters of the message, and bytes of the arguments, in a short copy of a failure: a line or two."""


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


def takes_one(on: On, shape: Shape) -> bool:
    """Whether a join can have one member only: its followers are handed one value, and several would be lost."""
    return on is On.SUCCESS and shape is Shape.VALUE


class Turn(IntEnum):
    """What the end of a member does to the followers of an open join."""

    NOTHING = 0
    RELEASE = 1
    BREAK = 2
    """They end as the member did."""
    SPARE = 3
    """They are not needed."""


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


def counts(on: On, state: State) -> bool:
    """Whether a member that ended so is one less to wait for."""
    return state is State.SUCCEEDED or (on is On.FAILURE and state is State.CANCELLED)


def turn(on: On, state: State, left: int, *, unneeded: bool = False) -> Turn:
    """What happens to the followers of an open join when a member has ended and `left` others have not counted yet.

    What waits for a member that was `unneeded` is not needed either.
    """
    if on is On.SUCCESS:
        if state is not State.SUCCEEDED:
            return Turn.SPARE if unneeded else Turn.BREAK
        return Turn.RELEASE if left == 0 else Turn.NOTHING
    if state in (State.FAILED, State.EXPIRED):
        return Turn.RELEASE
    return Turn.SPARE if left == 0 else Turn.NOTHING


class Copies:
    """Copies of the failures of members for those that end with them: whole ones up to so many bytes, then short ones.

    A chain of a hundred thousand jobs would store as many tracebacks; the member itself keeps all of its own.
    """

    def __init__(self, limit: int) -> None:
        self._left = limit

    def of(self, failure: Failure, followers: int = 1) -> Failure:
        """What so many followers say. Without its arguments an exception is a look-alike, so short ones are kept."""
        size = len(failure.message) + len(failure.traceback) + len(failure.args)
        if size <= SHORT:
            return failure
        if size * followers <= self._left:
            self._left -= size * followers
            return failure
        args = failure.args if len(failure.args) <= SHORT else b""
        return structs.replace(failure, message=failure.message[:SHORT], traceback="", args=args)


def follower_failure(shape: Shape, job: JobId, state: State, failure: Failure | None) -> Failure:
    """What a follower that cannot run any more says: the failure of the member itself, or which job it was."""
    member = id_text(job)
    if state is State.FAILED:
        failure = failure or Failure("WorkerLostError", "tqbroker.exceptions", f"job {member} lost its workers")
        if shape is Shape.VALUE:
            return failure
        return Failure(
            "ChordError", "tqbroker.exceptions", f"Dependency {member} raised {failure.type}: {failure.message}"
        )
    how = "expired before a worker started it" if state is State.EXPIRED else "was cancelled"
    return Failure("TaskRevokedError", "tqbroker.exceptions", f"job {member}, which this one waited for, {how}")


def inputs_too_large(size: int, limit: int) -> Failure:
    """The failure of a job whose inputs take more bytes than may be handed to one job."""
    message = (
        f"the results it waited for take {size} bytes and may take {limit} (max_inputs_size): return where they are"
    )
    return Failure("InputsTooLarge", "tqbroker.exceptions", message)


def replacement_missing(workflow: bytes) -> Failure:
    """The failure of an attempt whose job was to be replaced by a workflow that is not there."""
    message = f"the workflow {workflow.hex()}, which was to take the place of this job, is not stored (any more)"
    return Failure("WorkerLostError", "tqbroker.exceptions", message)


def replacement_too_large(total: int, limit: int) -> Failure:
    """The failure of a job whose workflow would have too many jobs with those that were to take its place."""
    message = f"with what was to replace it its workflow would have {total} jobs and may have {limit}"
    return Failure("WorkflowTooLarge", "tqbroker.exceptions", f"{message} (max_workflow_jobs)")


def workflow_state(tally: Tally, *, live: bool) -> WorkflowState:
    """How a workflow with these jobs does."""
    if not live:
        return WorkflowState.UPLOADING
    if tally.left:
        return WorkflowState.RUNNING
    if tally.failed:
        return WorkflowState.FAILED
    return WorkflowState.CANCELLED if tally.cancelled else WorkflowState.SUCCEEDED


def waits_for(job: Job) -> str:
    """What a WAITING job waits for, in words: others of its workflow, or the rest of an upload."""
    if not job.left:
        return "the rest of its workflow"
    if job.for_failure:
        return "a failure in its workflow"
    return f"{job.left} of {job.members} jobs of its workflow" if job.members > 1 else "1 job of its workflow"
