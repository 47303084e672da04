"""What a redrive does to those that ended because of the job: they wait again, as deep as it goes."""

from __future__ import annotations

from collections import deque

from tqbroker_broker.questions import EventKind
from tqbroker_broker.records import JobId, Time
from tqbroker_broker.storage.lmdb.group import FAILED, WAITING, Group
from tqbroker_broker.storage.lmdb.keys import MARKS, U64, first_number
from tqbroker_broker.storage.lmdb.rows import pack_job
from tqbroker_broker.storage.lmdb.workflow_reader import Run
from tqbroker_broker.storage.lmdb.workflow_rows import CHUNK_MEMBERS, Counted, Join, JoinKey, JoinState, WorkflowRow
from tqbroker_broker.workflows import On


class Reopening:
    """The redrive of one job that FAILED by itself. Joins of failure stay as they were decided."""

    def __init__(self, group: Group, now: Time) -> None:
        self.group = group
        self.now = now

    def reopen(self, seq: int, job: JobId) -> None:
        """From near to far."""
        again = deque([(seq, job)])
        while again:
            seq, job = again.popleft()
            run = self.group.workflows.run(seq)
            if run is None:
                continue
            self._count_back(run, seq)
            for member in run.nodes.members:
                join = self.group.workflows.join(member.join)
                if join is not None and self._uncount(member.join, join, member.index + seq - run.first):
                    again.extend(self._mend(member.join, join, job))

    def _count_back(self, run: Run, seq: int) -> None:
        """The workflow forgets that this job has ended."""
        workflows = self.group.workflows
        top = workflows.top(run.nodes.workflow)
        if top is None:
            return
        number, workflow = top
        workflow.left += 1
        workflow.failed -= 1
        workflow.finished_ms = 0
        if workflow.first_failed == seq:
            workflow.first_failed = self._another(number, workflow)
        workflows.put_workflow(number, workflow)

    def _another(self, number: int, workflow: WorkflowRow) -> int:
        """A job of the workflow that FAILED by itself, if there is another: the first one."""
        if not workflow.failed:
            return 0
        for first, count in self.group.workflows.spans(number):
            cursor = self.group.txn.cursor(self.group.store.db["dead"])
            found = cursor.set_range(U64.pack(first))
            while found and (seq := first_number(cursor.key())) < first + count:
                if not self._follows(seq):
                    return seq
                found = cursor.next()
        return 0

    def _follows(self, seq: int) -> bool:
        """Whether a job FAILED because another one did."""
        run = self.group.workflows.run(seq)
        join = self.group.workflows.join(run.nodes.after) if run is not None else None
        return join is not None and join.state == JoinState.BROKEN and not self.group.note(seq).alone

    def _uncount(self, key: JoinKey, join: Join, index: int) -> bool:
        """The join forgets what the end of a member was. Returns whether that was what broke it."""
        workflows = self.group.workflows
        if workflows.counted(key, index) is not Counted.AGAINST:
            return False
        workflows.change_counted(key, index)[index % CHUNK_MEMBERS] = Counted.NOT
        join.against -= 1
        workflows.put_join(key, join)
        return join.on is On.SUCCESS and join.state == JoinState.BROKEN

    def _mend(self, key: JoinKey, join: Join, job: JobId) -> list[tuple[int, JobId]]:
        """Opens a broken join, unless another member is in the way. Returns the jobs that wait again."""
        if join.against:
            join.decider = self._blocker(key, join) if join.decider == job else join.decider
            return []
        join.state, join.decider = JoinState.OPEN, b""
        return [each for run in self.group.workflows.followers(key) for each in self._wait_again(run)]

    def _blocker(self, key: JoinKey, join: Join) -> JobId:
        """A member that broke the join, the first of them."""
        store, txn = self.group.store, self.group.txn
        index = 0
        for seqs in self.group.workflows.members(key, 0):
            for seq in seqs:
                if self.group.workflows.counted(key, index) is Counted.AGAINST:
                    return store.node_id(txn, seq)
                index += 1
        return b""

    def _wait_again(self, run: Run) -> list[tuple[int, JobId]]:
        """The jobs of a run that ended because of the join, as if they had not."""
        group, db = self.group, self.group.store.db
        floor = group.store.book.next_token - 1
        waiting: list[tuple[int, JobId]] = []
        for seq in range(run.first, run.first + run.nodes.count):
            key = U64.pack(seq)
            job, note = group.store.job(group.txn, seq), group.note(seq)
            if job is None or note.alone or not group.txn.delete(key, db=db["final"]):
                continue
            group.txn.delete(key, db=db["dead"])
            if job.expires_ms:
                group.txn.put(key, pack_job(job._replace(expires_ms=0)), db=db["jobs"])
            note.floor = floor
            group.put_note(seq, note)
            if note.cancel:  # its end may have taken the mark off the agenda
                group.plan(MARKS, 0, key)
            group.count(job.head.queue, FAILED, -1)
            group.count(job.head.queue, WAITING, 1)
            group.event(EventKind.EDITED, self.now, [job.id], job.head)
            waiting.append((seq, job.id))
        return waiting
