"""Workflows as operators see them, as values. Times are milliseconds since 1970 UTC, 0 when there is none."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from tqbroker.call import Join
from tqbroker.transport import JobInfo


class WorkflowState(IntEnum):
    """How a workflow does; numbers are those of the wire."""

    UPLOADING = 1
    """Parts of it are missing, or the outcome that makes it live."""
    RUNNING = 2
    SUCCEEDED = 3
    FAILED = 4
    """All its jobs have ended, some FAILED or EXPIRED."""
    CANCELLED = 5
    """All its jobs have ended, some CANCELLED and none failed."""

    def __str__(self) -> str:
        return self.name


class WorkflowInfo(NamedTuple):
    """A workflow with its progress: the counts of its jobs add up to `total`.

    `id` is 16 bytes. `failed` are those that FAILED or EXPIRED, `unneeded` callbacks whose case did not come;
    `first_failed` is the id of the job that failed first, empty while none has.
    """

    id: bytes
    name: str
    state: WorkflowState
    submitted_ms: int
    finished_ms: int
    total: int
    left: int
    succeeded: int
    failed: int
    cancelled: int
    unneeded: int
    first_failed: str


class JoinState(NamedTuple):
    """A join as it stands: how many members it has, how many are left, and the one that decided it, if one did."""

    join: Join
    members: int
    left: int
    released: bool
    cause: str


class Node(NamedTuple):
    """A job of a workflow: the number of the join that it waits for (0: none), and of those that it is a member of."""

    job: JobInfo
    after: int
    silent: bool
    member_of: tuple[int, ...]


class WorkflowView(NamedTuple):
    """A workflow with its jobs in the order in which they were sent, and the joins that these name, by number.

    Of a large one the last jobs may be left out.
    """

    info: WorkflowInfo
    nodes: list[Node]
    joins: dict[int, JoinState]


class WorkflowOrder(IntEnum):
    """What is done with a whole workflow; numbers are those of the wire."""

    CANCEL = 1
    """Jobs that have not ended are cancelled."""
    RETRY = 2
    """Jobs that FAILED by themselves are redriven, and what waited for them waits again."""
    DELETE = 3
    """All jobs are dropped; only once all have ended."""
