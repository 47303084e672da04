"""What follows the end of a job in its workflow: the jobs that wait for it go on, end as it did, or are not needed.

All of it is in the commit of that end, as deep as it goes, up to `group_limit` jobs that end. What of a longer chain is
left stands on the agenda with that commit, and `expire` goes on with it (postponing.py): nobody else has to wait.
"""

from __future__ import annotations

from tqbroker_broker.attempts import Failure
from tqbroker_broker.lifecycle import expiry
from tqbroker_broker.questions import EventKind
from tqbroker_broker.records import JobId, State, Time
from tqbroker_broker.rules import QueueRule
from tqbroker_broker.storage.lmdb.counting import Counting, Decided
from tqbroker_broker.storage.lmdb.endings import put_final
from tqbroker_broker.storage.lmdb.group import READY, SCHEDULED, WAITING, Group
from tqbroker_broker.storage.lmdb.keys import EXPIRY, NOTED, U64, delayed_key, first_number
from tqbroker_broker.storage.lmdb.postponing import put_off
from tqbroker_broker.storage.lmdb.rows import (
    FRESH,
    FRESH_ROW,
    Final,
    JobRow,
    head_of,
    pack_failure,
    pack_job,
    pack_note,
    pack_placed,
    unpack_failure,
    unpack_note,
)
from tqbroker_broker.storage.lmdb.workflow_reader import Run
from tqbroker_broker.storage.lmdb.workflow_rows import JoinState
from tqbroker_broker.storage.lmdb.workflow_writer import Ended
from tqbroker_broker.workflow_decisions import Copies, Turn, follower_failure, inputs_too_large
from tqbroker_broker.workflows import On

NO_RULE = QueueRule()

EVENTS = {State.FAILED: EventKind.FAILED, State.CANCELLED: EventKind.REVOKED, State.EXPIRED: EventKind.REVOKED}


class Followed:
    """What has become of other jobs: those that ended, the queues that got some, and when the first is due."""

    def __init__(self) -> None:
        self.final: list[JobId] = []
        self.woken: set[str] = set()
        self.next_due_ms = 0

    def due(self, due_ms: int) -> None:
        self.next_due_ms = min(due_ms, self.next_due_ms or due_ms)


NOTHING = Followed()
"""What follows most ends; nobody adds to it."""


def follow(group: Group, now: Time) -> Followed:
    """Works off what follows the ends of jobs in this commit. Every verb that ends jobs calls it before it answers."""
    return Follow(group, now).all() if group.workflows.ended else NOTHING


class Follow:
    """The work that follows some ends."""

    def __init__(self, group: Group, now: Time) -> None:
        self.group = group
        self.now = now
        self.done = Followed()
        self._copies = Copies(group.store.config.max_result_size // 2)  # the reserve of the outcome has room for them

    def all(self) -> Followed:
        """Works off all of it, or as much as one commit may: what is left is on the agenda then."""
        workflows, counting = self.group.workflows, Counting(self.group.workflows)
        certain, most = len(workflows.ended), self.group.store.config.group_limit
        while workflows.ended:
            if certain <= 0 and len(self.done.final) >= most:
                put_off(self.group)
                break
            certain -= 1
            end = workflows.ended.popleft()
            for decided in counting.count(end, self.now.wall_ms):
                self._decide(end, decided)
        return self.done

    def _decide(self, end: Ended, decided: Decided) -> None:
        what, key, join = decided
        workflows = self.group.workflows
        join.decider = end.id or self._id(end.seq)
        if what is Turn.RELEASE:
            join.state = JoinState.RELEASED
        else:
            join.state = JoinState.BROKEN if what is Turn.BREAK else JoinState.SPARED
        workflows.put_join(key, join)
        if not join.followed:
            return
        if what is Turn.RELEASE:
            size = join.size if join.on is On.SUCCESS else 0
            for run in workflows.followers(key):
                self._release_or_fail(run, size)
        elif what is Turn.SPARE:
            for run in workflows.followers(key):
                self._end(run, State.CANCELLED, None, spared=True)
        else:
            failure = follower_failure(join.shape, join.decider, end.state, unpack_failure(end.failure))
            for run in workflows.followers(key):
                self._end(run, end.state, self._copies.of(failure, run.nodes.count))

    def _id(self, seq: int) -> JobId:
        return self.group.store.node_id(self.group.txn, seq)

    # -- going on ------------------------------------------------------------------------------------------------------

    def _release_or_fail(self, run: Run, size: int) -> None:
        most = self.group.store.config.max_inputs_size
        if size > most and not run.nodes.silent:
            self._end(run, State.FAILED, inputs_too_large(size, most))
        else:
            self.release(run)

    def release(self, run: Run) -> None:
        """Jobs that wait for nothing any more: to the end of their lane, or scheduled."""
        waiting = self._waiting(run)
        head = head_of(run.nodes.head)
        due_ms = self._due(run)
        rule = self.group.store.queue_rules.get(head.queue, NO_RULE)
        if run.nodes.expires_in_ms or rule.ttl_ms:
            self._expire_in(waiting, run.nodes.expires_in_ms, due_ms, rule.ttl_ms)
        self._go_on(run, waiting, due_ms if due_ms > self.now.wall_ms else 0)

    def _due(self, run: Run) -> int:
        """When the jobs of a run are due, now that they wait for nothing: at once, or at their own moment."""
        if run.nodes.countdown_ms:
            return self.now.wall_ms + run.nodes.countdown_ms
        job = self.group.store.job(self.group.txn, run.first)
        return job.due_ms if job is not None else 0

    def _waiting(self, run: Run) -> list[tuple[bytes, bytes]]:
        """Those of a run that have not ended, as keys with their notes."""
        keys = [U64.pack(seq) for seq in range(run.first, run.first + run.nodes.count)]
        notes = self.group.txn.cursor(self.group.store.db["notes"]).getmulti(keys)
        return [(key, row) for key, row in notes if row == FRESH_ROW or not self.group.note(first_number(key)).alone]

    def _go_on(self, run: Run, waiting: list[tuple[bytes, bytes]], due_ms: int) -> None:
        if not waiting:
            return
        group, db = self.group, self.group.store.db
        lane = group.lane(head_of(run.nodes.head))
        first = 0 if due_ms else group.take_numbers(len(waiting))
        notes: list[tuple[bytes, bytes]] = []
        places: list[tuple[bytes, bytes]] = []
        prefix = lane.prefix
        for order, (key, row) in enumerate(waiting, first):
            if row == FRESH_ROW and not due_ms:
                notes.append((key, pack_placed(order)))
            else:
                note = unpack_note(row)
                note.order, note.due_ms = order if first else 0, due_ms
                notes.append((key, pack_note(note)))
            places.append((prefix + U64.pack(order), key + NOTED))
        group.txn.cursor(db["notes"]).putmulti(notes)
        group.count(lane.queue, WAITING, -len(waiting))
        if due_ms:
            keys = [(delayed_key(due_ms, first_number(key)), b"") for key, _ in waiting]
            group.txn.cursor(db["delayed"]).putmulti(keys)
            group.count(lane.queue, SCHEDULED, len(waiting))
            self.done.due(due_ms)
            return
        group.txn.cursor(db["lanes"]).putmulti(places)
        group.count(lane.queue, READY, len(waiting))
        group.ready(lane, first)
        self.done.woken.add(lane.queue)

    def _expire_in(self, waiting: list[tuple[bytes, bytes]], expires_in_ms: int, due_ms: int, ttl_ms: int) -> None:
        """Jobs whose time begins now have another row: when they expire stands there."""
        group, now_ms = self.group, self.now.wall_ms
        for key, _ in waiting:
            job = group.store.job(group.txn, first_number(key))
            if job is None or job.expires_ms:
                continue
            expires_ms = expiry(now_ms + expires_in_ms if expires_in_ms else 0, due_ms, now_ms, ttl_ms)
            group.txn.put(key, pack_job(job._replace(expires_ms=expires_ms)), db=group.store.db["jobs"])
            group.plan(EXPIRY, expires_ms, key)

    # -- ending --------------------------------------------------------------------------------------------------------

    def _end(self, run: Run, state: State, failure: Failure | None, *, spared: bool = False) -> None:
        """Ends what waited for a join that was decided otherwise."""
        group = self.group
        ids: list[JobId] = []
        value = pack_failure(failure)
        head = head_of(run.nodes.head)
        for key, row in self._waiting(run):
            seq = first_number(key)
            job: JobRow | None = group.store.job(group.txn, seq)
            final = Final(state, finished_ms=self.now.wall_ms, value=value)
            note = FRESH if row == FRESH_ROW else group.note(seq)
            put_final(group, seq, head, note, final, job=job.id if job is not None else b"", spared=spared)
            group.count(head.queue, WAITING, -1)
            if job is not None:
                ids.append(job.id)
        if ids:
            group.event(EVENTS[state], self.now, ids, head, failure=failure)
            self.done.final += ids
