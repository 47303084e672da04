"""What survives a restart of the broker, as plain dicts."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from tqbroker_broker.aging import NOTHING, HeldBack
from tqbroker_broker.answers import Mark
from tqbroker_broker.attempts import Failure, PastAttempt, Progress
from tqbroker_broker.questions import Events
from tqbroker_broker.records import Head, JobId, State
from tqbroker_broker.rules import LimitRule, QueueRule, Unique
from tqbroker_broker.schedules import ScheduleState
from tqbroker_broker.storage.memory.workflows import Seat, Workflow


@dataclass(slots=True)
class Row:
    """One job. While it is leased its state here is QUEUED: a lease is not durable.

    Numbers from one counter say when things happened: `seq` the submit, `order` when it became ready (its place in the
    lane), `marked` the cancel request while it ran, `ended` the end. `floor` is the token of its last lease that does
    not count any more, `key` its unique key, `seat` its place in a workflow, `children` what its body has submitted.
    """

    id: JobId
    head: Head
    args: bytes
    digest: bytes
    seq: int
    state: State
    submitted_ms: int
    due_ms: int
    expires_ms: int
    key: bytes = b""
    order: int = 0
    marked: int = 0
    mark: Mark = Mark.NONE
    ended: int = 0
    retries: int = 0
    lost: int = 0
    floor: int = 0
    started_ms: int = 0
    finished_ms: int = 0
    keep_until_ms: int = 0
    worker: str = ""
    token: int = 0
    result: bytes = b""
    result_format: str = ""
    failure: Failure | None = None
    attempts: list[PastAttempt] = field(default_factory=list)
    progress: Progress | None = None
    checkpoint: bytes = b""
    checkpoint_format: str = ""
    seat: Seat | None = None
    children: tuple[JobId, ...] = ()


class Remembered(NamedTuple):
    """What is left of a dropped job until `until_ms`: enough to answer a late resend. `number` says when it went."""

    digest: bytes
    token: int
    until_ms: int
    number: int


class Holding(NamedTuple):
    """Who took a unique key, and when that job was submitted."""

    job: JobId
    unique: Unique
    submitted_ms: int


class StoredLimit(NamedTuple):
    """A limit's rule, and whether an operator has set it."""

    rule: LimitRule
    operator: bool


class Merged(NamedTuple):
    """A workflow that has become part of another one, with the digests of its parts."""

    host: bytes
    parts: tuple[bytes, ...]


class SavedGroup(NamedTuple):
    """A list of jobs that somebody wants to be remembered until then."""

    ids: tuple[JobId, ...]
    until_ms: int


@dataclass(slots=True)
class MemoryStore:
    """Everything durable. An id is in `jobs` or in `remembered`, never in both; `workers` maps names to instances.

    `starts` are the moments (wall clock, how many) at which jobs of a limited name started. `events` is the log and
    `last_event` the highest number that was given. `groups` says where a group is: workflow and number of the join.
    `saved` are lists of jobs by the id they were saved under. `held` are the jumps of the clock that aging holds back.
    """

    id: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    epoch: int = 0
    number: int = 0
    jobs: dict[JobId, Row] = field(default_factory=dict)
    remembered: dict[JobId, Remembered] = field(default_factory=dict)
    workers: dict[str, bytes] = field(default_factory=dict)
    keys: dict[bytes, Holding] = field(default_factory=dict)
    rules: dict[str, QueueRule] = field(default_factory=dict)
    limits: dict[str, StoredLimit] = field(default_factory=dict)
    starts: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    workflows: dict[bytes, Workflow] = field(default_factory=dict)
    groups: dict[bytes, tuple[bytes, int]] = field(default_factory=dict)
    schedules: dict[str, ScheduleState] = field(default_factory=dict)
    merged: dict[bytes, Merged] = field(default_factory=dict)
    saved: dict[bytes, SavedGroup] = field(default_factory=dict)
    events: list[Events] = field(default_factory=list)
    last_event: int = 0
    held: tuple[HeldBack, ...] = NOTHING

    def next_number(self) -> int:
        """A number above all before."""
        return self.take_numbers(1)

    def take_numbers(self, count: int) -> int:
        """The first of so many numbers above all before."""
        self.number += count
        return self.number - count + 1

    def digest(self, job: JobId) -> bytes | None:
        """The digest of a job that is stored or remembered; None for an id never seen."""
        known = self.jobs.get(job) or self.remembered.get(job)
        return known.digest if known else None

    def final_token(self, job: JobId) -> int:
        """The token whose outcome ended this job; 0 when none has."""
        known = self.jobs.get(job) or self.remembered.get(job)
        return known.token if known else 0

    def rows(self, *states: State) -> Iterable[Row]:
        """The jobs whose durable state is one of these, in order of submit."""
        return sorted((row for row in self.jobs.values() if row.state in states), key=lambda row: row.seq)

    def rows_of(self, workflow: Workflow) -> list[Row]:
        """The jobs of a workflow that are kept, in their order."""
        rows = (row for job in workflow.nodes if (row := self.jobs.get(job)))
        return [row for row in rows if row.seat and row.seat.workflow is workflow]

    def drop_workflow(self, workflow: Workflow) -> None:
        """Drops a workflow that has no jobs any more, with its groups and the ids of those that were merged into it."""
        del self.workflows[workflow.id]
        self.groups = {group: at for group, at in self.groups.items() if at[0] != workflow.id}
        self.merged = {guest: merged for guest, merged in self.merged.items() if merged.host != workflow.id}

    def drop(self, row: Row, remember_until_ms: int, now_ms: int) -> None:
        """Drops a final job with its result; its id is remembered if `remember_until_ms` is still to come."""
        del self.jobs[row.id]
        if remember_until_ms > now_ms:
            self.remembered[row.id] = Remembered(row.digest, row.token, remember_until_ms, self.next_number())
