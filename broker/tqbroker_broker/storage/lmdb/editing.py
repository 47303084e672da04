"""Edit: what an operator orders for single jobs. Redrive, reschedule, move, drop."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tqbroker_broker.answers import Mark
from tqbroker_broker.questions import Change, Drop, EditAnswer, Effect, EventKind, Move, Redrive, Reschedule
from tqbroker_broker.records import Head, JobId, State, Time
from tqbroker_broker.storage.lmdb.endings import drop_finished, is_held, take_waiting
from tqbroker_broker.storage.lmdb.group import FAILED, READY, SCHEDULED, Group
from tqbroker_broker.storage.lmdb.keys import U64, delayed_key
from tqbroker_broker.storage.lmdb.outcomes import make_ready
from tqbroker_broker.storage.lmdb.overdue import is_withheld
from tqbroker_broker.storage.lmdb.postponing import check_settled
from tqbroker_broker.storage.lmdb.reopening import Reopening
from tqbroker_broker.storage.lmdb.rows import Final, JobRow, Note, pack_job
from tqbroker_broker.storage.lmdb.standing import standing_of


class Found:
    """A job that an edit is about, as it stands before."""

    def __init__(self, group: Group, seq: int, job: JobRow) -> None:
        self.seq = seq
        self.key = U64.pack(seq)
        self.job = job
        self.final: Final | None = group.store.final(group.txn, seq)
        self.note: Note = group.note(seq)


class Edit:
    """One call of `edit` as it goes on. `done` counts the jobs it has changed."""

    def __init__(self, group: Group, change: Change, now: Time) -> None:
        self.group = group
        self.change = change
        self.now = now
        self.done = 0
        self.woken: set[str] = set()
        self.next_due_ms = 0

    def one(self, job_id: JobId) -> Effect:
        """Changes one job, if its state allows it."""
        store, txn = self.group.store, self.group.txn
        seq = store.seq_of(txn, job_id)
        job = store.job(txn, seq) if seq is not None else None
        if seq is None or job is None or job.id != job_id:
            return Effect.UNKNOWN
        found = Found(self.group, seq, job)
        if found.final is None and self._is_out(found):
            return Effect.RUNNING
        if found.final is None and found.note.cancel:
            return Effect.WRONG_STATE
        effect = self._apply(found)
        self.done += effect is Effect.DONE
        if effect is Effect.DONE and not isinstance(self.change, Drop):
            self.group.event(EventKind.EDITED, self.now, [job_id], found.job.head)
        return effect

    def _is_out(self, found: Found) -> bool:
        """Whether a worker has the job, or may have it after a restart."""
        group, store = self.group, self.group.store
        lease = store.book.by_seq.get(found.seq) or group.adopted.get(found.seq)
        if lease is not None:
            return lease.token not in group.ended
        return is_withheld(store, group.txn, found.seq)

    def _apply(self, found: Found) -> Effect:
        match self.change:
            case Redrive():
                return self._redrive(found, self.change)
            case Reschedule(due_ms):
                return self._reschedule(found, due_ms)
            case Move():
                return self._move(found, self.change)
            case Drop():
                if found.final is not None and is_held(self.group, found.seq):
                    return Effect.HELD
                dropped = drop_finished(self.group, found.seq, self.now)
                return Effect.DONE if dropped else Effect.WRONG_STATE

    def _redrive(self, found: Found, change: Redrive) -> Effect:
        """A dead letter waits again. Every token up to now is too old for it, also after a restart."""
        group, db, job = self.group, self.group.store.db, found.job
        if found.final is None or found.final.state is not State.FAILED:
            return Effect.WRONG_STATE
        if found.note.node:
            check_settled(group)
            if (refusal := self._refusal(found)) is not None:
                return refusal
        for name in ("final", "dead"):
            group.txn.delete(found.key, db=db[name])
        group.count(job.head.queue, FAILED, -1)
        args = job.args if change.args is None else change.args
        self._rewrite(found, job._replace(args=args, expires_ms=0, due_ms=0))
        note = found.note
        group.txn.delete(found.key, db=db["trails"])
        note.floor, note.retries, note.lost, note.alone = group.store.book.next_token - 1, 0, 0, False
        note.cancel = Mark.NONE
        if note.node:
            Reopening(group, self.now).reopen(found.seq, job.id)
        self._wait_until(found, job.head, self.now.wall_ms + change.spacing_ms * (change.already + self.done))
        return Effect.DONE

    def _refusal(self, found: Found) -> Effect | None:
        """Why a job of a workflow cannot be redriven, if it cannot."""
        stands = standing_of(self.group.workflows, found.seq)
        if stands is not None and stands.workflow.dropping:
            return Effect.UNKNOWN
        return Effect.FOLLOWS if stands is not None and stands.cause(found.note) else None

    def _reschedule(self, found: Found, due_ms: int) -> Effect:
        group, note = self.group, found.note
        key = delayed_key(note.due_ms or found.job.due_ms, found.seq)
        if found.final is not None or not group.txn.delete(key, db=group.store.db["delayed"]):
            return Effect.WRONG_STATE
        group.count(found.job.head.queue, SCHEDULED, -1)
        self._wait_until(found, found.job.head, due_ms)
        return Effect.DONE

    def _move(self, found: Found, change: Move) -> Effect:
        group, old, note = self.group, found.job.head, found.note
        if found.final is not None:
            return Effect.WRONG_STATE
        due_ms = note.due_ms or found.job.due_ms
        scheduled = group.txn.get(delayed_key(due_ms, found.seq), db=group.store.db["delayed"]) is not None
        if not take_waiting(group, found.seq, found.job, note):
            return Effect.WRONG_STATE
        head = msgspec.structs.replace(
            old,
            queue=old.queue if change.queue is None else change.queue,
            priority=old.priority if change.priority is None else change.priority,
        )
        self._rewrite(found, found.job._replace(head=head))
        if scheduled:
            self._delay(found, head, due_ms)
        else:
            group.claim(found.seq, group.lane(old), note.order or found.seq)
            self._line_up(found, head)
        return Effect.DONE

    def _rewrite(self, found: Found, job: JobRow) -> None:
        """Stores a changed job under its number."""
        found.job = job
        self.group.txn.put(found.key, pack_job(job), db=self.group.store.db["jobs"])

    def _wait_until(self, found: Found, head: Head, due_ms: int) -> None:
        """Lets a job wait until a moment; when that has passed already, it is due now."""
        if due_ms > self.now.wall_ms:
            self._delay(found, head, due_ms)
        else:
            found.note.due_ms = self.now.wall_ms
            self._line_up(found, head)

    def _delay(self, found: Found, head: Head, due_ms: int) -> None:
        group, note = self.group, found.note
        note.due_ms = due_ms
        group.txn.put(delayed_key(due_ms, found.seq), b"", db=group.store.db["delayed"])
        group.put_note(found.seq, note)
        group.count(head.queue, SCHEDULED, 1)
        self.next_due_ms = min(due_ms, self.next_due_ms or due_ms)

    def _line_up(self, found: Found, head: Head) -> None:
        """Puts a job at the end of its lane."""
        group, lane, note = self.group, self.group.lane(head), found.note
        make_ready(group, found.seq, lane.prefix, note)
        group.put_note(found.seq, note)
        group.count(head.queue, READY, 1)
        group.ready(lane, note.order)
        self.woken.add(head.queue)


def edit(group: Group, ids: Sequence[JobId], change: Change, now: Time) -> EditAnswer:
    """Changes each job that is in a state for it."""
    work = Edit(group, change, now)
    effects = [work.one(job_id) for job_id in ids]
    return EditAnswer(effects, frozenset(work.woken), work.next_due_ms)
