"""Finish: a worker's outcomes. Lease gone, result, counts and what follows, in one commit."""

from __future__ import annotations

from collections.abc import Sequence

from tqbroker_broker.answers import Finished
from tqbroker_broker.attempts import Ending, Refusal, Successes, Verdict
from tqbroker_broker.lifecycle import (
    LOST_PROCESS,
    Attempt,
    Next,
    after_attempt,
    events_of,
    keep_until,
    lost_failure,
    past_attempt,
)
from tqbroker_broker.questions import EventKind
from tqbroker_broker.records import Head, JobId, State, Time
from tqbroker_broker.rules import PLAIN
from tqbroker_broker.storage.lmdb import history, merging, uniques
from tqbroker_broker.storage.lmdb.annotating import drop_checkpoint
from tqbroker_broker.storage.lmdb.book import Holder, Lease
from tqbroker_broker.storage.lmdb.endings import lose, put_children, put_final
from tqbroker_broker.storage.lmdb.following import Followed, follow
from tqbroker_broker.storage.lmdb.group import READY, SCHEDULED, SUCCEEDED, Group
from tqbroker_broker.storage.lmdb.keys import NOTED, U64, delayed_key
from tqbroker_broker.storage.lmdb.rows import FINAL, Final, Note, pack_failure, pack_job, seal
from tqbroker_broker.storage.lmdb.workflow_writer import Ended


class Answer:
    """The answer to one `finish` as it grows."""

    def __init__(self) -> None:
        self.refused: dict[int, Refusal] = {}
        self.final: list[JobId] = []
        self.woken: set[str] = set()
        self.next_due_ms = 0

    def due(self, due_ms: int) -> None:
        self.next_due_ms = min(due_ms, self.next_due_ms or due_ms)

    def add(self, followed: Followed) -> None:
        self.final += followed.final
        self.woken |= followed.woken
        if followed.next_due_ms:
            self.due(followed.next_due_ms)


def finish(group: Group, worker: str, successes: Sequence[Successes], endings: Sequence[Ending], now: Time) -> Finished:
    """Writes the outcomes whose leases are this worker's; says of the others why they have no effect."""
    answer = Answer()
    holder = group.store.book.holders.get(worker)
    for columns in successes:
        _succeed(group, holder, columns, now, answer)
    for ending in endings:
        lease = group.live(worker, ending.token)
        if lease is None:
            answer.refused[ending.token] = _refusal(group, ending.token, ending.id)
        else:
            _end(group, lease, ending, now, answer)
    answer.add(follow(group, now))
    return Finished(answer.refused, answer.final, frozenset(answer.woken), answer.next_due_ms)


def _refusal(group: Group, token: int, job_id: JobId | None) -> Refusal:
    """Why an outcome without a lease has no effect: stored already (a lost reply), or the lease is gone."""
    ended_by_it = job_id is not None and group.store.final_token(group.txn, job_id) == token
    return Refusal.ALREADY if ended_by_it else Refusal.STALE


def _succeed(group: Group, holder: Holder | None, columns: Successes, now: Time, answer: Answer) -> None:
    """The hot path: one delete and one put a job, the rest shared by the column."""
    txn, store = group.txn, group.store
    leases, ended, noted = (holder.leases if holder is not None else {}), group.ended, group.noted
    lanes, pack, succeeded = store.db["lanes"], FINAL.pack, State.SUCCEEDED
    worker = holder.name if holder is not None else ""
    name, form = worker.encode(), columns.format.encode()
    tail = form + name
    rows: list[tuple[bytes, bytes]] = []
    runs: list[tuple[Head, list[JobId]]] = []
    last: Head | None = None
    ids: list[JobId] = []
    dropped: list[bytes] = []
    plain, keep_ms = True, 0
    for i, token in enumerate(columns.tokens):
        lease = leases.get(token)
        if lease is None or token in ended:
            answer.refused[token] = _refusal(group, token, columns.ids[i] if columns.ids else None)
            continue
        txn.delete(lease.key, db=lanes)
        ended[token] = lease
        note = group.look_at_note(lease.seq) if lease.noted or (noted and lease.seq in noted) else None
        if note is not None and note.annotated:
            drop_checkpoint(group, lease.seq)
        head, key = lease.head, U64.pack(lease.seq)
        if head is not last:
            last, ids, plain = head, [], head.traits is PLAIN
            keep_ms = keep_until(succeeded, now.wall_ms, head.result_ttl_ms, store.config)
            dropped = group.retaining(keep_ms)
            runs.append((head, ids))
        ids.append(lease.id)
        if not plain:
            uniques.free(group, lease.seq, head)
        value = b"" if head.ignore_result else columns.results[i]
        if note is not None and note.node:
            group.workflows.ended.append(Ended(lease.seq, succeeded, keep_ms, len(value), lease.id))
        else:
            dropped.append(key)
        fixed = pack(
            succeeded, token, columns.started_ms[i], now.wall_ms,
            note.retries if note else 0, note.lost if note else 0, len(form), len(name),
        )  # fmt: skip
        rows.append((key, seal(fixed + tail + value, lease.seq)))
    txn.cursor(store.db["final"]).putmulti(rows)
    for i, children in columns.children.items():
        if columns.tokens[i] not in answer.refused:
            put_children(group, ended[columns.tokens[i]].seq, children)
    for head, ids in runs:
        group.count(head.queue, READY, -len(ids))
        group.count(head.queue, SUCCEEDED, len(ids))
        group.event(EventKind.SUCCEEDED, now, ids, head, worker=worker)
        answer.final += ids


def _end(group: Group, lease: Lease, ending: Ending, now: Time, answer: Answer) -> None:
    """An attempt that did not succeed: final, or back to wait with its dead token as fence floor."""
    ending = merging.checked(group, lease, ending)
    if ending.verdict is Verdict.LOST:
        failure = ending.failure or lost_failure(lease.holder.name, LOST_PROCESS)
        if lose(group, lease, failure, now, ending):
            answer.final.append(lease.id)
        else:
            answer.woken.add(lease.lane.queue)
        return
    note = group.note(lease.seq)
    after = after_attempt(
        Attempt(ending.verdict, ending.retry_in_ms, note.retries, note.lost, note.cancel > 0),
        group.store.config.max_lost_leases,
    )
    group.end(lease)
    group.txn.delete(lease.key, db=group.store.db["lanes"])
    group.count(lease.lane.queue, READY, -1)
    past = past_attempt(lease.holder.name, lease.token, ending, ending.failure, after, now.wall_ms)
    history.record(group, lease.seq, note, past)
    for kind in events_of(ending.verdict, after.state):
        group.event(kind, now, [lease.id], lease.head, worker=lease.holder.name, failure=ending.failure)
    if after.state is State.WAITING:
        note.floor, note.retries, note.lost = lease.token, 0, 0
        answer.add(merging.replace(group, lease, note, ending.workflow, now))
        return
    if after.state in (State.QUEUED, State.SCHEDULED):
        if ending.verdict is Verdict.RETRY and ending.args is not None:
            replace_args(group, lease.seq, ending.args)
            note.bare = note.node
        _wait_again(group, lease, note, after, now, answer)
        return
    if past is not None:
        group.put_note(lease.seq, note)
    final = Final(
        after.state, lease.token, ending.started_ms, now.wall_ms, after.retries, after.lost,
        worker=lease.holder.name, value=pack_failure(ending.failure),
    )  # fmt: skip
    put_final(group, lease.seq, lease.head, note, final)
    put_children(group, lease.seq, ending.children)
    answer.final.append(lease.id)


def _wait_again(group: Group, lease: Lease, note: Note, after: Next, now: Time, answer: Answer) -> None:
    """A retry, or put back: a new place when it is due."""
    note.floor, note.retries, note.lost = lease.token, after.retries, after.lost
    if after.state is State.SCHEDULED:
        note.due_ms = now.wall_ms + after.delay_ms
        group.txn.put(delayed_key(note.due_ms, lease.seq), b"", db=group.store.db["delayed"])
        group.count(lease.lane.queue, SCHEDULED, 1)
        answer.due(note.due_ms)
    else:
        make_ready(group, lease.seq, lease.lane.prefix, note)
        group.count(lease.lane.queue, READY, 1)
        group.ready(lease.lane, note.order)
        answer.woken.add(lease.lane.queue)
    group.put_note(lease.seq, note)


def replace_args(group: Group, seq: int, args: bytes) -> None:
    """The job goes on with other arguments. One that cannot be read any more is left for the hand-out to find."""
    job = group.store.job(group.txn, seq)
    if job is not None:
        group.txn.put(U64.pack(seq), pack_job(job._replace(args=args)), db=group.store.db["jobs"])


def make_ready(group: Group, seq: int, prefix: bytes, note: Note) -> None:
    """Gives a job a new place at the end of its lane; the caller stores the note that says where."""
    note.order = group.take_numbers(1)
    group.txn.put(prefix + U64.pack(note.order), U64.pack(seq) + NOTED, db=group.store.db["lanes"])
