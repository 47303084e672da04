"""New workflows: the verb `submit`."""

from __future__ import annotations

from dataclasses import dataclass, field

from tqbroker_broker.answers import Stored
from tqbroker_broker.attempts import Held
from tqbroker_broker.config import StorageConfig
from tqbroker_broker.lifecycle import holds_key
from tqbroker_broker.records import JobId, State, Time
from tqbroker_broker.storage.memory.book import Book
from tqbroker_broker.storage.memory.effects import Effects
from tqbroker_broker.storage.memory.intake import NO_RULE, Intake
from tqbroker_broker.storage.memory.joins import Joins
from tqbroker_broker.storage.memory.merging import Merging
from tqbroker_broker.storage.memory.store import MemoryStore
from tqbroker_broker.storage.memory.workflows import GOING, TAKER, Join, Phase, Seat, Workflow
from tqbroker_broker.workflow_decisions import takes_one
from tqbroker_broker.workflows import NewNodes, Part, PartAnswer, PartEffect


@dataclass(slots=True)
class _Check:
    """The jobs of a part that are looked at one after the other, and what those before have taken."""

    refused: dict[tuple[int, int], Stored] = field(default_factory=dict)
    holders: dict[tuple[int, int], JobId] = field(default_factory=dict)
    ids: set[JobId] = field(default_factory=set)
    keys: dict[bytes, JobId] = field(default_factory=dict)
    roots: dict[str, int] = field(default_factory=dict)


class Submission:
    """Stores parts of workflows, each as a whole or not at all."""

    def __init__(
        self, store: MemoryStore, book: Book, intake: Intake, joins: Joins, merging: Merging, config: StorageConfig
    ) -> None:
        self._store = store
        self._book = book
        self._merging = merging
        self._intake = intake
        self._joins = joins
        self._max_jobs = config.max_workflow_jobs

    def submit(self, part: Part, now: Time) -> PartAnswer:
        """Stores the part; with the last one the workflow is live."""
        effect = self._standing(part) or self._misfit(part)
        if effect:
            return PartAnswer(effect)
        check = self._check(part, now)
        if check.refused:
            return PartAnswer(PartEffect.REFUSED, check.refused, check.holders)
        workflow = self._workflow(part, now)
        self._add(workflow, part, now)
        effects = Effects()
        if part.last:
            self._complete(workflow, part, now, effects)
        return PartAnswer(PartEffect.STORED, woken=frozenset(effects.woken), next_due_ms=effects.next_due_ms)

    # -- may it be stored ----------------------------------------------------------------------------------------------

    def _standing(self, part: Part) -> PartEffect | None:
        """What is known of this part and those before it, if that is the answer."""
        workflow, merged = self._store.workflows.get(part.workflow), self._store.merged.get(part.workflow)
        if workflow and workflow.phase in GOING:
            return PartEffect.OUT_OF_ORDER
        digests = merged.parts if merged else workflow.parts if workflow else ()
        if part.number < len(digests):
            return PartEffect.DUPLICATE if digests[part.number] == part.digest else PartEffect.CONFLICT
        if merged or (workflow and workflow.phase is not Phase.UPLOADING):
            return PartEffect.CONFLICT
        return PartEffect.OUT_OF_ORDER if part.number > len(digests) else None

    def _misfit(self, part: Part) -> PartEffect | None:
        """Whether the part would make the workflow one that cannot be."""
        if part.beside and not self._is_leased(part.beside):
            return PartEffect.LEASE_LOST
        workflow = self._store.workflows.get(part.workflow)
        count = sum(len(_ids(nodes)) for nodes in part.nodes) + (len(workflow.nodes) if workflow else 0)
        if count + (self._beside(part.beside) if part.beside else 0) > self._max_jobs:
            return PartEffect.TOO_LARGE
        known = workflow.joins if workflow else {}
        joins = {number: (len(join.members), len(join.followers)) for number, join in known.items()}
        for new in part.joins:
            if new.number in joins:
                return PartEffect.UNKNOWN_JOIN
            joins[new.number] = 0, 0
        takers = sum(nodes.takes_over for nodes in part.nodes) + bool(workflow and workflow.taker)
        if takers > 1 or (takers and part.last and not part.held):
            return PartEffect.UNKNOWN_JOIN
        kinds = [*(join.new for join in known.values()), *part.joins]
        ones = {new.number for new in kinds if takes_one(new.on, new.shape)}
        fits = all(_enter(nodes, joins, ones) for nodes in part.nodes)
        return None if fits else PartEffect.UNKNOWN_JOIN

    def _is_leased(self, held: Held) -> bool:
        lease = self._book.by_job.get(held.id)
        return lease is not None and lease.token == held.token

    def _beside(self, held: Held) -> int:
        """How many jobs are there already."""
        seat = self._store.jobs[held.id].seat
        return len(seat.workflow.nodes) if seat else 1

    def _check(self, part: Part, now: Time) -> _Check:
        check = _Check()
        for batch, nodes in enumerate(part.nodes):
            for index in range(0 if nodes.takes_over else len(nodes.jobs.ids)):
                refusal = self._refusal(part, nodes, (batch, index), check, now)
                if refusal:
                    check.refused[batch, index] = refusal
        return check

    def _refusal(self, part: Part, nodes: NewNodes, place: tuple[int, int], check: _Check, now: Time) -> Stored | None:
        """Why this job cannot be stored; if it can, it takes its id, its key and its room."""
        jobs, index = nodes.jobs, place[1]
        job, queue, unique = jobs.ids[index], jobs.head.queue, jobs.head.traits.unique
        if job in check.ids or self._store.digest(job) is not None:
            return Stored.CONFLICT
        key = jobs.unique[index] if unique else b""
        holder = (check.keys.get(key) or self._intake.holder(key, now)) if unique else None
        if holder:
            check.holders[place] = holder
            return Stored.NOT_UNIQUE
        if not nodes.after and not self._has_room(queue, check.roots.get(queue, 0), now):
            return Stored.QUEUE_FULL
        check.ids.add(job)
        if not nodes.after:
            check.roots[queue] = check.roots.get(queue, 0) + 1
        if unique and holds_key(unique, _state(part, nodes, now), now.wall_ms, now.wall_ms):
            check.keys[key] = job
        return None

    def _has_room(self, queue: str, more: int, now: Time) -> bool:
        max_length = self._store.rules.get(queue, NO_RULE).max_length
        return not max_length or len(self._intake.in_queue(queue)) + more < max_length

    # -- storing -------------------------------------------------------------------------------------------------------

    def _workflow(self, part: Part, now: Time) -> Workflow:
        workflow = self._store.workflows.get(part.workflow)
        if workflow is None:
            workflow = Workflow(part.workflow, part.name, self._store.next_number(), now.wall_ms)
            self._store.workflows[part.workflow] = workflow
        workflow.parts.append(part.digest)
        workflow.uploaded_ms = now.wall_ms
        return workflow

    def _add(self, workflow: Workflow, part: Part, now: Time) -> None:
        workflow.joins.update((new.number, Join(new)) for new in part.joins)
        for nodes in part.nodes:
            if nodes.takes_over:
                workflow.taker = nodes
            ids = _ids(nodes)
            workflow.nodes += ids
            for number in nodes.member_of:
                workflow.joins[number].members += ids
            if nodes.after:
                workflow.joins[nodes.after].followers += ids
            if not nodes.takes_over:
                self._add_rows(workflow, nodes, now)

    def _add_rows(self, workflow: Workflow, nodes: NewNodes, now: Time) -> None:
        for index in range(len(nodes.jobs.ids)):
            row = self._intake.add(nodes.jobs, index, self._store.next_number(), now)
            row.state, row.order = State.WAITING, 0
            row.expires_ms = nodes.jobs.expires_ms
            row.seat = workflow.seats[row.id] = seat_of(workflow, nodes)

    def _complete(self, workflow: Workflow, part: Part, now: Time, effects: Effects) -> None:
        """The last part is here."""
        if part.held:
            workflow.phase = Phase.HELD
        elif part.beside:
            self._merging.add_beside(workflow, self._store.jobs[part.beside.id], now, effects)
        else:
            rows = self._store.rows_of(workflow)
            self._joins.begin(workflow, workflow.joins.values(), rows, now, effects)


def seat_of(workflow: Workflow, nodes: NewNodes) -> Seat:
    """The place of a new job."""
    return Seat(
        workflow,
        nodes.after,
        nodes.silent,
        list(nodes.member_of),
        nodes.countdown_ms,
        nodes.expires_in_ms,
        handed=not nodes.silent,
        beside=nodes.beside,
    )


def _ids(nodes: NewNodes) -> list[JobId]:
    return [TAKER] if nodes.takes_over else nodes.jobs.ids


def _enter(nodes: NewNodes, joins: dict[int, tuple[int, int]], ones: set[int]) -> bool:
    """Whether nodes fit into joins, counted as (members, followers): members come first, so nobody waits in circles.

    Those in `ones` take one member.
    """
    count = len(_ids(nodes))
    if nodes.after:
        members, followers = joins.get(nodes.after, (0, 0))
        if not members:
            return False
        joins[nodes.after] = members, followers + count
    for number in nodes.member_of:
        members, followers = joins.get(number, (0, 1))
        if followers or (number in ones and members + count > 1):
            return False
        joins[number] = members + count, 0
    return True


def _state(part: Part, nodes: NewNodes, now: Time) -> State:
    """The state that new jobs will have."""
    if not part.last or part.held or nodes.after:
        return State.WAITING
    due_ms = now.wall_ms + nodes.countdown_ms if nodes.countdown_ms else nodes.jobs.due_ms
    return State.SCHEDULED if due_ms > now.wall_ms else State.QUEUED
