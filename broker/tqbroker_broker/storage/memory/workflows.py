"""Workflows as they are kept: nodes, joins, and the place of a job among them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from tqbroker_broker.records import JobId, State
from tqbroker_broker.workflow_decisions import Turn
from tqbroker_broker.workflows import NewJoin, NewNodes, On, Tally


class Phase(Enum):
    """How far a workflow has come. One that is DROPPING, or GIVEN_UP as an upload, goes in slices."""

    UPLOADING = 1
    HELD = 2
    LIVE = 3
    DROPPING = 4
    GIVEN_UP = 5


STAGED = frozenset({Phase.UPLOADING, Phase.HELD})
GOING = frozenset({Phase.DROPPING, Phase.GIVEN_UP})


@dataclass(slots=True)
class Join:
    """Who waits for whom, in the order they were sent. `counted` are the members that are not waited for any more.

    `turn` is what was decided, `decider` the member whose end did it.
    """

    new: NewJoin
    members: list[JobId] = field(default_factory=list)
    followers: list[JobId] = field(default_factory=list)
    counted: set[JobId] = field(default_factory=set)
    turn: Turn = Turn.NOTHING
    decider: JobId = b""

    @property
    def left(self) -> int:
        """Members that have not counted."""
        return len(self.members) - len(self.counted)

    @property
    def cause(self) -> JobId:
        """The member that broke it, or made it fail."""
        failed = self.turn is Turn.RELEASE and self.new.on is On.FAILURE
        return self.decider if failed or self.turn is Turn.BREAK else b""


TAKER: JobId = b""
"""Stands for the job that takes over, which has no id of its own."""


@dataclass(slots=True)
class Workflow:
    """A workflow. `parts` are digests, `seq` a number of the store's counter, `uploaded_ms` when the newest part came.

    `nodes` are in the order they were sent, the job that takes over being `TAKER` until it is known; `seats` are their
    places, also of those that were dropped. `ended` are jobs
    by how they ended, SPAREd ones being unneeded, in the order of their ends. `keep_until_ms` is the latest moment
    until which any of its jobs was to be kept.
    """

    id: bytes
    name: str
    seq: int
    submitted_ms: int
    uploaded_ms: int = 0
    phase: Phase = Phase.UPLOADING
    parts: list[bytes] = field(default_factory=list)
    joins: dict[int, Join] = field(default_factory=dict)
    nodes: list[JobId] = field(default_factory=list)
    seats: dict[JobId, Seat] = field(default_factory=dict)
    taker: NewNodes | None = None
    ended: dict[JobId, tuple[State, bool]] = field(default_factory=dict)
    first_failed: JobId = b""
    finished_ms: int = 0
    keep_until_ms: int = 0

    @property
    def root(self) -> JobId:
        """Its first job."""
        return next((job for job in self.nodes if job != TAKER), TAKER)

    @property
    def is_over(self) -> bool:
        """Whether all of its jobs have ended."""
        return self.phase in (Phase.LIVE, Phase.DROPPING) and len(self.ended) == len(self.nodes)

    @property
    def tally(self) -> Tally:
        """How its jobs stand."""
        total = len(self.nodes) - (TAKER in self.nodes)
        ends = list(self.ended.values())
        unneeded = sum(spared for _, spared in ends)
        succeeded, failed, expired, cancelled = (
            sum(end is state for end, _ in ends)
            for state in (State.SUCCEEDED, State.FAILED, State.EXPIRED, State.CANCELLED)
        )
        return Tally(total, total - len(ends), succeeded, failed + expired, cancelled - unneeded, unneeded)

    def joins_of(self, numbers: Iterable[int]) -> list[Join]:
        """The joins with these numbers."""
        return [self.joins[number] for number in numbers]


@dataclass(slots=True)
class Seat:
    """The place of a job in its workflow; see `workflows.NewNodes`.

    `turn` is what the join it waits for has done to it. `handed`: it is given what the members returned; not if it is
    silent, nor once it has other arguments.
    """

    workflow: Workflow
    after: int
    silent: bool
    member_of: list[int]
    countdown_ms: int
    expires_in_ms: int
    handed: bool
    beside: bool = False
    turn: Turn = Turn.NOTHING

    @property
    def parent(self) -> JobId:
        """The member whose end released it."""
        return self.awaited.decider if self.awaited and self.turn is Turn.RELEASE else b""

    @property
    def awaited(self) -> Join | None:
        """The join it waits for, or has waited for."""
        return self.workflow.joins[self.after] if self.after else None

    @property
    def joins(self) -> list[Join]:
        """The joins it is a member of."""
        return self.workflow.joins_of(self.member_of)

    @property
    def group(self) -> Join | None:
        """The group it is a member of."""
        return next((join for join in self.joins if join.new.id), None)

    @property
    def cause(self) -> JobId:
        """The job because of which it ended before it could run."""
        return self.awaited.cause if self.awaited and self.turn is Turn.BREAK else b""
