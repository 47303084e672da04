"""What the end of a job does to those that wait for it."""

from __future__ import annotations

from collections.abc import Iterable

from tqbroker_broker.config import StorageConfig
from tqbroker_broker.lifecycle import expiry
from tqbroker_broker.questions import EventKind
from tqbroker_broker.records import State, Time
from tqbroker_broker.rules import QueueRule
from tqbroker_broker.storage.memory.effects import Effects
from tqbroker_broker.storage.memory.finals import Finals
from tqbroker_broker.storage.memory.inputs import Inputs
from tqbroker_broker.storage.memory.log import EventLog
from tqbroker_broker.storage.memory.store import MemoryStore, Row
from tqbroker_broker.storage.memory.workflows import Join, Phase, Seat, Workflow
from tqbroker_broker.workflow_decisions import Copies, Turn, counts, follower_failure, inputs_too_large, turn

NO_RULE = QueueRule()


class Joins:
    """Releases, breaks and spares followers."""

    def __init__(
        self, store: MemoryStore, finals: Finals, inputs: Inputs, log: EventLog, config: StorageConfig
    ) -> None:
        self._store = store
        self._finals = finals
        self._inputs = inputs
        self._log = log
        self._max_inputs_size = config.max_inputs_size
        self._copied = config.max_result_size // 2
        self._copies = Copies(self._copied)
        self._result_ttl_ms = int(config.result_ttl * 1000)

    def begin(
        self, workflow: Workflow, joins: Iterable[Join], rows: Iterable[Row], now: Time, effects: Effects
    ) -> None:
        """Jobs and joins of the workflow are live: its groups are known, and those that wait for nobody start."""
        workflow.phase = Phase.LIVE
        if not workflow.nodes:
            workflow.finished_ms, workflow.keep_until_ms = now.wall_ms, now.wall_ms + self._result_ttl_ms
        for join in joins:
            if join.new.id:
                self._store.groups[join.new.id] = workflow.id, join.new.number
        for row in rows:
            if row.seat and not row.seat.after:
                self.start(row, row.seat, now, effects)

    def start(self, row: Row, seat: Seat, now: Time, effects: Effects) -> None:
        """The job waits for nobody any more: its times begin, and it goes to the end of its lane when it is due."""
        ttl_ms = self._store.rules.get(row.head.queue, NO_RULE).ttl_ms
        row.due_ms = now.wall_ms + seat.countdown_ms if seat.countdown_ms else row.due_ms
        expires_ms = row.expires_ms or (now.wall_ms + seat.expires_in_ms if seat.expires_in_ms else 0)
        row.expires_ms = expiry(expires_ms, row.due_ms, now.wall_ms, ttl_ms)
        if row.due_ms > now.wall_ms:
            self._finals.move(row, State.SCHEDULED)
            effects.due_ms.append(row.due_ms)
        else:
            self._finals.move(row, State.QUEUED)
            row.order = self._store.next_number()
            effects.woken.add(row.head.queue)

    def settle(self, now: Time, effects: Effects) -> None:
        """Jobs have ended: those that wait for them go on or end too, then those that wait for these, and so on."""
        self._copies = Copies(self._copied)
        while effects.ended:
            member = effects.ended.popleft()
            if member.seat:
                for join in member.seat.joins:
                    self._count(member, member.seat, join, now, effects)

    def _count(self, member: Row, seat: Seat, join: Join, now: Time, effects: Effects) -> None:
        """A member has ended."""
        if counts(join.new.on, member.state):
            join.counted.add(member.id)
        if join.turn is not Turn.NOTHING:
            return
        join.turn = turn(join.new.on, member.state, join.left, unneeded=seat.turn is Turn.SPARE)
        join.decider = member.id
        rows = [row for job in join.followers if (row := self._store.jobs.get(job)) and row.state is State.WAITING]
        for row in rows:
            if row.seat:
                self._follow(row, row.seat, join, member, now, effects)

    def _follow(self, row: Row, seat: Seat, join: Join, member: Row, now: Time, effects: Effects) -> None:
        seat.turn = join.turn
        match join.turn:
            case Turn.RELEASE:
                size = self._inputs.size(row)
                if size <= self._max_inputs_size:
                    self.start(row, seat, now, effects)
                    return
                row.failure = inputs_too_large(size, self._max_inputs_size)
                self._end(row, State.FAILED, now, effects)
            case Turn.BREAK:
                failure = follower_failure(join.new.shape, member.id, member.state, member.failure)
                row.failure = self._copies.of(failure)
                self._end(row, member.state, now, effects)
            case Turn.SPARE:
                self._end(row, State.CANCELLED, now, effects)
            case Turn.NOTHING:
                return

    def _end(self, row: Row, state: State, now: Time, effects: Effects) -> None:
        """A follower ends without having run."""
        self._finals.make_final(row, state, now)
        effects.final.append(row.id)
        effects.ended.append(row)
        if state is State.FAILED:
            self._log.job(EventKind.FAILED, row.id, row.head, failure=row.failure)
        else:
            self._log.job(EventKind.REVOKED, row.id, row.head)
