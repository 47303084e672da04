"""Workflows that become part of the workflow of a job: beside it, or in its place."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from tqbroker_broker.attempts import Ending, Verdict
from tqbroker_broker.config import StorageConfig
from tqbroker_broker.records import JobId, State, Time
from tqbroker_broker.storage.memory.effects import Effects
from tqbroker_broker.storage.memory.finals import Finals
from tqbroker_broker.storage.memory.joins import Joins
from tqbroker_broker.storage.memory.store import MemoryStore, Merged, Row
from tqbroker_broker.storage.memory.workflows import TAKER, Phase, Seat, Workflow
from tqbroker_broker.workflow_decisions import Turn, replacement_missing, replacement_too_large
from tqbroker_broker.workflows import NewNodes, Shape


class Merging:
    """Adds guests to hosts, over one store. A job of no workflow is the first node of its guest's."""

    def __init__(self, store: MemoryStore, finals: Finals, joins: Joins, config: StorageConfig) -> None:
        self._store = store
        self._finals = finals
        self._joins = joins
        self._max_jobs = config.max_workflow_jobs

    def add_beside(self, guest: Workflow, row: Row, now: Time, effects: Effects) -> None:
        """The guest is live; those of its jobs that want to be are members of the groups of the job."""
        rows = self._store.rows_of(guest)
        joins = list(guest.joins.values())
        seat, _ = self._merge(guest, row)
        groups = [join for join in seat.joins if join.turn is Turn.NOTHING and join.new.shape is Shape.LIST]
        for each in rows:
            if each.seat and each.seat.beside:
                each.seat.member_of += [join.new.number for join in groups]
                for join in groups:
                    join.members.append(each.id)
        self._joins.begin(seat.workflow, joins, rows, now, effects)

    def checked(self, ending: Ending, row: Row) -> Ending:
        """The ending as it counts: nothing can take the place of the job that is not there."""
        if ending.verdict is not Verdict.REPLACED:
            return ending
        guest = self._store.workflows.get(ending.workflow)
        if guest is None or guest.phase is not Phase.HELD or guest.taker is None:
            return ending._replace(verdict=Verdict.LOST, failure=replacement_missing(ending.workflow))
        total = len(guest.nodes) + (len(row.seat.workflow.nodes) - 1 if row.seat else 0)
        if total > self._max_jobs:
            return ending._replace(verdict=Verdict.FAILED, failure=replacement_too_large(total, self._max_jobs))
        return ending

    def replace(self, row: Row, workflow: bytes, now: Time, effects: Effects) -> None:
        """The guest is live, and the job goes on as the node of it that takes over."""
        guest = self._store.workflows[workflow]
        assert guest.taker
        joins = list(guest.joins.values())
        rows = self._by_submit(row, guest.nodes)
        for join in joins:
            join.members = [row.id if job == TAKER else job for job in join.members]
            join.followers = [each.id for each in self._by_submit(row, join.followers)]
        seat, offset = self._merge(guest, row)
        _take_over(row, seat, guest.taker, offset)
        if seat.after:
            self._finals.move(row, State.WAITING)
        self._joins.begin(seat.workflow, joins, rows, now, effects)

    def _by_submit(self, row: Row, ids: Iterable[JobId]) -> list[Row]:
        """The jobs with these ids, one of which takes over, in the order in which they go on: that of their submits."""
        rows = [row if job == TAKER else self._store.jobs[job] for job in ids]
        return sorted(rows, key=lambda each: each.seq)

    def _merge(self, guest: Workflow, row: Row) -> tuple[Seat, int]:
        """One workflow of two. Returns the place of the job, and what was added to the numbers of the guest's joins."""
        if row.seat is None:
            guest.nodes = [row.id, *(job for job in guest.nodes if job != TAKER)]
            row.seat = guest.seats[row.id] = Seat(guest, 0, False, [], 0, 0, handed=True)
            return row.seat, 0
        host = row.seat.workflow
        offset = max(host.joins, default=0)
        for each in self._store.rows_of(guest):
            if each.seat:
                each.seat.workflow = host
                each.seat.after = each.seat.after + offset if each.seat.after else 0
                each.seat.member_of = [number + offset for number in each.seat.member_of]
        for join in guest.joins.values():
            join.new = join.new._replace(number=join.new.number + offset)
            host.joins[join.new.number] = join
        host.seats.update(guest.seats)
        host.nodes += [job for job in guest.nodes if job != TAKER]
        del self._store.workflows[guest.id]
        self._store.merged[guest.id] = Merged(host.id, tuple(guest.parts))
        return row.seat, offset


def _take_over(row: Row, seat: Seat, taker: NewNodes, offset: int) -> None:
    """Body, arguments, times and what it waits for are new; where the job came from and its unique key stay."""
    before, head = row.head, taker.jobs.head
    traits = replace(head.traits, unique=before.traits.unique)
    row.head = replace(head, traits=traits, parent=before.parent, root=before.root)
    row.args, row.due_ms, row.expires_ms = taker.jobs.args[0], taker.jobs.due_ms, taker.jobs.expires_ms
    row.checkpoint, row.checkpoint_format = b"", ""
    if seat.awaited:
        seat.awaited.followers.remove(row.id)
    seat.after = taker.after + offset if taker.after else 0
    seat.silent, seat.handed, seat.turn = taker.silent, not taker.silent, Turn.NOTHING
    seat.countdown_ms, seat.expires_in_ms = taker.countdown_ms, taker.expires_in_ms
    seat.member_of += [number + offset for number in taker.member_of]
