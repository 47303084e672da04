"""Rows of what is kept of workflows, each with its CRC: the workflow, its joins, and the places of its jobs.

A join is named by the number of its workflow and its number there. What follows join 0 waits for the workflow to be
live, and for nothing else.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct

import msgspec

from tqbroker_broker.records import JobId
from tqbroker_broker.storage.lmdb.rows import JOB_AT, check, seal
from tqbroker_broker.workflows import On, Shape, Tally

JoinKey = tuple[int, int]
"""The number of a workflow, and that of a join there."""

JOIN = Struct(">QI")  # workflow, join: keys of `joins`, values of `groups`, beginnings of the next two
CHUNK = Struct(">QII")  # workflow, join, index // CHUNK_MEMBERS
FOLLOWERS = Struct(">QIQ")  # workflow, join, seq of the first
PART = Struct(">QI")  # workflow, part + 1
OWN_PART = 0
"""Stands for the part of a job that had no workflow before others were added to it: it is the first of theirs."""
# seq of the first job, jobs, workflow that it was sent for; then its digest
SPAN = Struct(">QIQ")

CHUNK_MEMBERS = 1024
"""Members in one row of `members` and `counted`: what the end of one writes is about a quarter of a page."""

GATE = 0
"""The number of what the entries of a workflow wait for."""


class JoinState(IntEnum):
    """How a join was decided; numbers are those of the disk."""

    OPEN = 0
    RELEASED = 1
    BROKEN = 2
    SPARED = 3


class Counted(IntEnum):
    """What the end of a member was for a join: a byte on disk, so that no end counts twice."""

    NOT = 0
    TOWARDS = 1
    AGAINST = 2
    """It broke the join; of one that waits for a failure it is what was waited for."""


class WorkflowRow(msgspec.Struct, array_like=True):
    """A workflow, with those that were added to it but for their rows.

    `uploaded` are its own parts, `parts` those with theirs; `joins` is the highest number of a join, with theirs.
    `into` is the number of the workflow that it was added to, 0 when it was not; `shift` is what its joins have there
    in front of their numbers. `taker`: the seq that stands for the job that it takes the place of. `keep_ms`: until
    when the job is kept that is to be kept longest. `first_failed` is a seq. `dropping`: all that is left is to go.
    """

    id: bytes
    name: str
    submitted_ms: int
    newest_ms: int
    root: JobId = b""
    live: bool = False
    held: bool = False
    complete: bool = False
    dropping: bool = False
    uploaded: int = 0
    parts: int = 0
    joins: int = 0
    into: int = 0
    shift: int = 0
    taker: int = 0
    total: int = 0
    left: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    unneeded: int = 0
    keep_ms: int = 0
    finished_ms: int = 0
    first_failed: int = 0

    @property
    def tally(self) -> Tally:
        """How its jobs stand."""
        return Tally(self.total, self.left, self.succeeded, self.failed, self.cancelled, self.unneeded)


class Join(msgspec.Struct, array_like=True):
    """A join. `size`: bytes that its members returned; `against`: members that broke it, or did what it waits for.

    `decider` is the member whose end decided it; `followed`: there are jobs that wait for it, or have.
    """

    on: On
    shape: Shape
    id: bytes = b""
    members: int = 0
    left: int = 0
    against: int = 0
    size: int = 0
    state: JoinState = JoinState.OPEN
    decider: JobId = b""
    followed: bool = False

    @property
    def cause(self) -> JobId:
        """The member that broke it, or made it fail."""
        broken = self.state == JoinState.BROKEN or (self.state == JoinState.RELEASED and self.on is On.FAILURE)
        return self.decider if broken else b""


class Member(msgspec.Struct, frozen=True, array_like=True):
    """That jobs in a row are members of a join, the first of them at this index."""

    join: JoinKey
    index: int


class Saved(msgspec.Struct, frozen=True, array_like=True):
    """A list of jobs that somebody wants to be remembered until a moment."""

    until_ms: int
    ids: list[JobId]


class Nodes(msgspec.Struct, frozen=True, array_like=True):
    """Jobs with consecutive seqs that share their head and their place; the key is the seq of the first.

    `workflow` is the workflow that they were sent for, `after` what they wait for.
    """

    count: int
    workflow: int
    after: JoinKey
    silent: bool
    countdown_ms: int
    expires_in_ms: int
    members: tuple[Member, ...]
    head: bytes


def is_open_group(join: Join) -> bool:
    """Whether a running member of the join may add others to it."""
    return join.state == JoinState.OPEN and join.shape is Shape.LIST


_encode = msgspec.msgpack.Encoder().encode
_decode_workflow = msgspec.msgpack.Decoder(WorkflowRow).decode
_decode_join = msgspec.msgpack.Decoder(Join).decode
_decode_nodes = msgspec.msgpack.Decoder(Nodes).decode
_decode_saved = msgspec.msgpack.Decoder(Saved).decode


def pack(row: WorkflowRow | Join | Nodes | Saved) -> bytes:
    """A row of `workflows`, `joins`, `nodes` or `saved`."""
    return seal(_encode(row))


def unpack_workflow(row: bytes) -> WorkflowRow:
    """Reads a row of `workflows`. Raises DamagedRecordError."""
    return _decode_workflow(check(row)[JOB_AT:])


def unpack_join(row: bytes) -> Join:
    """Reads a row of `joins`. Raises DamagedRecordError."""
    return _decode_join(check(row)[JOB_AT:])


def unpack_nodes(row: bytes) -> Nodes:
    """Reads a row of `nodes`. Raises DamagedRecordError."""
    return _decode_nodes(check(row)[JOB_AT:])


def unpack_saved(row: bytes) -> Saved:
    """Reads a row of `saved`. Raises DamagedRecordError."""
    return _decode_saved(check(row)[JOB_AT:])
