"""What is decided of workflows, with neither disk nor clock: what follows the end of a job, and what is said of it."""

from __future__ import annotations

from enum import IntEnum

from msgspec import structs

from tqbroker_broker.answers import Job
from tqbroker_broker.attempts import Failure
from tqbroker_broker.records import JobId, State, id_text
from tqbroker_broker.workflows import On, Shape, Tally, WorkflowState

SHORT = 256
"""Characters of the message, and bytes of the arguments, in a short copy of a failure: a line or two."""


class Turn(IntEnum):
    """What the end of a member does to the followers of an open join."""

    NOTHING = 0
    RELEASE = 1
    BREAK = 2
    """They end as the member did."""
    SPARE = 3
    """They are not needed."""


def takes_one(on: On, shape: Shape) -> bool:
    """Whether a join can have one member only: its followers are handed one value, and several would be lost."""
    return on is On.SUCCESS and shape is Shape.VALUE


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
